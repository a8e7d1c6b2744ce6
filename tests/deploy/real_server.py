"""A real kube-apiserver on a real etcd, for those who have both: `make test-cluster`. No controllers, no nodes."""

import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.deploy.nodes import Nodes
from tests.kafka_broker import free_port, wait_until

#: May do everything, and may do nothing.
ADMIN, GUEST = "token-of-admin", "token-of-guest"


@dataclass(frozen=True, slots=True)
class Real:
    """A running API server."""

    url: str

    def answers(self) -> bool:
        """Tell whether it is ready."""
        try:
            Nodes(self.url, token=ADMIN).send("GET", "/api/v1/namespaces/kube-system")
        except (OSError, urllib.error.URLError):
            return False
        return True


def _service_account_key(folder: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file = folder / "service-accounts.pem"
    form = serialization.PrivateFormat.TraditionalOpenSSL
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return file


@contextmanager
def running(binary: str) -> Iterator[Real]:
    """Run etcd and the API server `binary`, with role-based rights and pod security."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="logloom-cluster-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        store, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        key, tokens, port = _service_account_key(folder), folder / "tokens.csv", free_port()
        tokens.write_text(f'{ADMIN},admin,1,"system:masters"\n{GUEST},guest,2\n')
        etcd = [
            *("etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", store),
            *("--advertise-client-urls", store, "--listen-peer-urls", peers),
            *("--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"),
        ]
        server = [
            *(binary, "--etcd-servers", store, "--cert-dir", str(folder), "--bind-address", "127.0.0.1"),
            *("--secure-port", str(port), "--service-cluster-ip-range", "10.0.0.0/24"),
            *("--service-account-issuer", "https://localhost", "--service-account-key-file", str(key)),
            *("--service-account-signing-key-file", str(key), "--token-auth-file", str(tokens)),
            # No controller makes the account `default` of a namespace.
            *("--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount"),
        ]
        for words in (etcd, server):
            log = stack.enter_context((folder / f"{Path(words[0]).name}.log").open("wb"))
            process = subprocess.Popen(words, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        real = Real(f"https://127.0.0.1:{port}")
        wait_until(real.answers, seconds=120, what="the API server's first answer")
        yield real
