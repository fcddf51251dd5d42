"""The near cache of the Python client, against a real server."""

import asyncio
import logging
import random
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import grpc.aio
import pantler
import pytest
import pytest_asyncio
from pantler import codecs, near_watch

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import free_port

NAMESPACES = 40
BOUND_S = 5.0  # of the client's default
AT_ONCE = timedelta(0)
MINUTE = timedelta(minutes=1)

_numbers = count()


@pytest_asyncio.fixture(scope="module")
async def near_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Tells of writes in its namespaces near0, near1, …."""
    config: Path = tmp_path_factory.mktemp("near") / "pantler.yaml"
    names = "".join(f"  near{number}: {{near_cache: true}}\n" for number in range(NAMESPACES))
    config.write_text(
        f"namespaces:\n{names}  soft: {{near_cache: true, stale_while_revalidate: 1h}}\n"
    )
    async with PantlerServer(config=config) as running:
        yield running


@pytest.fixture
def namespace() -> str:
    return f"near{next(_numbers) % NAMESPACES}"


def near_cache(*namespaces: str, **options: Any) -> pantler.NearCache:
    return pantler.NearCache(namespaces, **{"settle": AT_ONCE, "ttl": MINUTE, **options})


async def opened(address: str, *namespaces: str, **options: Any) -> pantler.AsyncClient:
    """A client whose near cache has begun. Close it."""
    client = pantler.AsyncClient(address, near_cache=near_cache(*namespaces, **options))
    await client.get(namespaces[0], "anything")
    await until(lambda: client.near_cache_stats().is_sure)
    return client


@pytest_asyncio.fixture
async def near(near_server: PantlerServer, namespace: str) -> AsyncIterator[pantler.AsyncClient]:
    async with await opened(near_server.address, namespace) as client:
        yield client


@pytest_asyncio.fixture
async def other(near_server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    """A client of another program, without a near cache."""
    async with pantler.AsyncClient(near_server.address) as client:
        yield client


async def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


def is_kept(client: pantler.AsyncClient, namespace: str, key: str) -> bool:
    assert client._near is not None
    return client._near.find(namespace, key) is not None


async def keep(client: pantler.AsyncClient, namespace: str, *keys: str) -> None:
    """Reads until they are kept: the word of their writes may come after the first read."""
    async with asyncio.timeout(10):
        while not all(is_kept(client, namespace, key) for key in keys):
            await client.get_many(namespace, keys)
            await asyncio.sleep(0.05)


async def value(client: pantler.AsyncClient, namespace: str, key: str) -> bytes | None:
    entry = await client.get(namespace, key)
    return None if entry is None else entry.value


async def test_a_hit_takes_no_round_trip(
    near_server: PantlerServer, other: pantler.AsyncClient, namespace: str
) -> None:
    async with (
        FaultProxy(int(near_server.address.rpartition(":")[2])) as proxy,
        await opened(f"127.0.0.1:{proxy.port}", namespace) as near,
    ):
        await other.set(namespace, "k", b'"v"', content_type="application/json")
        await other.set(namespace, "n", b"w", tags=["t"])
        await keep(near, namespace, "k", "n")
        proxy.stall()
        before = near.near_cache_stats()
        entry = await near.get(namespace, "k")
        assert entry is not None
        assert (entry.value, entry.content_type) == (b'"v"', "application/json")
        many = await near.get_many(namespace, ["n", "k"])
        assert {key: one.value for key, one in many.items()} == {"n": b"w", "k": b'"v"'}
        assert many["n"].tags == ("t",)

        async def fetch(_: Any = None) -> Any:
            raise AssertionError("it is cached")

        assert await near.get_or_set(namespace, "n", fetch) == b"w"
        assert await near.get_many_or_set(namespace, ["n"], fetch) == {"n": b"w"}
        view = near.namespace(namespace, codec=codecs.JSON)
        assert await view.get("k") == "v"
        assert await view.get_many(["k"]) == {"k": "v"}
        assert await view.get_or_set("k", fetch) == "v"
        assert await view.get_many_or_set(["k"], fetch) == {"k": "v"}
        stats = near.near_cache_stats()
        assert (stats.hits - before.hits, stats.misses - before.misses) == (9, 0)
        assert stats.entries == 2


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
        await other.set(namespace, "k", b"v", tags=["t"], depends_on=["p"])
        await other.set(namespace, "stays", b"v", tags=["another"])
        await keep(near, namespace, "k", "stays")
        await change()
        await until(lambda: not is_kept(near, namespace, "k"))
        assert is_kept(near, namespace, "stays") is is_precise, name
        assert await value(near, namespace, "k") == await value(other, namespace, "k"), name


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
    first, second = f"near{next(_numbers)}", f"near{next(_numbers)}"
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


async def test_of_a_server_that_does_not_tell_of_writes_nothing_is_kept(
    near_server: PantlerServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pantler"):
        async with await opened(near_server.address, namespace, "untold") as near:
            for name in (namespace, "untold", "unnamed"):
                await near.set(name, "k", b"v")
            await keep(near, namespace, "k")
            for name in ("untold", "unnamed"):
                await near.get(name, "k")
                assert not is_kept(near, name, "k")
            await asyncio.sleep(1.2)  # a heartbeat
    assert [record.args for record in caplog.records if "keeps nothing" in record.msg] == [
        ("untold",)
    ]


async def test_stale_entries_and_misses_are_not_kept(
    near_server: PantlerServer, other: pantler.AsyncClient
) -> None:
    async with await opened(near_server.address, "soft") as near:
        await other.set("soft", "k", b"v")
        await keep(near, "soft", "k")
        await other.invalidate_keys("soft", ["k"], soft=True)
        await until(lambda: not is_kept(near, "soft", "k"))
        entry = await near.get("soft", "k", accept_stale=True)
        assert entry is not None
        assert entry.stale
        assert not is_kept(near, "soft", "k")
        assert await near.get("soft", "none") is None
        assert near._near is not None
        assert not near._near._placeholders


async def test_an_entry_is_kept_for_its_ttl_and_half_of_what_is_left_of_its_own(
    near_server: PantlerServer, other: pantler.AsyncClient
) -> None:
    brief, long = f"near{next(_numbers)}", f"near{next(_numbers)}"
    cache = pantler.NearCache(
        {brief: timedelta(seconds=0.3), long: MINUTE}, ttl=MINUTE, settle=AT_ONCE
    )
    async with pantler.AsyncClient(near_server.address, near_cache=cache) as near:
        await near.get(brief, "anything")
        await until(lambda: near.near_cache_stats().is_sure)
        await other.set(brief, "k", b"v", ttl=MINUTE)
        await other.set(long, "k", b"v", ttl=timedelta(seconds=1))
        for namespace in (brief, long):
            await keep(near, namespace, "k")
        await until(lambda: not is_kept(near, brief, "k"), 0.5)
        await until(lambda: not is_kept(near, long, "k"), 0.8)
        assert await value(near, long, "k") is not None


async def test_reads_so_soon_after_a_change_are_not_kept(
    near_server: PantlerServer, namespace: str
) -> None:
    async with await opened(near_server.address, namespace, settle=timedelta(hours=1)) as near:
        await near.set(namespace, "k", b"v")
        await near.set(namespace, "other", b"v")
        assert near._near is not None
        near._near.spaces[namespace].recent.pop("other")
        await near.get_many(namespace, ["k", "other"])
        assert not is_kept(near, namespace, "k")


async def test_its_memory_is_bounded(near_server: PantlerServer, namespace: str) -> None:
    most = 4 << 20
    async with await opened(near_server.address, namespace, max_bytes=most) as near:
        store = near._near
        assert store is not None
        await near.set(namespace, "k", b"v", ttl=MINUTE)
        entry = await near.get(namespace, "k")
        assert entry is not None
        tracemalloc.start()
        for number in range(20_000):
            opened_one = store.open(namespace, f"key{number}")
            assert opened_one is not None
            kept = entry._replace(value=number.to_bytes(8) * 100, tags=(f"tag{number}",))
            store.keep(opened_one, kept)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        stats = near.near_cache_stats()
        assert most * 0.8 < stats.bytes <= most == stats.max_bytes
        assert 1_000 < stats.entries < 5_000
        assert held < 1.25 * most


async def test_reads_that_are_calls_of_their_own_fill_it_too(
    near_server: PantlerServer, namespace: str
) -> None:
    cache = near_cache(namespace)
    async with pantler.AsyncClient(near_server.address, coalesce=False, near_cache=cache) as near:
        await near.set(namespace, "k", b"v")
        async with asyncio.timeout(10):
            while not is_kept(near, namespace, "k"):
                assert await value(near, namespace, "k") == b"v"
                await asyncio.sleep(0.05)
        await near.delete(namespace, "k")
        assert await near.get(namespace, "k") is None


async def test_a_closed_client_gives_nothing(
    near: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    await other.set(namespace, "k", b"v")
    await keep(near, namespace, "k")
    await near.close()
    with pytest.raises(pantler.PantlerError, match="closed"):
        await near.get(namespace, "k")
    assert near.near_cache_stats().entries == 0


async def test_it_begins_when_the_server_does(namespace: str, tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(f"namespaces: {{{namespace}: {{near_cache: true}}}}\n")
    port = free_port()
    cache = near_cache(namespace)
    timeout = timedelta(seconds=1)
    async with pantler.AsyncClient(f"127.0.0.1:{port}", timeout=timeout, near_cache=cache) as near:
        with pytest.raises(pantler.Unavailable):
            await near.get(namespace, "k")
        async with PantlerServer("--listen", f"127.0.0.1:{port}", config=config):
            await until(lambda: near.near_cache_stats().is_sure)
            await near.set(namespace, "k", b"v")
            await keep(near, namespace, "k")


def test_the_client_for_threads_has_one_too(near_server: PantlerServer, namespace: str) -> None:
    with pantler.Client(near_server.address, near_cache=near_cache(namespace)) as client:
        client.set(namespace, "k", b"v")
        for _ in range(200):
            client.get(namespace, "k")
            if client.near_cache_stats().hits:
                break
            sleep(0.05)
        assert client.near_cache_stats().hits
        client.delete(namespace, "k")
        assert client.get(namespace, "k") is None


async def test_without_one_the_figures_are_0(other: pantler.AsyncClient) -> None:
    assert other.near_cache_stats() == pantler.NearCacheStats()


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
