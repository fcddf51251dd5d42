"""CacheService/Exchange as any client may use it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from pantler.v1 import cache_pb2, cache_pb2_grpc

from tests.servers.origin_service import OriginService
from tests.servers.pantler import PATIENT, PantlerServer

_numbers = count()
Operation = cache_pb2.ExchangeOperation


@pytest.fixture
def namespace() -> str:
    return f"exchanged{next(_numbers)}"


class Stream:
    """One of the server's, with the results as they come, by id."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub: Any = cache_pb2_grpc.CacheServiceStub(channel)
        self.call = self.stub.Exchange()
        self.results: dict[int, cache_pb2.ExchangeResult] = {}
        self.responses: list[cache_pb2.ExchangeResponse] = []

    async def send(
        self, operations: Iterable[cache_pb2.ExchangeOperation], cancelled: Iterable[int] = ()
    ) -> None:
        request = cache_pb2.ExchangeRequest(operations=operations, cancelled_ids=cancelled)
        await self.call.write(request)

    async def read(self) -> bool:
        """One message; whether there was one."""
        response: Any = await self.call.read()
        if response is grpc.aio.EOF:
            return False
        self.responses.append(response)
        self.results |= {result.id: result for result in response.results}
        return True

    async def until(self, ids: Iterable[int]) -> None:
        wanted = set(ids)
        while not wanted <= self.results.keys():
            assert await self.read()

    async def end(self) -> grpc.StatusCode:
        """Ends this side, and reads what is left."""
        await self.call.done_writing()
        while await self.read():
            pass
        code: grpc.StatusCode = await self.call.code()
        return code


@pytest_asyncio.fixture
async def stream(channel: grpc.aio.Channel) -> AsyncIterator[Stream]:
    opened = Stream(channel)
    yield opened
    opened.call.cancel()


def gets(first: int, namespace: str, keys: Iterable[str]) -> cache_pb2.ExchangeOperation:
    return Operation(id=first, gets=cache_pb2.ExchangeGets(namespace=namespace, keys=keys))


def waiting(operation_id: int, namespace: str, key: str, wait_s: int = 0) -> Any:
    lease = cache_pb2.LeaseRequest(ttl=Duration(seconds=600), wait=Duration(seconds=wait_s))
    request = cache_pb2.GetRequest(namespace=namespace, key=key, lease=lease)
    return Operation(id=operation_id, timeout_ms=60_000, get=request)


def reason_of(result: cache_pb2.ExchangeResult) -> tuple[int, str, list[str]]:
    """Code, reason and field paths of an error."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in result.error.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return (
        result.error.code,
        info.reason.removeprefix("ERROR_REASON_"),
        [one.field for one in bad.field_violations],
    )


async def test_each_operation_has_the_response_of_its_call(stream: Stream, namespace: str) -> None:
    names: dict[str, Any] = {"namespace": namespace}
    await stream.send(
        [
            Operation(id=1, set=cache_pb2.SetRequest(**names, key="a", value=b"1")),
            Operation(id=2, set=cache_pb2.SetRequest(**names, key="b", value=b"2", tags=["t"])),
            Operation(
                id=3,
                batch_set=cache_pb2.BatchSetRequest(
                    **names, entries=[cache_pb2.BatchSetEntry(key="c", value=b"3")]
                ),
            ),
        ]
    )
    await stream.until([1, 2, 3])
    assert stream.results[1].set.outcome == cache_pb2.SET_OUTCOME_STORED
    assert stream.results[3].batch_set.outcomes[0].outcome == cache_pb2.SET_OUTCOME_STORED
    await stream.send(
        [
            Operation(id=4, get=cache_pb2.GetRequest(**names, key="a")),
            Operation(id=5, batch_get=cache_pb2.BatchGetRequest(**names, keys=["b", "x"])),
            Operation(id=6, touch=cache_pb2.TouchRequest(**names, key="c")),
        ]
    )
    await stream.until([4, 5, 6])
    alone = await stream.stub.Get(cache_pb2.GetRequest(**names, key="a"))
    assert stream.results[4].get == alone
    assert [one.WhichOneof("outcome") for one in stream.results[5].batch_get.outcomes] == [
        "hit",
        "miss",
    ]
    assert stream.results[6].touch.found
    await stream.send(
        [
            Operation(id=7, delete=cache_pb2.DeleteRequest(**names, key="a")),
            Operation(id=8, batch_delete=cache_pb2.BatchDeleteRequest(**names, keys=["b"])),
        ]
    )
    assert await stream.end() is grpc.StatusCode.OK
    assert stream.results[7].delete.deleted
    assert stream.results[8].batch_delete.outcomes[0].deleted


async def test_plain_hits_come_as_columns_and_the_others_one_by_one(
    stream: Stream, namespace: str
) -> None:
    for key, tags in (("a", []), ("b", ["t"]), ("d", [])):
        request = cache_pb2.SetRequest(namespace=namespace, key=key, value=key.encode(), tags=tags)
        await stream.stub.Set(request)
    await stream.send([gets(10, namespace, ["a", "b", "c", "d", ""])])
    assert await stream.end() is grpc.StatusCode.OK
    columns = stream.results[10].hits
    assert [*columns.indexes] == [0, 3]
    assert [*columns.values] == [b"a", b"d"]
    alone = await stream.stub.Get(cache_pb2.GetRequest(namespace=namespace, key="d"))
    assert columns.versions[1] == alone.hit.entry.version
    assert columns.create_times_us[1] == alone.hit.entry.create_time.ToMicroseconds()
    assert columns.expire_times_us[1] == alone.hit.entry.expire_time.ToMicroseconds()
    assert stream.results[11].get.hit.entry.tags == ["t"]
    assert stream.results[12].get.miss.reason == cache_pb2.MISS_REASON_UNKNOWN
    assert reason_of(stream.results[14]) == (3, "INVALID_FIELD", ["keys[4]"])
    assert 13 not in stream.results


async def test_hits_of_all_keys_need_no_indexes(stream: Stream, namespace: str) -> None:
    keys = [str(n) for n in range(1000)]
    entries = [cache_pb2.BatchSetEntry(key=key, value=key.encode()) for key in keys]
    await stream.stub.BatchSet(cache_pb2.BatchSetRequest(namespace=namespace, entries=entries))
    await stream.send([gets(5, namespace, keys)])
    await stream.until([5])
    assert not stream.results[5].hits.indexes
    assert [*stream.results[5].hits.values] == [key.encode() for key in keys]


@pytest.mark.parametrize("bad", [0, 1, 2])
async def test_a_key_that_is_none_takes_no_other_out_of_its_place(
    stream: Stream, namespace: str, bad: int
) -> None:
    entries = [cache_pb2.BatchSetEntry(key=key, value=key.encode()) for key in ("a", "b")]
    await stream.stub.BatchSet(cache_pb2.BatchSetRequest(namespace=namespace, entries=entries))
    keys = ["a", "b"]
    keys.insert(bad, "")
    await stream.send([gets(5, namespace, keys)])
    hits: list[cache_pb2.ExchangeHits] = []
    while not hits:
        assert await stream.read()
        hits = [one.hits for one in stream.responses[-1].results if one.HasField("hits")]
    [found] = hits
    assert [keys[index].encode() for index in found.indexes] == [*found.values] == [b"a", b"b"]


async def test_what_is_wrong_with_an_operation_is_its_own_error(
    stream: Stream, namespace: str
) -> None:
    await stream.send(
        [
            Operation(id=1),
            gets(2**63 - 2, namespace, ["a", "b", "c"]),
            Operation(id=2, set=cache_pb2.SetRequest(namespace=namespace, key="")),
            Operation(id=3, touch=cache_pb2.TouchRequest(namespace="No", key="a")),
            gets(4, namespace, []),
            gets(5, "No", ["a", "b"]),
            gets(100, namespace, map(str, range(1001))),
            gets(7, namespace, ["a"]),
            waiting(8, namespace, "held"),
        ]
    )
    far = 2**63 - 2
    await stream.until([1, 2, 3, 4, 5, 6, 7, 8, far, far + 1, *range(100, 1101)])
    wrong = {one: reason_of(stream.results[one]) for one in (1, 2, 3, 4, 5, 6, 100, 1100, far)}
    assert {(code, reason) for code, reason, _ in wrong.values()} == {(3, "INVALID_FIELD")}
    paths = {one: found for one, (_, _, found) in wrong.items()}
    assert paths.pop(1) == ["operations[0]"]
    assert paths.pop(far) == ["operations[1].id"]
    assert paths.pop(2) == ["key"]
    assert [paths[one] for one in (3, 5, 6)] == [["namespace"]] * 3
    assert [paths[one] for one in (4, 100, 1100)] == [["keys"]] * 3
    assert stream.results[7].get.HasField("miss")
    await stream.send([waiting(9, namespace, "held", 60), waiting(9, namespace, "held", 60)])
    await stream.until([9])
    assert reason_of(stream.results[9]) == (3, "INVALID_FIELD", ["operations[1].id"])


async def test_what_waits_holds_up_nothing_and_is_answered_later(
    stream: Stream, namespace: str
) -> None:
    await stream.send([waiting(1, namespace, "k")])
    await stream.until([1])
    token = stream.results[1].get.miss.lease.token
    await stream.send([waiting(2, namespace, "k", 60), gets(3, namespace, ["other"])])
    await stream.until([3])
    assert 2 not in stream.results
    fill = cache_pb2.SetRequest(namespace=namespace, key="k", value=b"v", fill_token=token)
    await stream.send([Operation(id=4, set=fill)])
    await stream.until([2, 4])
    assert stream.results[2].get.hit.entry.value == b"v"


async def test_who_has_cancelled_is_waited_for_no_more(stream: Stream, namespace: str) -> None:
    await stream.send([waiting(1, namespace, "k")])
    await stream.until([1])
    await stream.send([waiting(2, namespace, "k", 60)])
    await stream.send([], cancelled=[2, 77])
    async with asyncio.timeout(5):
        assert await stream.end() is grpc.StatusCode.OK
    assert 2 not in stream.results


async def test_an_operation_ends_at_its_time(stream: Stream, namespace: str) -> None:
    await stream.send([waiting(1, namespace, "k")])
    await stream.until([1])
    brief = waiting(2, namespace, "k", 60)
    brief.timeout_ms = 200
    await stream.send([brief])
    async with asyncio.timeout(5):
        await stream.until([2])
    assert stream.results[2].get.HasField("miss")


@pytest.mark.parametrize(
    "operations",
    [
        [gets(n, "many", ["k"]) for n in range(1001)],
        [gets(n, "many", ["k"] * 1000) for n in range(11)],
    ],
    ids=["operations", "keys"],
)
async def test_a_message_with_too_much_ends_the_stream(
    stream: Stream, operations: list[cache_pb2.ExchangeOperation]
) -> None:
    await stream.send(operations)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stream.read()
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "operations" in str(failed.value.details())


async def test_large_results_come_in_several_messages(stream: Stream, namespace: str) -> None:
    keys = [str(n) for n in range(12)]
    for key in keys:
        value = bytes(500_000)
        await stream.stub.Set(cache_pb2.SetRequest(namespace=namespace, key=key, value=value))
    await stream.send([gets(1, namespace, keys)])
    found: list[bytes] = []
    while len(found) < len(keys):
        assert await stream.read()
        assert stream.responses[-1].ByteSize() < 2 << 20
        found += [value for one in stream.responses[-1].results for value in one.hits.values]
    assert found == [bytes(500_000)] * len(keys)


async def test_a_caller_who_does_not_read_costs_little_and_loses_nothing() -> None:
    async with PantlerServer(env=PATIENT) as server:
        [worker] = server.workers()
        options = (("grpc.max_receive_message_length", -1),)
        async with grpc.aio.insecure_channel(server.address, options=options) as channel:
            stream = Stream(channel)
            keys = [str(n) for n in range(8)]
            for key in keys:
                value = bytes(1 << 20)
                await stream.stub.Set(cache_pb2.SetRequest(namespace="big", key=key, value=value))
            before = worker.memory_info().rss
            writing = asyncio.create_task(
                _send_all(stream, [gets(100 * n, "big", keys) for n in range(40)])
            )
            await asyncio.sleep(1)
            assert worker.memory_info().rss - before < 160 << 20  # of 320 MiB that were asked for
            found = 0
            while found < 40 * len(keys):
                assert await stream.read()
                found += sum(len(one.hits.values) for one in stream.responses.pop().results)
                stream.results.clear()
            await writing


async def _send_all(stream: Stream, operations: list[cache_pb2.ExchangeOperation]) -> None:
    for one in operations:
        await stream.send([one])


async def test_a_server_that_stops_says_so_and_answers_what_is_under_way() -> None:
    async with PantlerServer() as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = Stream(channel)
        await stream.send([waiting(1, "stopping", "k")])
        await stream.until([1])
        await stream.send([waiting(2, "stopping", "k", 60), gets(3, "stopping", ["begun"])])
        await stream.until([3])
        server.signal(signal.SIGTERM)
        while not (stream.responses and stream.responses[-1].closing):
            assert await stream.read()
        await stream.send([gets(4, "stopping", ["late"])])
        assert await stream.end() is grpc.StatusCode.OK
        assert stream.results[2].get.HasField("miss")
        code, reason, _ = reason_of(stream.results[4])
        assert (code, reason) == (code_pb2.UNAVAILABLE, "SHUTTING_DOWN")
        assert await server.wait_for_exit() == 0


async def test_a_slow_load_holds_up_no_other_read(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    async with OriginService() as origin:
        config.write_text(
            f"namespaces:\n  orders: {{origin: {{grpc: {{target: '{origin.target}'}}}}}}\n"
        )
        async with (
            PantlerServer(config=config) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            stream = Stream(channel)
            origin.put("quick", total=1)
            origin.put("slow", total=2)
            await stream.send([gets(1, "orders", ["quick"])])
            await stream.until([1])
            origin.goes_on.clear()
            await stream.send([gets(10, "orders", ["slow", "quick", ""])])
            await stream.until([11, 12])
            assert stream.results[11].get.hit.entry.content_type == "application/json"
            assert reason_of(stream.results[12]) == (3, "INVALID_FIELD", ["keys[2]"])
            assert 10 not in stream.results
            origin.goes_on.set()
            assert await stream.end() is grpc.StatusCode.OK
            assert b'"total":2' in stream.results[10].get.hit.entry.value


async def test_so_many_operations_may_be_under_way_and_no_more(
    stream: Stream, namespace: str
) -> None:
    await stream.send([waiting(0, namespace, "k")])
    await stream.until([0])
    for first in range(1, 20_001, 1_000):
        await stream.send([waiting(n, namespace, "k", 60) for n in range(first, first + 1_000)])
    await stream.send([waiting(20_001, namespace, "k", 60), gets(20_002, namespace, ["a", "b"])])
    await stream.until([20_001, 20_002, 20_003])
    for refused in (20_001, 20_002, 20_003):
        code, reason, _ = reason_of(stream.results[refused])
        assert (code, reason) == (code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_OPERATIONS")
    await stream.send([], cancelled=range(1, 20_001))
    again = 20_004
    while not stream.results.get(again, cache_pb2.ExchangeResult()).HasField("get"):
        again += 1
        await stream.send([gets(again, namespace, ["a"])])  # until those have ended
        await stream.until([again])
    assert await stream.end() is grpc.StatusCode.OK
    assert not stream.results.keys() & {*range(1, 20_001)}
