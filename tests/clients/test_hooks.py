"""What a client tells its hooks: metrics of Prometheus and spans of OpenTelemetry."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import grpc.aio
import pantler
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from pantler import telemetry
from pantler.opentelemetry import OpenTelemetryHook
from pantler.prometheus import PrometheusHook
from pantler.v1 import cache_pb2, leaderboard_pb2
from prometheus_client import CollectorRegistry

from tests.servers.pantler import PantlerServer

_numbers = count()
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def namespace() -> str:
    return f"hooks{next(_numbers)}"


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.hook = PrometheusHook(self.registry)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"pantler_client_{name}", labels) or 0.0

    def calls(self, operation: str, outcome: str) -> float:
        return self.value("calls_total", operation=operation, outcome=outcome)


class Traces:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.hook = OpenTelemetryHook(self.provider)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest_asyncio.fixture(params=[True, False], ids=["streams", "calls"])
async def client(
    request: pytest.FixtureRequest, server: PantlerServer, metrics: Metrics, traces: Traces
) -> AsyncIterator[pantler.AsyncClient]:
    hooks = [metrics.hook, traces.hook]
    async with pantler.AsyncClient(server.address, coalesce=request.param, hooks=hooks) as opened:
        yield opened


async def fetch() -> bytes:
    return b"fetched"


async def test_calls_are_counted_by_operation_and_outcome(
    client: pantler.AsyncClient, namespace: str, metrics: Metrics
) -> None:
    for _ in range(2):
        await client.get_or_set(namespace, "k", fetch)
    for key in ("k", "k", "other"):
        await client.get(namespace, key)
    await client.get_many(namespace, ["k", "other"])
    await client.invalidate_tags(namespace, ["t"])
    with pytest.raises(pantler.InvalidArgument):
        await client.set(namespace, "", b"v")
    with pytest.raises(pantler.InvalidArgument):
        await client.get_ranks(namespace, "", ["m"])
    for (operation, outcome), expected in {
        ("batch_get", "hit"): 1,
        ("batch_get", "miss"): 1,
        ("batch_get", "ok"): 1,
        ("batch_set", "ok"): 1,
        ("get", "hit"): 2,
        ("get", "miss"): 1,
        ("invalidate_tags", "ok"): 1,
        ("set", "InvalidArgument"): 1,
        ("get_ranks", "InvalidArgument"): 1,
    }.items():
        assert metrics.calls(operation, outcome) == expected, (operation, outcome)
    assert metrics.value("call_seconds_count", operation="get") == 3
    assert 0 < metrics.value("call_seconds_sum", operation="get") < 5


async def test_what_leaves_together_is_counted_as_one_message(
    server: PantlerServer, namespace: str, metrics: Metrics
) -> None:
    async with pantler.AsyncClient(server.address, hooks=[metrics.hook]) as client:
        await client.get(namespace, "k")
        await asyncio.gather(*(client.get(namespace, str(number)) for number in range(20)))
    assert metrics.value("message_operations_sum") == 21
    assert metrics.value("message_operations_count") <= 3


async def test_it_shows_that_a_server_is_left_alone(namespace: str, metrics: Metrics) -> None:
    async with pantler.AsyncClient(NOWHERE, hooks=[metrics.hook]) as client:
        for _ in range(6):
            with pytest.raises(pantler.Unavailable):
                await client.get(namespace, "k")
        assert metrics.value("breaker_open") == 1
        assert metrics.calls("get", "Unavailable") == 6
    assert metrics.value("breaker_open") == 0
    await client.close()
    assert metrics.value("breaker_open") == 0


async def test_no_call_that_ends_after_its_client_tells_of_the_breaker(
    namespace: str, metrics: Metrics
) -> None:
    client = pantler.AsyncClient(NOWHERE, hooks=[metrics.hook])
    calls = [asyncio.create_task(client.get_ranks(namespace, "b", ["m"])) for _ in range(6)]
    while not metrics.value("breaker_open"):
        for _ in range(6):
            with pytest.raises(pantler.Unavailable):
                await client.get(namespace, "k")
    await client.close()
    await asyncio.gather(*calls, return_exceptions=True)
    assert metrics.value("breaker_open") == 0


class Failing(pantler.Hook):
    """Each of its methods raises."""

    def begin(self, operation: str, namespace: str, address: str) -> None:
        raise ValueError("of begin")

    def sent(self, operations: int) -> None:
        raise ValueError("of sent")

    def breaker(self, is_open: bool) -> None:
        raise ValueError("of breaker")


class FailingLater(pantler.Hook):
    """Those raise that follow `begin`."""

    def metadata(self, token: Any) -> telemetry.Metadata:
        raise ValueError("of metadata")

    def end(self, token: Any, outcome: str, error: BaseException | None) -> None:
        raise ValueError("of end")


@pytest.mark.filterwarnings("error")
async def test_a_hook_that_raises_is_logged_and_takes_nothing_from_callers_and_other_hooks(
    server: PantlerServer, namespace: str, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = [Failing(), FailingLater(), metrics.hook]
    async with pantler.AsyncClient(server.address, hooks=hooks) as client:
        assert (await client.set(namespace, "k", b"v")).stored
        await client.get_ranks(namespace, "b", ["m"])
        with pytest.raises(pantler.InvalidArgument):
            await client.get_ranks(namespace, "", ["m"])
    for method in ("begin", "metadata", "end", "sent"):
        assert f"of {method}" in caplog.text
    assert metrics.calls("set", "ok") == 1
    assert (metrics.calls("get_ranks", "ok"), metrics.calls("get_ranks", "InvalidArgument")) == (
        1,
        1,
    )
    assert metrics.value("message_operations_sum") == 1
    async with pantler.AsyncClient(NOWHERE, hooks=hooks) as client:
        for _ in range(6):
            with pytest.raises(pantler.Unavailable):
                await client.get(namespace, "k")
        assert "of breaker" in caplog.text
        assert metrics.value("breaker_open") == 1


@pytest.mark.parametrize("coalesce", [True, False], ids=["streams", "calls"])
async def test_every_operation_is_told_to_a_hook(
    server: PantlerServer, namespace: str, coalesce: bool
) -> None:
    class Told(pantler.Hook):
        def begin(self, operation: str, namespace: str, address: str) -> tuple[str, str]:
            return operation, namespace

        def end(self, token: Any, outcome: str, error: BaseException | None) -> None:
            told.append((*token, outcome))

    told: list[tuple[str, str, str]] = []
    rule = pantler.RateLimitRule("token_bucket", 100, timedelta(hours=1))
    hooks = [Told()]
    async with pantler.AsyncClient(server.address, coalesce=coalesce, hooks=hooks) as client:
        await client.get(namespace, "k")
        await client.get_many(namespace, ["k", "l"])
        await client.set(namespace, "k", b"v")
        await client.set_many(namespace, {"k": b"v"})
        await client.touch(namespace, "k")
        await client.delete(namespace, "k")
        await client.delete_many(namespace, ["k"])
        await client.increment(namespace, "counter")
        assert (await client.acquire(namespace, rule)).allowed
        lease: dict[str, Any] = {"namespace": namespace, "key": "k", "token": "0"}
        for name, request in (
            ("extend_lease", cache_pb2.ExtendLeaseRequest(**lease)),
            ("release_lease", cache_pb2.ReleaseLeaseRequest(**lease)),
        ):
            with suppress(pantler.PantlerError):
                await client._operate(name, request)
        assert {name for name, _, _ in told} == client._methods.keys()
    assert {of for name, of, _ in told if name != "acquire"} == {namespace}
    assert [of for name, of, _ in told if name == "acquire"] == [""]


async def test_a_call_that_is_cancelled_ends(
    client: pantler.AsyncClient, namespace: str, metrics: Metrics, traces: Traces
) -> None:
    await client.get(namespace, "k")
    call = asyncio.create_task(client.get(namespace, "k"))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert metrics.calls("get", "CancelledError") == 1


async def test_each_call_is_a_span_below_that_of_its_caller(
    client: pantler.AsyncClient, server: PantlerServer, namespace: str, traces: Traces
) -> None:
    with traces.provider.get_tracer("test").start_as_current_span("request") as request:
        await client.set(namespace, "k", b"v")
        await client.get(namespace, "k")
        with pytest.raises(pantler.InvalidArgument):
            await client.touch(namespace, "")
    spans = traces.spans()
    got = spans[f"get {namespace}"]
    assert got.parent is not None
    assert got.parent.span_id == request.get_span_context().span_id
    assert got.kind is SpanKind.CLIENT
    assert dict(got.attributes or {}) == {
        "db.system.name": "pantler",
        "db.operation.name": "get",
        "db.namespace": namespace,
        "server.address": "127.0.0.1",
        "server.port": int(server.address.rpartition(":")[2]),
        "pantler.outcome": "hit",
    }
    assert got.status.is_unset
    failed = spans[f"touch {namespace}"]
    assert (failed.attributes or {})["error.type"] == "InvalidArgument"
    assert not failed.status.is_ok
    assert "key" in (failed.status.description or "")


async def test_the_trace_goes_to_the_server_with_calls_of_their_own(traces: Traces) -> None:
    seen: list[dict[str, Any]] = []

    async def get_ranks(
        request: leaderboard_pb2.GetRanksRequest, context: Any
    ) -> leaderboard_pb2.GetRanksResponse:
        seen.append(dict(context.invocation_metadata()))
        return leaderboard_pb2.GetRanksResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        get_ranks,
        request_deserializer=leaderboard_pb2.GetRanksRequest.FromString,
        response_serializer=leaderboard_pb2.GetRanksResponse.SerializeToString,
    )
    server = grpc.aio.server()
    service = "pantler.v1.LeaderboardService"
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {"GetRanks": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with pantler.AsyncClient(f"127.0.0.1:{port}", hooks=[traces.hook]) as client:
        await client.get_ranks("n", "board", ["m"])
    await server.stop(None)
    span = traces.spans()["get_ranks n"].get_span_context()
    assert span is not None
    assert seen[0]["traceparent"].startswith(f"00-{span.trace_id:032x}-{span.span_id:016x}-")


def test_a_blocking_client_tells_its_hooks_too(
    server: PantlerServer, namespace: str, metrics: Metrics, traces: Traces
) -> None:
    with (
        pantler.Client(server.address, hooks=[metrics.hook, traces.hook]) as client,
        traces.provider.get_tracer("test").start_as_current_span("request") as request,
    ):
        client.get(namespace, "k")
    assert metrics.calls("get", "miss") == 1
    parent = traces.spans()[f"get {namespace}"].parent
    assert parent is not None
    assert parent.span_id == request.get_span_context().span_id
