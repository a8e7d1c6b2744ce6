"""How spans reach the collector: by OTLP over HTTP, from a thread of their own. No batch waits for it.

At most so many spans wait. What happens to each is counted.
"""

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from worker.errors import Unreachable
from worker.metrics import SPANS_DROPPED, SPANS_EXPORTED, SPANS_FAILED
from worker.settings import Tracing

#: Spans are sent so often, or as soon as so many wait.
_SEND_SECONDS = 1.0
_SENT_SPANS = 512
#: Longest wait for the collector where it is only asked whether it is there.
_ASK_SECONDS = 5.0


class Outbox(SpanExporter):
    """Hands spans on to an exporter, and counts what becomes of them."""

    def __init__(self, exporter: SpanExporter, *, most_waiting: int, count: Callable[[str, int], None]) -> None:
        """`count` is told, from any thread, of an outcome and of how many spans had it."""
        self.most_waiting = most_waiting
        self._exporter = exporter
        self._count = count
        self._lock = threading.Lock()
        #: Spans that were admitted and are neither taken by the collector nor lost.
        self._waiting = 0
        self._is_closed = False

    def admit(self) -> bool:
        """Say whether there is room for one span more; if there is none, the span is lost."""
        with self._lock:
            has_room = not self._is_closed and self._waiting < self.most_waiting
            self._waiting += has_room
        if not has_room:
            self._count(SPANS_DROPPED, 1)
        return has_room

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, however long the collector takes; called in the processor's thread."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            with self._lock:
                self._waiting -= len(spans)
            self._count(SPANS_EXPORTED if result is SpanExportResult.SUCCESS else SPANS_FAILED, len(spans))
        return result

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown()

    def close(self) -> int:
        """Admit nothing more; return how many spans wait still, which are lost."""
        with self._lock:
            self._is_closed = True
            lost, self._waiting = self._waiting, 0
        self._count(SPANS_DROPPED, lost)
        return lost


class Processor(BatchSpanProcessor):
    """Gives spans that have ended to the thread that sends them.

    OpenTelemetry's own drops the oldest where too many wait, and counts nothing; here the newest are lost.
    """

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(
            outbox,
            max_queue_size=outbox.most_waiting,
            schedule_delay_millis=_SEND_SECONDS * 1000,
            max_export_batch_size=_SENT_SPANS,
            export_timeout_millis=0,  # not used: the exporter has a timeout
        )
        self._outbox = outbox

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, from any thread."""
        if self._outbox.admit():
            super().on_end(span)


def exporter_of(tracing: Tracing) -> OTLPSpanExporter:
    """Make what sends to the collector that settings name."""
    return OTLPSpanExporter(
        endpoint=tracing.url,
        headers=tracing.sent_headers,
        timeout=tracing.timeout_seconds,
        compression=Compression.Gzip,
        session=_session(),
        certificate_file=_authorities(tracing),
        client_certificate_file=_path(tracing.ssl_certificate_location),
        client_key_file=_path(tracing.ssl_key_location),
    )


def ask(tracing: Tracing) -> float:
    """Send the collector no spans, as a worker sends some, and return the milliseconds that its answer took.

    Raises:
        Unreachable: it does not answer, or refuses.

    """
    certificate, key = _path(tracing.ssl_certificate_location), _path(tracing.ssl_key_location)
    began = time.perf_counter()
    try:
        with _session() as session:
            answer = session.post(
                tracing.url,
                data=b"",
                headers={"content-type": "application/x-protobuf", **tracing.sent_headers},
                timeout=min(tracing.timeout_seconds, _ASK_SECONDS),
                allow_redirects=False,
                verify=_authorities(tracing),
                cert=certificate if certificate is None or key is None else (certificate, key),
            )
    except requests.RequestException as exc:
        raise Unreachable(f"{tracing.url} does not answer: {_innermost(exc)}") from exc
    milliseconds = (time.perf_counter() - began) * 1000
    if answer.status_code in {401, 403}:
        raise Unreachable(f"{tracing.url} refuses the headers: {answer.status_code} {answer.reason}")
    if answer.status_code != 200:
        raise Unreachable(f"{tracing.url} takes no traces: {answer.status_code} {answer.reason}")
    return milliseconds


def _session() -> requests.Session:
    """Make a session that settings alone decide: variables of `requests` would win over its authorities."""
    session = requests.Session()
    session.trust_env = False
    return session


def _authorities(tracing: Tracing) -> str | None:
    """Give a file or a folder of the authorities to trust: the system's, as for Kafka and Redis, where none is set."""
    system = ssl.get_default_verify_paths()
    return _path(tracing.ssl_ca_location) or system.cafile or system.capath


def _path(file: Path | None) -> str | None:
    return None if file is None else str(file)


def _innermost(exc: BaseException) -> str:
    """Give what the innermost error says: those around it repeat the address."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
