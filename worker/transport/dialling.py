"""Opens one connection to the broker before anything else does, to say in one line why it can't be talked to.

Clients that are to run for months take a refusal for an outage and try again; kafka-python tells no reason at all.
"""

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest

from worker.errors import Unreachable
from worker.settings import Kafka
from worker.tls import fault
from worker.transport.security import producer_security, read_token

#: Longest wait for a first answer; a person waits in front of it.
CONNECT_TIMEOUT_MS = 8_000
#: Longest wait for an end of the connection that both sides agree on; there is none where it never began.
_GOODBYE_SECONDS = 0.25
NOT_THERE = "is it running, and kafka.bootstrap_servers (LOGLOOM_KAFKA__BOOTSTRAP_SERVERS) right?"


def dial(kafka: Kafka) -> None:
    """Connect, authenticate and ask one question, at the first broker that can be. To be called from any thread.

    Raises Unreachable where none can, with the reason of each.
    """
    security = producer_security(kafka)
    if kafka.sasl_token_location is not None:
        read_token(kafka.sasl_token_location)

    async def dial_any() -> None:
        reasons = []
        for address in kafka.bootstrap_servers:
            host, _, port = address.rpartition(":")
            connection = AIOKafkaConnection(
                host.strip("[]"),
                int(port),
                client_id=kafka.client_id,
                request_timeout_ms=min(CONNECT_TIMEOUT_MS, kafka.request_timeout_ms),
                **security,
            )
            try:
                await connection.connect()
                answer = await connection.send(MetadataRequest([]))
                # aiokafka takes a token that was refused for one that was not; the next answer is empty then.
                if kafka.sasl_token_location is not None and not answer.brokers:
                    raise SaslAuthenticationFailed
            except (OSError, KafkaError) as exc:
                reasons.append(f"{address} {_reason(kafka, exc)}")
            else:
                return
            finally:
                if (closed := connection.close()) is not None:
                    await asyncio.wait([closed], timeout=_GOODBYE_SECONDS)
        raise Unreachable("; ".join(reasons))

    with ThreadPoolExecutor(1) as thread:  # the caller may have a loop of its own that runs
        thread.submit(asyncio.run, dial_any()).result()


def _reason(kafka: Kafka, exc: OSError | KafkaError) -> str:
    """Say what the broker did, and which setting to look at."""
    cause = exc.__cause__ or exc
    if isinstance(cause, ssl.SSLError) and (found := fault(cause, kafka, "kafka")) is not None:
        return found
    if isinstance(exc, SaslAuthenticationFailed):
        if kafka.sasl_token_location is not None:
            return f"refuses the token in {kafka.sasl_token_location}; look at kafka.sasl_token_location"
        return f"refuses the user {kafka.sasl_username!r} by {kafka.sasl_mechanism}; look at kafka.sasl_*"
    if isinstance(exc, UnsupportedSaslMechanismError):
        return f"does not offer {kafka.sasl_mechanism}; look at kafka.sasl_mechanism"
    if isinstance(exc, KafkaError | ConnectionResetError | ssl.SSLError):
        return f"closes the connection; does it speak {kafka.security_protocol}? look at kafka.security_protocol"
    why = f"not within {CONNECT_TIMEOUT_MS // 1000} s" if isinstance(exc, TimeoutError) else exc.strerror or exc
    return f"does not answer ({why}): {NOT_THERE}"
