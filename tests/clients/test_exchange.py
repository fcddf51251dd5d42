"""How the client carries its operations in batches."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import grpc.aio
import pantler
import pytest
from pantler import exchange, operation_stream
from pantler.operation_stream import OperationStream
from pantler.v1 import cache_pb2, cache_pb2_grpc

from tests.servers.pantler import PantlerServer


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[cache_pb2.ExchangeRequest]:
    """Those that streams send, as they go."""
    sent: list[cache_pb2.ExchangeRequest] = []
    send = OperationStream.send

    def note(stream: OperationStream, request: cache_pb2.ExchangeRequest) -> None:
        sent.append(request)
        send(stream, request)

    monkeypatch.setattr(OperationStream, "send", note)
    return sent


@pytest.mark.parametrize("bad", [0, 1, 2])
async def test_a_key_that_is_none_costs_nobody_else_in_its_tick(
    client: pantler.AsyncClient, namespace: str, bad: int
) -> None:
    await client.set_many(namespace, {"a": b"a", "b": b"b"})
    keys = ["a", "b"]
    keys.insert(bad, "")
    found = await asyncio.gather(
        *(client.get(namespace, key) for key in keys), return_exceptions=True
    )
    assert isinstance(found.pop(bad), pantler.InvalidArgument)
    assert [one.value for one in found if isinstance(one, pantler.Entry)] == [b"a", b"b"]


async def test_what_begins_in_one_tick_leaves_in_few_messages(
    client: pantler.AsyncClient, namespace: str, messages: list[cache_pb2.ExchangeRequest]
) -> None:
    await client.set(namespace, "7", b"seven", tags=["odd"])
    await client.set(namespace, "8", b"eight")
    messages.clear()
    found = await asyncio.gather(*(client.get(namespace, str(n)) for n in range(256)))
    assert len(messages) == 2
    assert {n: one.value for n, one in enumerate(found) if one} == {7: b"seven", 8: b"eight"}
    odd = found[7]
    assert odd is not None
    assert odd.tags == ("odd",)
    assert odd == (await client.get_many(namespace, ["7"]))["7"]


async def test_operations_of_all_kinds_share_a_message(
    client: pantler.AsyncClient, namespace: str, messages: list[cache_pb2.ExchangeRequest]
) -> None:
    rule = pantler.RateLimitRule("fixed_window", limit=10, window=timedelta(minutes=1))
    await client.set(namespace, "a", b"1")
    messages.clear()
    got, stored, touched, counted, taken, deleted = await asyncio.gather(
        client.get(namespace, "a"),
        client.set(namespace, "b", b"2"),
        client.touch(namespace, "c"),
        client.increment(namespace, "n", 5),
        client.acquire(namespace, rule),
        client.delete(namespace, "d"),
    )
    assert len(messages) == 1
    assert got is not None
    assert stored.stored
    assert touched is None
    assert counted.value == 5
    assert taken
    assert not deleted


async def test_an_error_is_that_of_its_operation_alone(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "a", b"1")
    good, long, empty, elsewhere = await asyncio.gather(
        client.get(namespace, "a"),
        client.get(namespace, "x" * 513),
        client.set(namespace, "", b""),
        client.get("No Namespace", "a"),
        return_exceptions=True,
    )
    assert isinstance(good, pantler.Entry)
    for failed, path in ((long, "keys[1]"), (empty, "key"), (elsewhere, "namespace")):
        assert isinstance(failed, pantler.InvalidArgument)
        assert [one.path for one in failed.violations] == [path]


async def test_a_write_that_was_cancelled_before_it_left_is_not_sent(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "a", b"old")
    write = asyncio.create_task(client.set(namespace, "a", b"new"))
    await asyncio.sleep(0)  # it begins, and leaves in the next tick
    write.cancel()
    await asyncio.wait((write,))
    entry = await client.get(namespace, "a")
    assert entry is not None
    assert entry.value == b"old"


async def test_who_waits_for_a_lease_and_goes_lets_the_server_know(
    client: pantler.AsyncClient, server: PantlerServer, namespace: str
) -> None:
    """Else the lease would come to one who is not there."""
    fetching = asyncio.Event()

    async def hang() -> bytes:
        fetching.set()
        await asyncio.Event().wait()
        return b""

    async def fetch() -> bytes:
        return b"value"

    async with pantler.AsyncClient(server.address) as other:
        holder = asyncio.create_task(client.get_or_set(namespace, "k", hang))
        await fetching.wait()
        waiter = asyncio.create_task(other.get_or_set(namespace, "k", fetch))
        await asyncio.sleep(0.1)
        waiter.cancel()
        await asyncio.wait((waiter,))
        holder.cancel()
        await asyncio.wait((holder,))
        async with asyncio.timeout(3):  # a lease that nobody holds would last for 10 s
            assert await other.get_or_set(namespace, "k", fetch) == b"value"


async def test_a_server_without_streams_is_called_one_by_one(
    channel: grpc.aio.Channel, namespace: str, messages: list[cache_pb2.ExchangeRequest]
) -> None:
    """As one that is older than they are."""
    real: Any = cache_pb2_grpc.CacheServiceStub(channel)

    async def get(request: bytes, _: Any) -> bytes:
        response: cache_pb2.GetResponse = await real.Get(cache_pb2.GetRequest.FromString(request))
        return response.SerializeToString()

    old = grpc.aio.server()
    methods: dict[str, Any] = {"Get": grpc.unary_unary_rpc_method_handler(get)}
    handler = grpc.method_handlers_generic_handler("pantler.v1.CacheService", methods)
    old.add_generic_rpc_handlers((handler,))
    port = old.add_insecure_port("127.0.0.1:0")
    await old.start()
    await real.Set(cache_pb2.SetRequest(namespace=namespace, key="a", value=b"1"))
    async with pantler.AsyncClient(f"127.0.0.1:{port}") as client:
        for _ in range(3):
            entries = await asyncio.gather(*(client.get(namespace, "a") for _ in range(10)))
            assert all(entry and entry.value == b"1" for entry in entries)
    assert len(messages) <= 2
    await old.stop(0)


async def test_a_value_too_large_for_a_message_goes_alone(
    client: pantler.AsyncClient, namespace: str, messages: list[cache_pb2.ExchangeRequest]
) -> None:
    large = bytes(3 << 20)
    assert (await client.set(namespace, "large", large)).stored
    assert not messages
    entry = await client.get(namespace, "large")
    assert entry is not None
    assert entry.value == large


async def test_those_who_wait_for_others_do_not_hold_these_up(
    client: pantler.AsyncClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fill that all wait for goes through the same streams."""
    monkeypatch.setattr(operation_stream, "MAX_UNDER_WAY", 4)
    monkeypatch.setattr(exchange, "MAX_WAITING", 8)
    fetches = 0

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        await client.set(namespace, "beside", b"")
        await asyncio.sleep(0.2)
        return b"value"

    async with asyncio.timeout(8):
        calls = (client.get_or_set(namespace, "k", fetch) for _ in range(100))
        assert set(await asyncio.gather(*calls)) == {b"value"}
    assert fetches == 1


async def test_more_keys_than_a_message_may_have_take_nothing_from_the_others(
    client: pantler.AsyncClient, namespace: str, messages: list[cache_pb2.ExchangeRequest]
) -> None:
    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        return {}

    parts = [[f"{part}:{number}" for number in range(1_000)] for part in range(11)]
    values = dict.fromkeys(parts[0], b"v")
    reads = (client.get_many_or_set(namespace, keys, fetch) for keys in parts)
    writes = (client.set_many(namespace, values) for _ in parts)
    for calls in (reads, writes):
        counts = (client.increment(namespace, f"counter{number}") for number in range(20))
        # So much at once may take a busy Redis too long.
        results = await asyncio.gather(*counts, *calls, return_exceptions=True)
        assert not [one for one in results[:20] if isinstance(one, BaseException)]
    sizes = [
        sum(len(one.batch_get.keys) + len(one.batch_set.entries) for one in message.operations)
        for message in messages
    ]
    assert sum(sizes) >= 22_000
    assert max(sizes) <= exchange.MOST_KEYS
