"""Traces of a client's calls, with the extra `pantler[opentelemetry]`.

client = AsyncClient("…", hooks=[OpenTelemetryHook()])
"""

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from pantler.telemetry import Hook, Metadata


class OpenTelemetryHook(Hook):
    """A client span for each call, as `Hook` has them: `get users`.

    Its attributes are those of the conventions for databases: `db.system.name` (pantler),
    `db.operation.name`, `db.namespace`, `server.address`, `server.port`, `error.type`; also
    `pantler.outcome`: hit, miss or ok. The time that a call waits for others to fetch is in it.

    The trace goes on in the server only for calls that are not gathered with others on a stream:
    invalidations, boards, records; with `coalesce=False` not even reads and writes.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("pantler", tracer_provider=tracer_provider)

    def begin(self, operation: str, namespace: str, address: str) -> Span:
        host, _, port = address.rpartition(":")
        attributes: dict[str, str | int] = {
            "db.system.name": "pantler",
            "db.operation.name": operation,
            "server.address": host or address,
        }
        if host and port.isdecimal():
            attributes["server.port"] = int(port)
        if namespace:
            attributes["db.namespace"] = namespace
        return self._tracer.start_span(
            f"{operation} {namespace}".rstrip(), kind=SpanKind.CLIENT, attributes=attributes
        )

    def metadata(self, token: Span) -> Metadata:
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(token))
        return [(name.lower(), value) for name, value in carrier.items()]

    def end(self, token: Span, outcome: str, error: BaseException | None) -> None:
        if error is None:
            token.set_attribute("pantler.outcome", outcome)
        else:
            token.set_attribute("error.type", outcome)
            if isinstance(error, Exception):  # who was cancelled has not failed
                token.set_status(Status(StatusCode.ERROR, str(error)))
        token.end()
