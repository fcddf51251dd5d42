"""Invalidation and tags through the Python SDK, against a real server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import pantler
import pytest
import pytest_asyncio
from pantler.v1 import cache_pb2

from tests.servers.pantler import PantlerServer
from tests.servers.slow_walk import SlowWalk

_numbers = count()
MANY = [f"k{index}" for index in range(2500)]  # more than one call or page may have
SOON_S = 5.0


@pytest.fixture
def namespace() -> str:
    return f"sdkinv{next(_numbers)}"


@pytest_asyncio.fixture
async def client(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def configured(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[pantler.AsyncClient]:
    """A client of a server whose namespaces have a grace, or an index of their tags."""
    config: Path = tmp_path_factory.mktemp("invalidation") / "pantler.yaml"
    config.write_text(
        "namespaces:\n  graced: {stale_while_revalidate: 1h}\n  indexed: {tag_index: true}\n"
    )
    async with (
        PantlerServer(config=config) as running,
        pantler.AsyncClient(running.address) as opened,
    ):
        yield opened


async def test_invalidated_keys_are_gone(client: pantler.AsyncClient, namespace: str) -> None:
    await client.set_many(namespace, {"a": b"1", "b": b"2", "c": b"3"})
    done = await client.invalidate_keys(namespace, ["b", "a", "b", "new"])
    assert done == pantler.InvalidatedKeys(("b", "a", "new"), 3)
    assert list(await client.get_many(namespace, ["a", "b", "c"])) == ["c"]
    described = await client.describe(namespace, "a")
    assert (described.found, described.miss_reason) == (False, "HIDDEN_BY_KEY")
    assert described.miss_time is not None
    assert abs(described.miss_time - datetime.now(UTC)) < timedelta(seconds=5)
    assert await client.invalidate_keys(namespace, []) == pantler.InvalidatedKeys((), 0)


async def test_any_number_of_keys_goes_in_parts(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set_many(namespace, dict.fromkeys(MANY, b"v"))
    done = await client.invalidate_keys(namespace, MANY)
    assert done == pantler.InvalidatedKeys(tuple(MANY), len(MANY))
    assert await client.get_many(namespace, MANY) == {}


async def test_a_part_that_is_refused_takes_nothing_from_the_others(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set_many(namespace, dict.fromkeys(MANY, b"v"))
    for calling in (
        client.invalidate_keys(namespace, ["", *MANY[1:]]),
        client.invalidate_tags(namespace, ["", *MANY[1:]]),
    ):
        with pytest.raises(pantler.PartialFailure) as failed:
            await calling
        assert list(failed.value.results) == MANY[1000:]
    assert list(await client.get_many(namespace, MANY)) == MANY[:1000]


async def test_a_cascade_reaches_what_depends_on_a_key(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "page", b"v", depends_on=["user"])
    await client.set_many(namespace, {"site": b"v"}, depends_on=["page"])
    await client.declare_dependencies(namespace, "feed", ["site"])
    await client.set(namespace, "feed", b"v")
    assert (await client.invalidate_keys(namespace, ["user"])).keys == ("user",)
    assert len(await client.get_many(namespace, ["page", "site", "feed"])) == 3
    reached = await client.invalidate_keys(namespace, ["user"], cascade=True)
    assert reached == pantler.InvalidatedKeys(("user", "page", "site", "feed"), 4)
    assert await client.get_many(namespace, reached.keys) == {}


async def test_a_cascade_of_many_keys_names_each_once(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set_many(namespace, {"page": b"v"}, depends_on=[MANY[0], MANY[-1]])
    reached = await client.invalidate_keys(namespace, MANY, cascade=True)
    assert reached == pantler.InvalidatedKeys((*MANY, "page"), len(MANY) + 1)


async def test_of_a_wide_cascade_the_first_keys_are_told_and_all_are_counted(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set_many(namespace, dict.fromkeys(MANY, b"v"), depends_on=["user"])
    reached = await client.invalidate_keys(namespace, ["user"], cascade=True)
    assert reached.count == len(MANY) + 1
    assert reached.keys[0] == "user"
    assert len(set(reached.keys)) == len(reached.keys) == 1001
    assert await client.get_many(namespace, MANY) == {}


async def test_a_wrong_one_is_named_by_where_it_was_given(
    client: pantler.AsyncClient, namespace: str
) -> None:
    doubled = ["a"] * 1500
    calls: list[tuple[Awaitable[object], str]] = [
        (client.invalidate_keys(namespace, [*doubled, "\0"]), "keys[1500]"),
        (client.invalidate_tags(namespace, [*doubled, "\0"]), "tags[1500]"),
        (client.get_many(namespace, [*doubled, "\0"]), "keys[1500]"),
        (client.delete_many(namespace, [*doubled, "\0"]), "keys[1500]"),
        (client.add_tags(namespace, "k", ["t", "t", ""]), "tags[2]"),
        (client.remove_tags(namespace, "k", ["t", "t", ""]), "tags[2]"),
        (client.declare_dependencies(namespace, "k", ["a", "a", ""]), "depends_on[2]"),
        (client.set(namespace, "k", b"v", tags=["t", "t", ""]), "tags[2]"),
    ]
    for call, path in calls:
        with pytest.raises(pantler.InvalidArgument) as refused:
            await call
        [violation] = refused.value.violations
        assert violation.path == path
        assert str(refused.value) == f"{path} {violation.description}"
    with pytest.raises(pantler.PartialFailure) as failed:
        await client.set_many(namespace, {**dict.fromkeys(MANY, b"v"), "": b"v"})
    error = failed.value.errors[""]
    assert isinstance(error, pantler.InvalidArgument)
    assert [violation.path for violation in error.violations] == [f"entries[{len(MANY)}].key"]


async def test_a_cascade_that_is_too_wide_says_so(
    client: pantler.AsyncClient, namespace: str
) -> None:
    for index in range(101):
        await client.declare_dependencies(namespace, f"k{index + 1}", [f"k{index}"])
    with pytest.raises(pantler.CascadeTooWide) as failed:
        await client.invalidate_keys(namespace, ["k0"], cascade=True)
    assert failed.value.metadata.keys() == {"max_keys", "max_steps"}


async def test_a_tag_hides_all_that_have_it(client: pantler.AsyncClient, namespace: str) -> None:
    stored = await client.set(namespace, "one", b"v", tags=["t", "u"])
    assert stored.visible
    await client.set_many(namespace, {"two": b"v", "three": b"v"}, tags=["t"])
    await client.set(namespace, "other", b"v", tags=["u"])
    await client.invalidate_tags(namespace, ["t", "unheard of"])
    keys = ["one", "two", "three", "other"]
    assert list(await client.get_many(namespace, keys)) == ["other"]
    described = await client.describe(namespace, "one")
    assert (described.miss_reason, described.miss_cause) == ("HIDDEN_BY_TAG", "t")
    assert described.version == stored.version
    with pytest.raises(TypeError, match="several"):
        await client.invalidate_tags(namespace, "t")


async def test_soft_leaves_stale_entries_to_those_who_accept_them(
    configured: pantler.AsyncClient,
) -> None:
    async def fetch() -> bytes:
        return b"new"

    async def invalidate_all() -> None:
        await configured.invalidate_namespace("graced", soft=True)

    async def invalidate_old() -> None:
        await configured.invalidate_older_than("graced", datetime.now(UTC), soft=True)

    for index, invalidate in enumerate(
        (
            lambda: configured.invalidate_keys("graced", ["k0"], soft=True),
            lambda: configured.invalidate_tags("graced", ["t"], soft=True),
            invalidate_all,
            invalidate_old,
        )
    ):
        key = f"k{index}"
        await configured.set("graced", key, b"old", tags=["t"])
        await invalidate()
        assert await configured.get("graced", key) is None
        entry = await configured.get("graced", key, accept_stale=True)
        assert entry is not None
        assert (entry.value, entry.stale) == (b"old", True)
        described = await configured.describe("graced", key)
        assert (described.found, described.stale) == (False, True)
        assert await configured.get_or_set("graced", key, fetch) == b"old"
        async with asyncio.timeout(SOON_S):
            while await configured.get("graced", key) is None:
                await asyncio.sleep(0.01)


async def test_each_invalidation_of_a_namespace_gives_a_new_version(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "k", b"old")
    first = await client.invalidate_namespace(namespace)
    assert await client.get(namespace, "k") is None
    assert await client.invalidate_namespace(namespace) > first > 0
    await client.set(namespace, "k", b"new")
    assert await client.get(namespace, "k") is not None


async def test_older_than_tells_before_from_after_in_any_zone(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "before", b"v")
    await client.set(namespace, "after", b"v")
    entry = await client.get(namespace, "after")
    assert entry is not None
    then = entry.create_time.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await client.invalidate_older_than(namespace, then)
    assert list(await client.get_many(namespace, ["before", "after"])) == ["after"]
    assert (await client.describe(namespace, "before")).miss_reason == "HIDDEN_BY_AGE"


async def test_a_time_without_zone_or_to_come_is_refused(
    client: pantler.AsyncClient, namespace: str
) -> None:
    now = datetime.now(UTC)
    with pytest.raises(ValueError, match="time zone"):
        await client.invalidate_older_than(namespace, now.replace(tzinfo=None))
    with pytest.raises(pantler.InvalidArgument):
        await client.invalidate_older_than(namespace, now + timedelta(hours=1))


async def test_a_pattern_is_counted_and_then_removed(
    client: pantler.AsyncClient, namespace: str
) -> None:
    keys = [f"session:{index}" for index in range(20)]
    await client.set_many(namespace, dict.fromkeys([*keys, "user:1"], b"v"))
    counted = [one async for one in client.invalidate_pattern(namespace, "s*:*", dry_run=True)]
    assert [one.done for one in counted] == [False] * (len(counted) - 1) + [True]
    assert counted[-1].invalidated == 20
    assert len(counted[-1].examples) == 10
    assert set(counted[-1].examples) < set(keys)
    assert len(await client.get_many(namespace, keys)) == 20
    removed = [one async for one in client.invalidate_pattern(namespace, "s*:*")]
    assert (removed[-1].invalidated, removed[-1].done) == (20, True)
    assert list(await client.get_many(namespace, [*keys, "user:1"])) == ["user:1"]
    with pytest.raises(pantler.InvalidArgument):
        await anext(client.invalidate_pattern(namespace, "x" * 513))


async def test_a_walk_lasts_longer_than_a_call_may() -> None:
    async with (
        SlowWalk() as server,
        pantler.AsyncClient(server.address, timeout=timedelta(milliseconds=20)) as client,
    ):
        walk = client.invalidate_pattern("users", "*")
        first = await anext(walk)
        assert first == pantler.PatternProgress(1, 3, 1, ("a",), done=False)
        await asyncio.sleep(0.1)
        server.may_go_on.set()
        rest = [progress async for progress in walk]
        assert rest == [pantler.PatternProgress(3, 3, 2, ("a", "b"), done=True)]


async def test_who_leaves_the_loop_stops_the_walk() -> None:
    async with SlowWalk() as server, pantler.AsyncClient(server.address) as client:
        async for _ in client.invalidate_pattern("users", "*"):
            await server.under_way.wait()
            break
        async with asyncio.timeout(SOON_S):
            await server.cancelled.wait()


async def test_who_is_cancelled_stops_the_walk() -> None:
    async def walk(client: pantler.AsyncClient) -> None:
        async for _ in client.invalidate_pattern("users", "*"):
            pass

    async with SlowWalk() as server, pantler.AsyncClient(server.address) as client:
        walking = asyncio.create_task(walk(client))
        await server.under_way.wait()
        walking.cancel()
        await asyncio.wait((walking,))
        assert walking.cancelled()
        async with asyncio.timeout(SOON_S):
            await server.cancelled.wait()


async def test_a_client_that_is_closed_ends_its_walks() -> None:
    async with SlowWalk() as server:
        client = pantler.AsyncClient(server.address)
        walk = client.invalidate_pattern("users", "*")
        await anext(walk)
        await client.close()
        with pytest.raises(pantler.PantlerError, match="closed during"):
            await anext(walk)
        with pytest.raises(pantler.PantlerError, match="is closed"):
            await anext(client.invalidate_pattern("users", "*"))


async def test_dependents_are_those_declared_and_those_of_entries(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "page", b"v", depends_on=["user"])
    await client.declare_dependencies(namespace, "feed", ["user", "other"])
    found = [one async for one in client.dependents(namespace, "user")]
    assert sorted(found, key=lambda one: one.key) == [
        pantler.Dependent("feed", declared=True),
        pantler.Dependent("page", declared=False),
    ]
    await client.declare_dependencies(namespace, "feed", [])
    found = [one async for one in client.dependents(namespace, "user")]
    assert found == [pantler.Dependent("page", declared=False)]
    assert [one async for one in client.dependents(namespace, "other")] == []


async def test_dependents_of_all_pages_are_listed(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set_many(namespace, dict.fromkeys(MANY, b"v"), depends_on=["user"])
    found = {one.key async for one in client.dependents(namespace, "user")}
    assert found == set(MANY)


async def test_tags_come_and_go(client: pantler.AsyncClient, namespace: str) -> None:
    nothing = pantler.AddTagsResult(found=False, visible=False)
    assert await client.add_tags(namespace, "k", ["a"]) == nothing
    assert await client.tags(namespace, "k") is None
    assert not await client.remove_tags(namespace, "k", ["a"])
    stored = await client.set(namespace, "k", b"v", tags=["a"])
    added = await client.add_tags(namespace, "k", ["b", "c", "a"])
    assert added == pantler.AddTagsResult(found=True, visible=True)
    assert await client.tags(namespace, "k") == ("a", "b", "c")
    assert await client.remove_tags(namespace, "k", ["b", "x"])
    entry = await client.get(namespace, "k")
    assert entry is not None
    assert (entry.version, entry.tags) == (stored.version, ("a", "c"))
    await client.invalidate_tags(namespace, ["c"])
    assert await client.get(namespace, "k") is None


async def test_a_tag_that_was_invalidated_hides_what_it_is_added_to(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "k", b"v")
    await client.invalidate_tags(namespace, ["late"])
    added = await client.add_tags(namespace, "k", ["late"])
    assert added == pantler.AddTagsResult(found=True, visible=False)
    assert await client.get(namespace, "k") is None


async def test_tagged_keys_of_all_pages_are_listed(configured: pantler.AsyncClient) -> None:
    await configured.set_many("indexed", dict.fromkeys(MANY, b"v"), tags=["t"])
    await configured.set("indexed", "other", b"v", tags=["u"])
    found = {one async for one in configured.tagged_keys("indexed", "t")}
    assert found == {pantler.TaggedKey(key, stale=False) for key in MANY}


async def test_without_an_index_no_keys_of_a_tag_are_known(
    client: pantler.AsyncClient, namespace: str
) -> None:
    with pytest.raises(pantler.FailedPrecondition) as failed:
        await anext(client.tagged_keys(namespace, "t"))
    assert failed.value.reason == "ERROR_REASON_NO_TAG_INDEX"


async def test_what_is_fetched_has_the_dependencies_asked_for(
    client: pantler.AsyncClient, namespace: str
) -> None:
    async def fetch() -> bytes:
        return b"hello"

    minutes = timedelta(minutes=5)
    await client.get_or_set(
        namespace, "k", fetch, ttl=minutes, tags=["t"], depends_on=["user"], content_type="a/b"
    )
    entry = await client.get(namespace, "k")
    described = await client.describe(namespace, "k")
    assert entry is not None
    assert described.drop_time is not None
    assert described == pantler.Description(
        found=True,
        stale=False,
        miss_reason=None,
        miss_time=None,
        miss_cause="",
        version=entry.version,
        create_time=entry.create_time,
        expire_time=entry.expire_time,
        drop_time=described.drop_time,
        ttl=minutes,
        sliding=False,
        value_bytes=5,
        content_type="a/b",
        tags=("t",),
        depends_on=("user",),
        lease_expire_time=None,
    )


async def test_of_nothing_all_is_empty_but_why(client: pantler.AsyncClient, namespace: str) -> None:
    described = await client.describe(namespace, "k")
    assert set(pantler.Description.__slots__) == set(
        cache_pb2.DescribeResponse.DESCRIPTOR.fields_by_name
    )
    told = {name: getattr(described, name) for name in pantler.Description.__slots__}
    assert {name for name, value in told.items() if value} == {"miss_reason"}
    assert described.miss_reason == "UNKNOWN"
