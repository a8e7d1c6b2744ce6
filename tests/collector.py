"""A collector of traces: takes OTLP over HTTP as protobuf, and keeps the spans or prints each trace as a tree.

`python -m tests.collector [PORT] [--forget]` listens on loopback, at port 4318 by default, until Ctrl-C.
"""

import gzip
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import click
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.certificates import Certificate
from tests.kafka_broker import wait_until

#: A trace is printed when nothing came of it for so long.
_QUIET_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a span is linked with."""

    trace: str
    span: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A span as it came, in the words of OTLP."""

    name: str
    kind: str
    trace: str
    span: str
    #: Empty for none.
    parent: str
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    links: tuple[Link, ...]

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / 1e6


def read(body: bytes) -> Iterator[Received]:
    """Read the spans of a request."""
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Received(
                    name=span.name,
                    kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                    links=tuple(
                        Link(
                            trace=link.trace_id.hex(), span=link.span_id.hex(), attributes=_attributes(link.attributes)
                        )
                        for link in span.links
                    ),
                )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


@dataclass
class Collector:
    """What came, and how the collector answers."""

    spans: list[Received] = field(default_factory=list)
    #: Headers of each request, by their names in lower case.
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    #: Whether spans are read and kept.
    keeps: bool = True
    #: Cleared, it lets requests wait.
    may_answer: threading.Event = field(default_factory=threading.Event)
    endpoint: str = ""

    def __post_init__(self) -> None:
        self.may_answer.set()

    def of(self, trace: str) -> list[Received]:
        """Give the spans of a trace, in the order of their beginning."""
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.start_ns)

    def wait_for(self, true: Callable[[Received], bool], *, what: str, seconds: float = 30) -> Received:
        """Wait for a span, and return the first one."""
        wait_until(lambda: any(map(true, self.spans)), seconds=seconds, what=what)
        return next(filter(true, self.spans))


@contextmanager
def collecting(port: int = 0, certificate: Certificate | None = None) -> Iterator[Collector]:
    """Run a collector on loopback; with `certificate` by TLS, and nothing else."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.may_answer.wait()
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status = collector.status if self.path == "/v1/traces" else 404
            if status == 200 and collector.keeps:
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.spans += read(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: workers go as they are killed."""

    server = Server(("127.0.0.1", port), Handler)
    scheme = "http"
    if certificate is not None:
        scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    collector.endpoint = f"{scheme}://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()


def tree(spans: Iterable[Received]) -> str:
    """Draw the spans of a trace, each below its parent, with its beginning and its time in milliseconds."""
    ordered = sorted(spans, key=lambda span: span.start_ns)
    known = {span.span for span in ordered}
    began = ordered[0].start_ns
    rows: list[tuple[str, str]] = []

    def draw(span: Received, depth: int) -> None:
        facts = ", ".join(
            f"{name.removeprefix('logloom.').removeprefix('messaging.')}={value}"
            for name, value in span.attributes.items()
            if name.startswith("logloom.") or name in {"messaging.batch.message_count", "messaging.kafka.offset"}
        )
        links = f"  [{len(span.links)} links]" if span.links else ""
        failed = "  FAILED" if span.is_error else ""
        times = f"{(span.start_ns - began) / 1e6:8.2f} {span.milliseconds:8.2f} ms"
        rows.append((f"{'  ' * depth}{span.name}", f"{times}  {facts}{links}{failed}".rstrip()))
        for child in (child for child in ordered if child.parent == span.span):
            draw(child, depth + 1)

    for span in ordered:
        if span.parent not in known:
            draw(span, 0)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}} {rest}" for name, rest in rows)


@click.command()
@click.argument("port", type=int, default=4318)
@click.option("--forget", is_flag=True, help="Keep and print nothing.")
def main(*, port: int, forget: bool) -> None:
    """Print each trace once nothing more comes of it."""
    with collecting(port) as collector:
        collector.keeps = not forget
        click.echo(f"takes traces at {collector.endpoint}", err=True)
        seen: dict[str, tuple[int, float]] = {}
        pause = threading.Event()
        while not pause.wait(0.2):
            now = time.monotonic()
            for trace, count in Counter(span.trace for span in [*collector.spans]).items():
                before, since = seen.get(trace, (0, now))
                seen[trace] = (count, now if count != before else since)
                if count == before and now - since > _QUIET_SECONDS:
                    click.echo(f"\ntrace {trace}\n{tree(collector.of(trace))}")
                    collector.spans = [span for span in collector.spans if span.trace != trace]


if __name__ == "__main__":
    main()
