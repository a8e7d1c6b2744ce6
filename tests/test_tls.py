"""What TLS is made of, and what is said of files that don't fit."""

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.certificates import Authority
from worker.errors import Unreachable
from worker.settings import Kafka
from worker.tls import context_of


def test_host_name_may_go_unchecked_but_not_the_certificate() -> None:
    """A broker under another name is let through where that is wanted; a stranger's certificate never is."""
    context = context_of(Kafka(security_protocol="SSL", ssl_check_hostname=False), "kafka")
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)


def test_wrong_certificate_is_told_with_its_setting(tmp_path: Path) -> None:
    """A file that is no certificate is named, with the setting that names it."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(Unreachable, match=rf"kafka.ssl_ca_location: {file} can't be used"):
        context_of(Kafka(security_protocol="SSL", ssl_ca_location=file), "kafka")
    with pytest.raises(Unreachable, match=rf"kafka.ssl_certificate_location: {file} can't be used"):
        context_of(Kafka(security_protocol="SSL", ssl_certificate_location=file), "kafka")


@pytest.mark.parametrize("password", [None, SecretStr("m4rker")])
def test_locked_key_is_never_asked_for(tmp_path: Path, password: SecretStr | None) -> None:
    """A key without its password, or with a wrong one, is an error at once and no question on the terminal."""
    right = SecretStr("right")
    own = Authority(tmp_path).issue("worker", "worker.example", key_password=right.get_secret_value())
    settings = Kafka(
        security_protocol="SSL",
        ssl_certificate_location=own.chain,
        ssl_key_location=own.key,
        ssl_key_password=password,
    )
    with pytest.raises(Unreachable, match="ssl_key_password") as refused:
        context_of(settings, "kafka")
    assert "m4rker" not in str(refused.value)
    context_of(settings.model_copy(update={"ssl_key_password": right}), "kafka")
