"""Certificates for tests of TLS: authorities, and what they sign. Knows nothing of servers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate as PEM files."""

    #: The authority's own certificate.
    authority: Path
    #: The certificate, then those that it leads to.
    chain: Path
    #: Its key.
    key: Path
    #: Key and chain, as Kafka's stores have them.
    store: Path


class Authority:
    """Signs certificates; all lie in `folder`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA()
        #: Its own certificate.
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._ca.cert_pem.bytes())

    def issue(self, name: str, host: str, *, is_expired: bool = False, key_password: str | None = None) -> Certificate:
        """Issue a certificate for `host` whose common name is `name`."""
        yesterday = datetime.now(UTC) - timedelta(days=1)
        issued = self._ca.issue_cert(host, common_name=name, not_after=yesterday if is_expired else None)
        locked = NoEncryption() if key_password is None else BestAvailableEncryption(key_password.encode())
        # As PKCS 8, the only form that Java reads.
        key = load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, locked
        )
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        files = [self._folder / f"{name}{end}" for end in (".crt", ".key", ".pem")]
        for file, content in zip(files, (chain, key, key + chain), strict=True):
            file.write_bytes(content)
        return Certificate(authority=self.file, chain=files[0], key=files[1], store=files[2])
