"""How connections to the broker are protected, in the words of Faust, of aiokafka and of kafka-python."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiokafka.abc
import kafka.net.sasl.oauth

from worker.errors import Unreachable
from worker.settings import Kafka
from worker.tls import context_of

OAUTHBEARER = "OAUTHBEARER"


def ssl_context(kafka: Kafka) -> ssl.SSLContext | None:
    """Build what TLS needs, for every Kafka client; None without TLS. Raises Unreachable for files that don't fit."""
    return context_of(kafka, "kafka") if kafka.security_protocol.endswith("SSL") else None


def read_token(file: Path) -> str:
    """Read the token that `file` holds now. Raises Unreachable where there is none that can be sent."""
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise Unreachable(f"kafka.sasl_token_location: {file} can't be read: {exc}") from exc
    if not token or not token.isprintable() or " " in token:
        raise Unreachable(f"kafka.sasl_token_location: {file} holds no token: one line without spaces")
    return token


class TokenFile(aiokafka.abc.AbstractTokenProvider):
    """Gives aiokafka the token for each new connection as it then is: whoever issues it may replace the file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def token(self) -> str:
        """Read the token."""
        try:
            return read_token(self._file)
        except Unreachable as exc:
            raise ConnectionError(str(exc)) from exc  # aiokafka tries again after this one, and ends on others


class BlockingTokenFile(kafka.net.sasl.oauth.AbstractTokenProvider):
    """The same for kafka-python."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def token(self) -> str:
        """Read the token."""
        return read_token(self._file)


def consumer_credentials(kafka: Kafka) -> Any:
    """Return Faust's credentials for `kafka`, None for plain text. Raises Unreachable for TLS files that don't fit."""
    import faust  # noqa: PLC0415  the command line does without

    context = ssl_context(kafka)
    if kafka.sasl_token_location is not None:
        return faust.OAuthCredentials(oauth_cb=TokenFile(kafka.sasl_token_location), ssl_context=context)
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=None if kafka.sasl_password is None else kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context=context)


def producer_security(kafka: Kafka) -> dict[str, Any]:
    """Return aiokafka's arguments for `kafka`. Raises Unreachable for TLS files that don't fit."""
    return _security(kafka, TokenFile)


def blocking_security(kafka: Kafka) -> dict[str, Any]:
    """Return kafka-python's arguments for `kafka`. Raises Unreachable for TLS files that don't fit."""
    return _security(kafka, BlockingTokenFile)


def _security(kafka: Kafka, token_file: Callable[[Path], Any]) -> dict[str, Any]:
    """Both clients call all of it alike but for the base class of what gives tokens."""
    security: dict[str, Any] = {"security_protocol": kafka.security_protocol, "ssl_context": ssl_context(kafka)}
    if kafka.sasl_token_location is not None:
        security |= {
            "sasl_mechanism": OAUTHBEARER,
            "sasl_oauth_token_provider": token_file(kafka.sasl_token_location),
        }
    elif kafka.security_protocol.startswith("SASL"):
        security |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": None if kafka.sasl_password is None else kafka.sasl_password.get_secret_value(),
        }
    return security
