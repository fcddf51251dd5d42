"""The near cache of the Python client: what changes is dropped in time, whoever changes it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from itertools import count
from time import monotonic
from typing import Any

import grpc.aio
import pantler
import pytest
from pantler import near_watch

from tests.clients.near_cache.caches import (
    BOUND_S,
    MINUTE,
    a_namespace,
    is_kept,
    keep,
    near_cache,
    opened,
    until,
    value,
)
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer


async def test_each_kind_of_event_drops_what_it_concerns(
    near: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    async def pattern() -> None:
        async with aclosing(other.invalidate_pattern(namespace, "[kt]*")) as walk:
            assert [step.done async for step in walk][-1]

    what: dict[str, tuple[Callable[[], Awaitable[object]], bool]] = {
        # Whether what has another key, and no tag, stays.
        "set": (lambda: other.set(namespace, "k", b"new", tags=["t"]), True),
        "touch": (lambda: other.touch(namespace, "k", MINUTE), True),
        "delete": (lambda: other.delete(namespace, "k"), True),
        "tags": (lambda: other.add_tags(namespace, "k", ["more"]), True),
        "key": (lambda: other.invalidate_keys(namespace, ["k"]), True),
        "soft": (lambda: other.invalidate_keys(namespace, ["k"], soft=True), True),
        "tag": (lambda: other.invalidate_tags(namespace, ["t"]), True),
        "dependency": (lambda: other.invalidate_keys(namespace, ["p"], cascade=True), False),
        "all": (lambda: other.invalidate_namespace(namespace), False),
        "age": (lambda: other.invalidate_older_than(namespace, datetime.now(UTC)), False),
        "pattern": (pattern, False),
    }
    for name, (change, is_precise) in what.items():
        for _ in range(5):  # a watch that a busy machine holds up drops all by itself
            await other.set(namespace, "k", b"v", tags=["t"], depends_on=["p"])
            await other.set(namespace, "stays", b"v", tags=["another"])
            await keep(near, namespace, "k", "stays")
            await change()
            await until(lambda: not is_kept(near, namespace, "k"))
            stays = is_kept(near, namespace, "stays")
            assert await value(near, namespace, "k") == await value(other, namespace, "k"), name
            if stays is is_precise:
                break
        assert stays is is_precise, name


async def test_a_client_reads_what_it_wrote(near: pantler.AsyncClient, namespace: str) -> None:
    async def stored(data: bytes) -> None:
        await near.set(namespace, "k", data, tags=["t"])
        await keep(near, namespace, "k")

    await stored(b"1")
    await near.set(namespace, "k", b"2")
    assert await value(near, namespace, "k") == b"2"
    await stored(b"3")
    await near.set_many(namespace, {"k": b"4"})
    assert await value(near, namespace, "k") == b"4"

    async def pattern() -> None:
        async with aclosing(near.invalidate_pattern(namespace, "k*")) as walk:
            assert [step.done async for step in walk][-1]

    for drop in (
        lambda: near.delete(namespace, "k"),
        lambda: near.delete_many(namespace, ["k"]),
        lambda: near.invalidate_keys(namespace, ["k"]),
        lambda: near.invalidate_tags(namespace, ["t"]),
        lambda: near.invalidate_namespace(namespace),
        lambda: near.invalidate_older_than(namespace, datetime.now(UTC)),
        pattern,
    ):
        await stored(b"5")
        await drop()
        assert await value(near, namespace, "k") is None
    await stored(b"6")
    await near.add_tags(namespace, "k", ["u"])
    entry = await near.get(namespace, "k")
    assert entry is not None
    assert entry.tags == ("t", "u")
    await near.delete(namespace, "k")
    assert await near.get(namespace, "k") is None

    async def fetch() -> bytes:
        return b"7"

    assert await near.get_or_set(namespace, "k", fetch) == b"7"
    assert await value(near, namespace, "k") == b"7"


async def test_a_write_that_fails_drops_its_key_too(
    near_server: PantlerServer, other: pantler.AsyncClient, namespace: str
) -> None:
    async with (
        FaultProxy(int(near_server.address.rpartition(":")[2])) as proxy,
        await opened(f"127.0.0.1:{proxy.port}", namespace) as near,
    ):
        await other.set(namespace, "k", b"v")
        await keep(near, namespace, "k")
        proxy.hold_replies()
        writing = asyncio.create_task(near.set(namespace, "k", b"new"))
        async with asyncio.timeout(10):
            while await value(other, namespace, "k") == b"v":
                await asyncio.sleep(0.01)
        assert is_kept(near, namespace, "k")
        writing.cancel()
        await asyncio.wait((writing,))
        assert not is_kept(near, namespace, "k")
        proxy.restore()
        assert await value(near, namespace, "k") == b"new"


@pytest.mark.parametrize("what", ["key", "tag", "all"])
async def test_an_answer_that_comes_after_the_word_of_a_change_is_not_kept(
    near: pantler.AsyncClient,
    other: pantler.AsyncClient,
    namespace: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await other.set(namespace, "k", b"old", tags=["t"])
    await keep(near, namespace, "k")
    store, exchange = near._near, near._exchange
    assert store is not None
    assert exchange is not None
    store.clear(namespace)
    held: list[Callable[[], None]] = []
    for stream in exchange._streams:
        monkeypatch.setattr(
            stream,
            "_receive",
            lambda answer, receive=stream._receive: held.append(partial(receive, answer)),
        )
    heard = asyncio.Event()
    for name in ("forget", "forget_tag", "clear"):

        def hear(take: Callable[..., None], *told: Any) -> None:
            take(*told)
            heard.set()

        monkeypatch.setattr(store, name, partial(hear, getattr(store, name)))
    reading = asyncio.create_task(near.get(namespace, "k"))
    await until(lambda: bool(held))
    if what == "key":
        await other.set(namespace, "k", b"new")
    elif what == "tag":
        await other.invalidate_tags(namespace, ["t"])
    else:
        await other.invalidate_namespace(namespace)
    async with asyncio.timeout(10):
        await heard.wait()
    assert not reading.done()
    for receive in held:
        receive()
    entry = await reading
    assert entry is not None
    assert entry.value == b"old"  # that is what it was when it was asked for
    assert not is_kept(near, namespace, "k")
    monkeypatch.undo()
    assert await value(near, namespace, "k") == await value(other, namespace, "k")


async def test_an_answer_that_comes_after_an_own_write_is_not_kept(
    near: pantler.AsyncClient, namespace: str
) -> None:
    store = near._near
    assert store is not None
    await near.set(namespace, "k", b"old")
    entry = await near.get(namespace, "k")
    assert entry is not None
    opened = store.open(namespace, "k")
    assert opened is not None
    await near.set(namespace, "k", b"new")
    store.keep(opened, entry)
    assert not is_kept(near, namespace, "k")
    assert await value(near, namespace, "k") == b"new"


async def test_nothing_is_given_past_the_bound_while_the_watch_is_stalled(
    near_server: PantlerServer, other: pantler.AsyncClient, namespace: str
) -> None:
    cache = near_cache(namespace)
    async with (
        FaultProxy(int(near_server.address.rpartition(":")[2])) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}", near_cache=cache) as near,
    ):
        near._own_channel = (  # type: ignore[method-assign]  # the watch alone goes by the proxy
            lambda: grpc.aio.insecure_channel(near_server.address)
        )
        await near.get(namespace, "anything")
        await other.set(namespace, "k", b"old")
        await keep(near, namespace, "k")
        proxy.hold_replies()
        begun = monotonic()
        await other.set(namespace, "k", b"new")
        assert is_kept(near, namespace, "k")  # nobody has told it
        written = monotonic()
        while await value(near, namespace, "k") == b"old":
            assert monotonic() - written < BOUND_S + 0.2
            await asyncio.sleep(0.01)
        assert monotonic() - begun > 1  # a heartbeat that stays away is no reason yet
        assert not near.near_cache_stats().is_sure
        proxy.restore()
        await keep(near, namespace, "k")  # the watch goes on
        assert await value(near, namespace, "k") == b"new"


async def test_a_gap_drops_everything_of_its_namespace(
    near_server: PantlerServer, other: pantler.AsyncClient
) -> None:
    first, second = a_namespace(), a_namespace()
    async with await opened(near_server.address, first, second) as near:
        for namespace in (first, second):
            await other.set(namespace, "k", b"v")
            await keep(near, namespace, "k")
        config = near_cache(first, second)
        assert near._near is not None
        watch = near_watch.NearWatch(lambda: None, config)
        message = pantler.WatchMessage((), (first,))
        near._near._follower._take(watch, message)
        assert not is_kept(near, first, "k")
        assert is_kept(near, second, "k")


async def test_two_clients_never_read_what_is_older_than_the_bound(
    near_server: PantlerServer, namespace: str
) -> None:
    """Each value is the number of its write. When a read begins, some writes are known to have been
    done, each for a time: what is older than the newest that was done a bound ago must not come,
    nor what is older than the reader's own newest."""
    keys = [f"k{number}" for number in range(5)]
    written = {key: [(0.0, 0)] for key in keys}  # when a write was done, and its number
    locks = {key: asyncio.Lock() for key in keys}  # writes of a key follow one another
    numbers = count(1)
    chance = random.Random(7)
    clients = [await opened(near_server.address, namespace) for _ in range(2)]
    own: list[dict[str, int]] = [dict.fromkeys(keys, 0) for _ in clients]
    end = monotonic() + 8

    async def write(place: int, key: str) -> None:
        client = clients[place]
        async with locks[key]:
            number = next(numbers)
            data = str(number).encode()
            await chance.choice(
                (
                    lambda: client.set(namespace, key, data, tags=["t"]),
                    lambda: client.set_many(namespace, {key: data}),
                )
            )()
            written[key].append((monotonic(), number))
            own[place][key] = number

    async def run(place: int) -> None:
        client = clients[place]
        while monotonic() < end:
            key = chance.choice(keys)
            if chance.random() < 0.05:
                await write(place, key)
            elif chance.random() < 0.01:
                await clients[place].invalidate_tags(namespace, ["none"])
            else:
                begun, least = monotonic(), own[place][key]
                got = int(await value(client, namespace, key) or b"0")
                old = max(number for at, number in written[key] if at <= begun - BOUND_S)
                assert got >= max(least, old)
            await asyncio.sleep(chance.random() * 0.005)

    try:
        await asyncio.gather(*(run(place) for place in (0, 1) for _ in range(3)))
        await asyncio.sleep(0.5)  # by now all is told
        for client in clients:
            assert client.near_cache_stats().hits > 100
            for key in keys:
                assert int(await value(client, namespace, key) or b"0") == written[key][-1][1]
    finally:
        for client in clients:
            await client.close()
