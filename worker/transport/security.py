"""How connections to the broker are protected, in the words of Faust and of aiokafka."""

from typing import Any

import faust

from worker.settings import Kafka
from worker.transport.admin import ssl_context


def consumer_credentials(kafka: Kafka) -> Any:
    """Return Faust's credentials for `kafka`, None for plain text. Raises Unreachable for TLS files that don't fit."""
    context = ssl_context(kafka)
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
    security: dict[str, Any] = {"security_protocol": kafka.security_protocol, "ssl_context": ssl_context(kafka)}
    if kafka.security_protocol.startswith("SASL"):
        security |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": None if kafka.sasl_password is None else kafka.sasl_password.get_secret_value(),
        }
    return security
