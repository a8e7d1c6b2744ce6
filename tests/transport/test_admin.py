"""How kafka-python is connected, and what becomes of its errors."""

import ssl

import kafka.codec
import pytest
from kafka.errors import CorruptRecordError, KafkaTimeoutError, SaslAuthenticationFailedError
from pydantic import SecretStr

from worker.errors import DeliveryFailed, Unreachable
from worker.settings import Kafka
from worker.transport.admin import (
    Admin,
    Deliveries,
    connection_options,
    teach_compression,
    translated,
)


def test_plain_connection() -> None:
    """Without TLS and SASL only the address and the name are given."""
    options = connection_options(Kafka(bootstrap_servers=("a:1", "b:2"), client_id="c"))
    assert (options["bootstrap_servers"], options["client_id"], options["ssl_context"]) == (["a:1", "b:2"], "c", None)
    assert "sasl_mechanism" not in options


def test_sasl_over_tls() -> None:
    """User and password go along, and the broker's name is checked."""
    settings = Kafka(
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u", sasl_password=SecretStr("p")
    )
    options = connection_options(settings)
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "p")
    context = options["ssl_context"]
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_no_broker() -> None:
    """Brokers that take no connection are told at once, each with its reason, and the setting."""
    settings = Kafka(bootstrap_servers=("localhost:1", "no.such.host.invalid:9092"))
    with pytest.raises(
        Unreachable, match=r"localhost:1 does not answer \(.*no.such.host.invalid:9092 does not answer \(.*BOOTSTRAP"
    ):
        Admin(settings)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SaslAuthenticationFailedError("no"), "a:1 refuses the user 'u'"),
        (KafkaTimeoutError("unable to bootstrap"), r"no broker answers \(a:1\)"),
        (CorruptRecordError("bits"), "a:1: CorruptRecordError: .*bits"),
    ],
)
def test_errors_are_translated(error: Exception, told: str) -> None:
    """What kafka-python raises says where and why."""
    settings = Kafka(bootstrap_servers=("a:1",), sasl_username="u")
    with pytest.raises(Unreachable, match=told), translated(settings):
        raise error


@pytest.mark.parametrize("codec", ["snappy", "lz4", "zstd"])
def test_taught_codecs_give_back_what_they_took(codec: str) -> None:
    """After teaching, kafka-python knows every codec of Kafka."""
    teach_compression()
    teach_compression()
    assert getattr(kafka.codec, f"has_{codec}")()
    line = b"the same line again and again " * 100
    packed = getattr(kafka.codec, f"{codec}_encode")(line)
    assert len(packed) < len(line) / 4
    assert bytes(getattr(kafka.codec, f"{codec}_decode")(packed)) == line


def test_first_failed_delivery_is_told() -> None:
    """One failed send fails the whole, with how many went before."""
    deliveries = Deliveries(acknowledged=3)
    deliveries.check()
    deliveries._failed(KafkaTimeoutError("late"))
    deliveries._failed(KafkaTimeoutError("later"))
    with pytest.raises(DeliveryFailed, match=r"took 3 records, then: .*late"):
        deliveries.check()
