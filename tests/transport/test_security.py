"""How connections to the broker are protected."""

from pathlib import Path

import faust
import pytest
from pydantic import SecretStr

from worker.errors import Unreachable
from worker.settings import Kafka
from worker.transport.security import blocking_security, consumer_credentials, producer_security


async def test_token_is_read_for_each_connection(tmp_path: Path) -> None:
    """Every client asks the file, without its line end, each time."""
    file = tmp_path / "token"
    file.touch()
    settings = Kafka(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_location=file)
    waiting = producer_security(settings)["sasl_oauth_token_provider"]
    blocking = blocking_security(settings)["sasl_oauth_token_provider"]
    credentials = consumer_credentials(settings)
    assert isinstance(credentials, faust.OAuthCredentials)
    for token in ("one.two.three", "four.five."):
        file.write_text(f"{token}\n")
        assert [await waiting.token(), await credentials.oauth_cb.token(), blocking.token()] == [token] * 3


@pytest.mark.parametrize("content", [b"", b"two words", b"two\nlines", b"\xfftoken", b"a\x01auth=b"])
async def test_what_is_no_token_is_never_sent(tmp_path: Path, content: bytes) -> None:
    """An empty or broken file is told of, not what is in it; aiokafka takes it for an outage and tries again."""
    file = tmp_path / "token"
    file.write_bytes(content)
    settings = Kafka(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_location=file)
    with pytest.raises(ConnectionError, match=f"kafka.sasl_token_location: {file} "):
        await producer_security(settings)["sasl_oauth_token_provider"].token()
    with pytest.raises(Unreachable, match=f"kafka.sasl_token_location: {file} "):
        blocking_security(settings)["sasl_oauth_token_provider"].token()


def test_user_and_password() -> None:
    """User and password go to every client."""
    settings = Kafka(
        security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="u", sasl_password=SecretStr("p")
    )
    for security in (producer_security(settings), blocking_security(settings)):
        assert (security["sasl_plain_username"], security["sasl_plain_password"]) == ("u", "p")
    credentials = consumer_credentials(settings)
    assert (credentials.username, credentials.password, credentials.ssl_context) == ("u", "p", None)
    assert consumer_credentials(Kafka()) is None
