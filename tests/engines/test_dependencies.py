"""Dependencies: of entries and declared ones, and cascades over both."""

import asyncio

import pytest
from pantler_server.core.errors import CascadeTooWide
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.invalidation import cascade
from pantler_server.engines.cache.invalidation.model import Dependent
from pantler_server.engines.cache.model import Hit, Miss, MissReason, NewEntry, SetResult
from pantler_server.store.request import read
from pantler_server.store.store import Store

from tests.engines.caller import FILL_LOST, STORED, Caller, value


async def test_a_cascade_reaches_what_depends_on_what_depends(one: Caller, other: Caller) -> None:
    await one.set("parent")
    await one.set("child", depends_on=("parent",))
    await one.set("grandchild", depends_on=("child",))
    await one.set("bystander", depends_on=("uncle",))
    assert await other.invalidate_keys("parent", cascade=True) == ["parent", "child", "grandchild"]
    for key in ("parent", "child", "grandchild"):
        assert value(await one.get(key)) is None
    assert value(await one.get("bystander")) == b"v"


async def test_without_cascade_only_the_key_goes(one: Caller) -> None:
    await one.set("parent")
    await one.set("child", depends_on=("parent",))
    assert await one.invalidate_keys("parent", "parent") == ["parent"]
    assert value(await one.get("child")) == b"v"


async def test_declared_dependents_are_invalidated_by_their_key(one: Caller, store: Store) -> None:
    await one.declare("child", "parent", "uncle")
    await one.declare("grandchild", "child")
    await one.set("child")
    missed = await one.get("grandchild")
    assert isinstance(missed, Miss)
    assert await one.invalidate_keys("uncle", cascade=True) == ["uncle", "child", "grandchild"]
    assert value(await one.get("child")) is None
    assert await one.fill("grandchild", missed.fill_token) is FILL_LOST
    described = await one.describe("child")
    assert described.miss_reason is MissReason.HIDDEN_BY_DEPENDENCY
    assert described.cause == "uncle"


async def test_cascades_go_over_both_kinds(one: Caller) -> None:
    await one.declare("b", "a")
    await one.set("c", depends_on=("b",))
    await one.declare("d", "c")
    await one.set("d")
    assert await one.invalidate_keys("a", cascade=True) == ["a", "b", "c", "d"]
    assert [value(await one.get(key)) for key in "cd"] == [None, None]


async def test_a_key_that_depends_in_both_ways_goes_by_its_key(one: Caller) -> None:
    await one.set("b", depends_on=("a",))
    await one.set("c", depends_on=("b",))
    await one.declare("c", "a")
    missed = await one.get("missing")
    assert isinstance(missed, Miss)
    assert set(await one.invalidate_keys("a", cascade=True)) == {"a", "b", "c"}
    assert (await one.describe("c")).entry is None


async def test_cycles_and_diamonds_end(one: Caller) -> None:
    await one.set("left", depends_on=("top",))
    await one.set("right", depends_on=("top",))
    await one.set("bottom", depends_on=("left", "right"))
    await one.declare("top", "bottom")
    reached = await one.invalidate_keys("top", cascade=True)
    assert sorted(reached) == ["bottom", "left", "right", "top"]
    assert len(reached) == 4


async def test_a_soft_cascade_makes_stale(one: Caller) -> None:
    await one.set("b", depends_on=("a",))
    await one.declare("c", "b")
    await one.set("c")
    await one.invalidate_keys("a", cascade=True, soft=True)
    for key in "bc":
        missed = await one.get(key)
        assert isinstance(missed, Miss)
        assert missed.reason is MissReason.HIDDEN_BY_DEPENDENCY
        assert isinstance(await one.get(key, accept_stale=True), Hit)


async def test_an_edge_outlives_its_entry(one: Caller) -> None:
    """What was made of a value is outdated too when the value has gone meanwhile."""
    await one.set("b", depends_on=("a",))
    await one.set("c", depends_on=("b",))
    await one.delete("b")
    await one.invalidate_keys("a", cascade=True)
    assert value(await one.get("c")) is None


async def test_a_fill_that_depends_on_it_lands_hidden(one: Caller, other: Caller) -> None:
    """The dependency is named only when the fill lands."""
    missed = await other.get("k")
    assert isinstance(missed, Miss)
    await one.invalidate_keys("parent", cascade=True)
    assert await other.fill("k", missed.fill_token, depends_on=("parent",)) is STORED
    assert value(await one.get("k")) is None


async def test_a_declaration_replaces_the_one_before(one: Caller, other: Caller) -> None:
    await one.declare("k", "a", "b")
    await other.declare("k", "b", "c")
    assert await one.dependents("a") == []
    assert await one.dependents("b") == await one.dependents("c") == [Dependent("k", declared=True)]
    await one.declare("k")
    assert await one.dependents("b") == []
    assert await one.invalidate_keys("b", cascade=True) == ["b"]


async def test_declarations_of_one_key_at_once_leave_one_of_them_whole(
    one: Caller, other: Caller
) -> None:
    await asyncio.gather(
        *(
            caller.declare("k", f"{index}a", f"{index}b")
            for index, caller in enumerate([one, other])
        )
    )
    found = [
        index
        for index in range(2)
        for letter in "ab"
        if await one.dependents(f"{index}{letter}") == [Dependent("k", declared=True)]
    ]
    assert found in ([0, 0], [1, 1])


async def test_many_may_declare_one_key_at_once(one: Caller, other: Caller) -> None:
    async def declare(caller: Caller, number: int) -> None:
        for index in range(12):
            await caller.declare("k", f"{number}-{index}")

    await asyncio.gather(*(declare((one, other)[index % 2], index) for index in range(16)))
    assert await one.dependents("0-0") == []
    last = [await one.dependents(f"{index}-11") for index in range(16)]
    assert last.count([Dependent("k", declared=True)]) == 1


async def test_dependents_are_listed(one: Caller) -> None:
    await one.set("by entry", depends_on=("k",))
    await one.set("gone", depends_on=("k",))
    await one.set("set anew", depends_on=("k",))
    await one.declare("declared", "k")
    await one.delete("gone")
    await one.set("set anew", depends_on=("other",))
    found = await one.dependents("k")
    assert sorted(found, key=lambda each: each.key) == [
        Dependent("by entry", declared=False),
        Dependent("declared", declared=True),
    ]


async def test_touch_keeps_a_dependency_as_long_as_the_entry(one: Caller, store: Store) -> None:
    await one.set("k", depends_on=("parent",))
    partition, _ = keys.place(one.space, "k")
    request = read(partition.slot, "k", ("ZSCORE", keys.dependents(partition, "parent"), "k"))
    [before] = await store.call(request, asyncio.get_running_loop().time() + 5)
    await one.touch("k")
    [after] = await store.call(request, asyncio.get_running_loop().time() + 5)
    assert after > before


async def test_what_is_too_wide_is_refused_and_the_nearest_are_invalidated(
    one: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "MAX_KEYS", 5)
    for index in range(4):
        await one.set(f"near{index}", depends_on=("a",))
    await one.set("far", depends_on=("near0",))
    assert len(await one.invalidate_keys("a", cascade=True)) == 6
    for index in range(2):
        await one.set(f"more{index}", depends_on=("a",))
    with pytest.raises(CascadeTooWide):
        await one.invalidate_keys("a", cascade=True)
    assert value(await one.get("more0")) is None


async def test_what_is_too_deep_is_refused(one: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "MAX_STEPS", 3)
    for index in range(4):
        await one.set(f"k{index + 1}", depends_on=(f"k{index}",))
    with pytest.raises(CascadeTooWide):
        await one.invalidate_keys("k0", cascade=True)
    assert value(await one.get("k1")) is None


async def test_a_cascade_over_many_edges_to_few_keys_is_followed(
    one: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "MAX_KEYS", 50)
    roots = [f"root{number}" for number in range(20)]
    for number in range(40):
        await one.set(f"k{number}", depends_on=tuple(roots))
    assert len(await one.invalidate_keys(*roots, cascade=True)) == 60
    assert value(await one.get("k39")) is None


async def test_a_dependency_is_kept_for_the_namespaces_ttl_beyond_its_entry(
    one: Caller, store: Store
) -> None:
    await one.set("k", ttl_ms=60_000, depends_on=("parent",))
    partition, _ = keys.place(one.space, "k")
    index = keys.dependents(partition, "parent")
    request = read(partition.slot, "k", ("ZSCORE", index, "k"), ("TIME",))
    until_us, time = await store.call(request, asyncio.get_running_loop().time() + 5)
    left_s = until_us / 1e6 - int(time[0])
    assert 3_600 + 60 <= left_s <= 3_600 + 60 + 65


async def test_a_batch_with_very_many_labels_is_stored(one: Caller) -> None:
    new = [
        NewEntry(f"k{number}", b"v", depends_on=tuple(f"d{label}" for label in range(64)))
        for number in range(200)
    ]
    stored = await one.engine.set_many(one.space, new, asyncio.get_running_loop().time() + 10)
    assert all(isinstance(one, SetResult) for one in stored)
    assert len(await one.dependents("d63")) == 200
