"""`pantler.Client`, which blocks, against a real server."""

import asyncio
import gc
import inspect
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path

import pantler
import pytest
import pytest_asyncio
from pantler import sync_client

from tests.servers.pantler import PantlerServer

_numbers = count()
SLOTS = pantler.RateLimitRule("concurrency", 1, timedelta(minutes=1))
BRIEF = pantler.RateLimitRule("concurrency", 1, timedelta(milliseconds=600))


@pytest.fixture
def namespace() -> str:
    return f"sync{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def graceful(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """A server whose namespace `revalidated` has a grace."""
    config: Path = tmp_path_factory.mktemp("grace") / "pantler.yaml"
    config.write_text("namespaces: {revalidated: {stale_while_revalidate: 1h}}\n")
    async with PantlerServer(config=config) as running:
        yield running


@pytest.fixture
def client(server: PantlerServer) -> Iterator[pantler.Client]:
    with pantler.Client(server.address) as opened:
        yield opened


def lose(client: pantler.Client, subject: str) -> LookupError:
    """Has the slot of a block lost, and waits until that was noticed."""
    client.reset(subject, BRIEF)
    time.sleep(0.7)
    return LookupError()


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "pantler-client"]


def test_every_public_method_of_the_asynchronous_client_is_there() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(pantler.Client) == public(pantler.AsyncClient)
    for name in public(pantler.AsyncClient) - {"close"}:
        theirs = inspect.signature(getattr(pantler.AsyncClient, name)).parameters
        ours = inspect.signature(getattr(pantler.Client, name)).parameters
        assert list(ours) == list(theirs), name
        assert [one.default for one in ours.values()] == [one.default for one in theirs.values()]


def test_calls_block_and_give_what_the_asynchronous_client_gives(
    client: pantler.Client, namespace: str
) -> None:
    stored = client.set(namespace, "k", b"v", tags=["t"])
    entry = client.get(namespace, "k")
    assert entry is not None
    assert (entry.value, entry.version) == (b"v", stored.version)
    assert client.set_many(namespace, {"a": b"1", "b": b"2"}).keys() == {"a", "b"}
    assert list(client.get_many(namespace, ["a", "b", "c"])) == ["a", "b"]
    assert client.search_nearby(namespace, "places", member="nobody", radius_meters=1) is None
    assert repr(client).startswith("Client('127.0.0.1:")


def test_errors_are_those_of_the_asynchronous_client(
    client: pantler.Client, namespace: str
) -> None:
    with pytest.raises(pantler.InvalidArgument) as refused:
        client.set(namespace, "", b"v")
    assert [one.path for one in refused.value.violations] == ["key"]
    with pytest.raises(TypeError):
        client.get(namespace)  # type: ignore[call-arg]
    with pantler.Client("127.0.0.1:1") as alone, pytest.raises(pantler.Unavailable):
        alone.get(namespace, "k")


def test_a_fetch_runs_in_the_calling_thread_and_may_use_the_client(
    client: pantler.Client, namespace: str
) -> None:
    ran_in: list[threading.Thread] = []

    def fetch() -> bytes:
        ran_in.append(threading.current_thread())
        client.set(namespace, "other", b"1")
        return b"fetched"

    def fetch_many(keys: Sequence[str]) -> dict[str, bytes]:
        ran_in.append(threading.current_thread())
        return {key: key.encode() for key in keys}

    assert client.get_or_set(namespace, "k", fetch) == b"fetched"
    assert client.get_or_set(namespace, "k", fetch) == b"fetched"
    assert client.get_many_or_set(namespace, ["a", "b"], fetch_many) == {"a": b"a", "b": b"b"}
    assert ran_in == [threading.current_thread()] * 2


@pytest.mark.parametrize("error", [LookupError("no such user"), StopIteration("odd")])
def test_the_error_of_a_fetch_is_its_callers(
    client: pantler.Client, namespace: str, error: Exception
) -> None:
    def fetch() -> bytes:
        raise error

    with pytest.raises((LookupError, RuntimeError)) as raised:
        client.get_or_set(namespace, "k", fetch)
    assert error in (raised.value, raised.value.__cause__)
    assert client.get_or_set(namespace, "k", lambda: b"v") == b"v"


def test_a_fetch_in_the_background_runs_in_a_pool_and_holds_nobody_up(
    graceful: PantlerServer,
) -> None:
    held, done = threading.Event(), threading.Event()

    def fetch() -> bytes:
        assert threading.current_thread().name.startswith("asyncio_")
        held.wait(10)
        done.set()
        return b"new"

    with pantler.Client(graceful.address) as client:
        client.set("revalidated", "k", b"old", ttl=timedelta(milliseconds=30))
        time.sleep(0.05)
        assert client.get_or_set("revalidated", "k", fetch) == b"old"
        held.set()
        assert done.wait(10)
        until = time.monotonic() + 5
        while client.get_or_set("revalidated", "k", fetch) != b"new":
            assert time.monotonic() < until
            time.sleep(0.01)


def test_what_is_listed_is_iterated(client: pantler.Client, namespace: str) -> None:
    client.set_many(namespace, {f"k{index}": b"v" for index in range(1500)})
    seen = [progress.invalidated for progress in client.invalidate_pattern(namespace, "k*")]
    assert seen[-1] == 1500
    client.declare_dependencies(namespace, "child", ["parent"])
    assert [one.key for one in client.dependents(namespace, "parent")] == ["child"]


def test_a_watch_is_followed_and_left(client: pantler.Client, namespace: str) -> None:
    watch = client.watch_invalidations(namespace)
    assert isinstance(watch, sync_client.InvalidationWatch)
    messages = iter(watch)
    next(messages)
    client.invalidate_keys(namespace, ["k"])
    for message in messages:
        if message.events:
            assert [event.name for event in message.events] == ["k"]
            break
    assert watch.resume_token
    messages.close()


def test_messages_of_a_channel_come_in_order(client: pantler.Client, namespace: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        publishing = threading.Event()

        def publish() -> None:
            while not publishing.wait(0.05):
                client.publish(namespace, "news", b"hello")

        published = pool.submit(publish)
        try:
            for message in client.subscribe(namespace, "news"):
                assert isinstance(message, pantler.ChannelMessage)
                assert message.payload == b"hello"
                break
        finally:
            publishing.set()
        published.result()


def test_a_slot_is_held_for_a_block(client: pantler.Client, namespace: str) -> None:
    with client.slot(namespace, SLOTS) as held:
        assert held.slot_id
        with pytest.raises(pantler.RateLimited), client.slot(namespace, SLOTS):
            pass
    with pytest.raises(LookupError), client.slot(namespace, SLOTS):
        raise LookupError
    with pytest.raises(KeyboardInterrupt), client.slot(namespace, SLOTS):
        raise KeyboardInterrupt
    with client.slot(namespace, SLOTS, wait=timedelta(seconds=5)):
        pass


def test_a_block_learns_at_its_end_that_its_slot_was_lost(
    client: pantler.Client, namespace: str
) -> None:
    with pytest.raises(pantler.SlotNotHeld), client.slot(namespace, BRIEF):
        lose(client, namespace)


def test_the_error_of_a_block_comes_before_the_loss_of_its_slot(
    client: pantler.Client, namespace: str
) -> None:
    with pytest.raises(LookupError), client.slot(namespace, BRIEF):
        raise lose(client, namespace)


def test_a_plain_function_is_rate_limited_and_runs_in_the_calling_thread(
    client: pantler.Client, namespace: str
) -> None:
    rule = pantler.RateLimitRule("token_bucket", 1, timedelta(minutes=1))

    @client.rate_limited(rule, subject=namespace + ":{user}")
    def search(user: int) -> threading.Thread:
        return threading.current_thread()

    assert search(1) is threading.current_thread()
    with pytest.raises(pantler.RateLimited):
        search(1)
    assert search(user=2) is threading.current_thread()
    with pytest.raises(TypeError, match="AsyncClient"):
        client.rate_limited(rule, subject="x")(asyncio.sleep)


def test_many_threads_share_a_client_and_its_one_thread(
    client: pantler.Client, namespace: str
) -> None:
    before = len(threads())
    fetches = count()

    def fetch() -> bytes:
        time.sleep(0.05)
        return b"%d" % next(fetches)

    def work(number: int) -> bytes:
        for turn in range(20):
            key = f"{number}:{turn}"
            client.set(namespace, key, key.encode())
            entry = client.get(namespace, key)
            assert entry is not None
            assert entry.value == key.encode()
        return client.get_or_set(namespace, "shared", fetch)

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(work, range(32))) == {b"0"}
    assert len(threads()) == before + 1


def test_the_thread_begins_with_the_first_call_and_ends_with_the_client(
    server: PantlerServer, namespace: str
) -> None:
    gc.collect()
    before = len(threads())
    client = pantler.Client(server.address)
    client.rate_limited("api", subject="x")(lambda: None)
    assert len(threads()) == before
    client.get(namespace, "k")
    assert len(threads()) == before + 1
    client.close()
    assert len(threads()) == before
    client.close()
    for call in (client.get, client.describe):
        with pytest.raises(pantler.PantlerError, match="the client is closed"):
            call(namespace, "k")
    pantler.Client(server.address).close()


def test_a_client_that_is_forgotten_ends_its_thread(server: PantlerServer, namespace: str) -> None:
    client = pantler.Client(server.address)
    client.get(namespace, "k")
    [thread] = [one for one in threads() if one not in set(threads()[:-1])]
    del client
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_calls_under_way_end_with_the_client(server: PantlerServer, namespace: str) -> None:
    client = pantler.Client(server.address)
    held = threading.Event()

    def fetch() -> bytes:
        client.close()
        held.set()
        return b"late"

    with ThreadPoolExecutor(2) as pool:
        fetching = pool.submit(client.get_or_set, namespace, "k", fetch)
        assert held.wait(10)
        with pytest.raises(pantler.PantlerError, match="closed during the call"):
            fetching.result(10)
    with pantler.Client(server.address) as other:  # the lease was given back
        assert other.get_or_set(namespace, "k", lambda: b"v") == b"v"


def test_ctrl_c_cancels_the_call(client: pantler.Client, namespace: str) -> None:
    client.get(namespace, "k")
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with client.slot(namespace, SLOTS):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                client.slot(namespace, SLOTS, wait=timedelta(seconds=30)).__enter__()
            assert time.monotonic() - began < 5
    finally:
        signal.signal(signal.SIGALRM, previous)
    with client.slot(namespace, SLOTS, wait=timedelta(seconds=5)):  # nobody waits for one any more
        time.sleep(0.2)


async def test_a_call_in_the_thread_of_its_own_loop_fails_at_once(
    server: PantlerServer, namespace: str
) -> None:
    def blocked() -> None:
        with pantler.Client(server.address) as client:
            rule = pantler.RateLimitRule("token_bucket", 1, timedelta(minutes=1))

            def subject() -> str:
                return str(client.get(namespace, "k"))

            with pytest.raises(pantler.PantlerError, match="own event loop"):
                client.rate_limited(rule, subject=subject)(lambda: None)()
            assert client.get(namespace, "k") is None

    await asyncio.to_thread(blocked)


async def test_several_clients_of_both_kinds_work_beside_each_other(
    server: PantlerServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> None:
        with pantler.Client(server.address) as client:
            for turn in range(200):
                client.set(namespace, str(turn), b"v")

    async with pantler.AsyncClient(server.address) as client:
        working = [asyncio.create_task(asyncio.to_thread(work)) for _ in range(3)]
        while not all(one.done() for one in working):
            await client.get(namespace, "0")
        await asyncio.gather(*working)
    assert not caplog.records


def test_a_client_is_closed_before_its_generators(
    server: PantlerServer, caplog: pytest.LogCaptureFixture
) -> None:
    near_cache = pantler.NearCache(["closing"])
    with pantler.Client(server.address, near_cache=near_cache) as client:
        client.get("closing", "k")
        time.sleep(0.2)  # its watch is under way
    assert [one.getMessage() for one in caplog.records if one.name == "asyncio"] == []
