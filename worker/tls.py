"""TLS towards either server: the files, and what is wrong where a connection is refused."""

import ssl

from worker.errors import Unreachable
from worker.settings import Kafka, Redis

#: OpenSSL's numbers for a certificate that is not valid yet, or not any more, and for another host's.
_WRONG_TIME, _WRONG_HOST = {9, 10}, {62, 64}


def context_of(files: Kafka | Redis, table: str) -> ssl.SSLContext:
    """Build a context from the settings of `table`. Raises Unreachable for files that don't fit."""
    try:
        context = ssl.create_default_context(cafile=files.ssl_ca_location)
    except (ssl.SSLError, OSError) as exc:
        raise Unreachable(f"{table}.ssl_ca_location: {files.ssl_ca_location} can't be used: {exc}") from exc
    context.check_hostname = files.ssl_check_hostname
    certificate, password = files.ssl_certificate_location, files.ssl_key_password
    if certificate is not None:
        try:
            context.load_cert_chain(
                certificate,
                files.ssl_key_location,
                # Without any, OpenSSL would ask for it on the terminal.
                lambda: "" if password is None else password.get_secret_value(),
            )
        except (ssl.SSLError, OSError) as exc:
            advice = f"look at {table}.ssl_key_location and {table}.ssl_key_password too"
            raise Unreachable(
                f"{table}.ssl_certificate_location: {certificate} can't be used: {exc}; {advice}"
            ) from exc
    return context


def fault(exc: ssl.SSLError, files: Kafka | Redis, table: str) -> str | None:
    """Say which certificate is refused and which setting to look at; None where it is not about one."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        text = exc.verify_message.rstrip(".")
        if exc.verify_code in _WRONG_TIME:
            advice = "the server needs another one"
        elif exc.verify_code in _WRONG_HOST:
            advice = f"look at the address and {table}.ssl_check_hostname"
        else:
            advice = f"look at {table}.ssl_ca_location"
        return f"shows a certificate that can't be trusted: {text}; {advice}"
    if "ALERT" in (exc.reason or ""):
        alert = str(exc.reason).partition("ALERT_")[2].replace("_", " ").lower()
        own = files.ssl_certificate_location or "no certificate"
        return f"refuses the TLS connection with {own}: {alert}; look at {table}.ssl_certificate_location"
    return None
