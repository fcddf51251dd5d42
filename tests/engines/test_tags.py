"""The tags of entries, and their index."""

import asyncio

import pytest
from pantler_server.core.errors import InvalidFields, NoTagIndex, WrongKind
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.model import Hit, Miss
from pantler_server.engines.cache.reading import Reader
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

from tests.engines.caller import STORED, Caller, fill_token_of, on, value


async def test_added_tags_stand_with_the_entry_and_leave_its_value(one: Caller) -> None:
    version = (await one.set("k", b"value", tags=("a",), content_type="text/plain")).version
    added = await one.add_tags("k", "b", "a", "c")
    assert (added.found, added.visible) == (True, True)
    found = await one.get("k")
    assert isinstance(found, Hit)
    assert (found.value, found.version, found.tags, found.content_type) == (
        b"value",
        version,
        ("a", "b", "c"),
        "text/plain",
    )
    assert await one.tags("k") == ("a", "b", "c")


async def test_an_entry_without_labels_takes_tags(one: Caller) -> None:
    await one.set("k", b"value")
    assert (await one.add_tags("k", "t")).visible
    assert value(await one.get("k")) == b"value"
    await one.invalidate_tags("t")
    assert value(await one.get("k")) is None


async def test_adding_keeps_the_dependencies_the_ttl_and_the_sliding(
    one: Caller, store: Store
) -> None:
    await one.set("k", ttl_ms=60_000, sliding=True, tags=("a",), depends_on=("parent", "other"))
    before = (await one.describe("k")).entry
    await one.add_tags("k", "b")
    await one.remove_tags("k", "a", "never")
    after = (await one.describe("k")).entry
    assert before is not None
    assert after is not None
    assert after.depends_on == before.depends_on == ("parent", "other")
    assert (after.expires_us, after.sliding, after.tags) == (before.expires_us, True, ("b",))
    assert 0 < await on(store, one, "entry", "k", "PTTL") <= 60_000
    await one.invalidate_keys("other", cascade=True)
    assert value(await one.get("k")) is None


async def test_a_tag_that_was_invalidated_since_the_fill_began_hides_the_entry(
    one: Caller, other: Caller
) -> None:
    await one.set("k")
    await other.invalidate_tags("t")
    added = await one.add_tags("k", "t")
    assert (added.found, added.visible) == (True, False)
    assert value(await other.get("k", accept_stale=True)) is None


async def test_a_fill_whose_tag_was_invalidated_before_it_landed_takes_none_later(
    one: Caller,
) -> None:
    """The fill began, the tag was invalidated, the fill landed without the tag, and gets it now."""
    missed = await one.get("k")
    assert isinstance(missed, Miss)
    await one.invalidate_tags("t")
    assert await one.fill("k", missed.fill_token) is STORED
    assert value(await one.get("k")) == b"fill"
    assert not (await one.add_tags("k", "t")).visible
    assert value(await one.get("k")) is None


async def test_a_touch_does_not_make_a_later_tag_younger(one: Caller) -> None:
    await one.set("k", tags=("a",))
    await one.invalidate_tags("t")
    assert await one.touch("k")
    assert not (await one.add_tags("k", "t")).visible


async def test_a_soft_mark_makes_it_stale(one: Caller) -> None:
    await one.set("k")
    await one.invalidate_tags("t", soft=True)
    added = await one.add_tags("k", "t")
    assert (added.found, added.visible) == (True, False)
    assert isinstance(await one.get("k", accept_stale=True), Hit)
    assert (await one.add_tags("k", "more")).found, "it is there for some"


async def test_what_is_not_there_or_hidden_takes_no_tags(one: Caller) -> None:
    assert not (await one.add_tags("never", "t")).found
    await one.set("k", tags=("t",))
    await one.invalidate_tags("t")
    assert not (await one.add_tags("k", "u")).found
    assert not await one.remove_tags("k", "t"), "or it would be back"
    assert await one.tags("k") is None
    assert value(await one.get("k")) is None


async def test_removing_a_tag_brings_nothing_stale_back(one: Caller) -> None:
    await one.set("k", tags=("t",))
    await one.invalidate_tags("t", soft=True)
    assert not await one.remove_tags("k", "t")
    assert value(await one.get("k")) is None


async def test_a_removed_tag_hides_no_more(one: Caller) -> None:
    await one.set("k", tags=("t", "u"))
    assert await one.remove_tags("k", "t")
    await one.invalidate_tags("t")
    assert value(await one.get("k")) == b"v"
    await one.invalidate_tags("u")
    assert value(await one.get("k")) is None


async def test_too_many_tags_are_refused_and_none_is_added(one: Caller) -> None:
    await one.set("k", tags=tuple(f"t{index}" for index in range(60)))
    with pytest.raises(InvalidFields, match="tags"):
        await one.add_tags("k", *(f"u{index}" for index in range(5)))
    assert len(await one.tags("k") or ()) == 60
    assert (await one.add_tags("k", *(f"u{index}" for index in range(4)), "t0")).visible


async def test_the_longest_labels_fit(one: Caller) -> None:
    long = tuple(f"{index:03}" + "é" * 126 for index in range(64))
    depends_on = tuple(f"{index:03}" + "k" * 509 for index in range(64))
    await one.set("k", b"value", tags=long[:63], depends_on=depends_on, content_type="c" * 255)
    await one.add_tags("k", long[63])
    assert await one.tags("k") == long
    await one.invalidate_tags("other")
    assert value(await one.get("k")) == b"value"
    await one.invalidate_tags(long[63])
    assert value(await one.get("k")) is None


async def test_foreign_data_takes_no_tags(one: Caller, store: Store) -> None:
    partition, place = keys.place(one.space, "k")
    foreign = Request(partition.slot, (pack("SET", place, "foreign"),), "k", repeatable=False)
    await store.call(foreign, asyncio.get_running_loop().time() + 5)
    for call in (one.add_tags("k", "t"), one.remove_tags("k", "t"), one.tags("k")):
        with pytest.raises(WrongKind):
            await call


async def test_the_keys_of_a_tag_are_listed(indexed: Caller) -> None:
    await indexed.set("a", tags=("t",))
    await indexed.set("b", tags=("t", "u"))
    await indexed.set("c", tags=("u",))
    await indexed.add_tags("c", "v")
    assert await indexed.tagged_keys("t") == {"a": False, "b": False}
    assert await indexed.tagged_keys("v") == {"c": False}
    assert await indexed.tagged_keys("nobody") == {}
    await indexed.remove_tags("b", "t")
    assert await indexed.tagged_keys("t") == {"a": False}


async def test_the_list_comes_in_pages(indexed: Caller) -> None:
    wanted = {f"k{index}" for index in range(70)}
    for key in wanted:
        await indexed.set(key, tags=("t",))
    for page_size in (1, 7, 69, 70, 71):
        assert set(await indexed.tagged_keys("t", page_size)) == wanted


async def test_pages_go_on_where_many_have_one_score(indexed: Caller, store: Store) -> None:
    partition = indexed.space.partitions[0]
    named = [f"k{index:03}" for index in range(2000)]
    named = [key for key in named if keys.place(indexed.space, key)[0] == partition][:60]
    index = keys.tag_index(partition, "t")
    for key in named:
        await indexed.set(key, tags=("t",))
    score = 9e15
    commands = [pack("ZADD", index, score, key) for key in named]
    request = Request(partition.slot, commands, "t", repeatable=False)
    await store.call(request, asyncio.get_running_loop().time() + 5)
    assert set(await indexed.tagged_keys("t", 3)) == set(named)


async def test_the_list_is_filtered_and_cleaned(indexed: Caller, store: Store) -> None:
    for key in ("stale", "deleted", "set anew", "invalidated", "expired", "stays"):
        await indexed.set(key, tags=("t", key), ttl_ms=1 if key == "expired" else None)
    await indexed.delete("deleted")
    await indexed.set("set anew", tags=("u",))
    await indexed.invalidate_tags("invalidated")
    await indexed.invalidate_tags("stale", soft=True)
    await asyncio.sleep(0.01)
    assert await indexed.tagged_keys("t") == {"stale": True, "stays": False}
    left = 0
    for partition in indexed.space.partitions:
        request = read(partition.slot, "t", ("ZCARD", keys.tag_index(partition, "t")))
        [count] = await store.call(request, asyncio.get_running_loop().time() + 5)
        left += count
    assert left == 2


async def test_touch_moves_an_entry_in_its_index(indexed: Caller, store: Store) -> None:
    await indexed.set("k", tags=("t",), ttl_ms=1_000)
    partition, _ = keys.place(indexed.space, "k")
    index = keys.tag_index(partition, "t")
    request = read(partition.slot, "t", ("ZSCORE", index, "k"), ("PTTL", index))

    async def until() -> tuple[float, int]:
        score, left_ms = await store.call(request, asyncio.get_running_loop().time() + 5)
        return score, left_ms

    before, left_ms = await until()
    assert 0 < left_ms <= 1_126, "an eighth longer, so that few calls move it"
    expires_us = await indexed.touch("k", 3_600_000)
    assert expires_us is not None
    after, left_ms = await until()
    assert after == expires_us > before
    assert 3_500_000 < left_ms <= 4_050_001


async def test_a_namespace_without_an_index_says_so(one: Caller) -> None:
    await one.set("k", tags=("t",))
    with pytest.raises(NoTagIndex):
        await one.tagged_keys("t")


async def test_a_wrong_page_token_is_refused(indexed: Caller) -> None:
    for token in ("garbage", "e30=", "MSAxIA", "é", "LTUgLWluZiA="):  # the last: partition -5
        deadline = asyncio.get_running_loop().time() + 5
        with pytest.raises(InvalidFields, match="page_token"):
            await indexed.engine.tags.list_keys(indexed.space, "t", 10, token, deadline)


async def test_the_token_of_a_fill_knows_nothing_of_tags(one: Caller) -> None:
    missed = await one.get("k")
    assert isinstance(missed, Miss)
    await one.invalidate_tags("t")
    result = await one.set("k", token=fill_token_of(missed.fill_token), tags=("t",))
    assert not result.visible
    result = await one.set("k", token=fill_token_of(missed.fill_token), tags=("u",))
    assert result.outcome is not STORED, "the key was set since"


async def test_marks_of_labels_are_asked_for_only_where_a_new_one_may_hide_the_entry(
    one: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.set("typed", content_type="text/plain")
    await one.set("touched", tags=("t",))
    await one.set("read", tags=("t",))
    await one.set("unread", tags=("t",))
    await one.invalidate_tags("other")
    await one.touch("touched")
    await one.set("new", tags=("t",))
    assert value(await one.get("read")) == b"v"
    with monkeypatch.context() as patched:
        patched.delattr(Reader, "_read_labels")
        for key in ("typed", "touched", "new", "read"):
            assert value(await one.get(key)) == b"v"
        with pytest.raises(AttributeError):
            await one.get("unread")
    await one.invalidate_tags("t")
    assert value(await one.get("read")) is None
    assert value(await one.get("read")) is None


async def test_a_tag_that_was_invalidated_hides_an_entry_that_gets_it_after_a_touch(
    one: Caller,
) -> None:
    await one.set("k", tags=("t",))
    await one.invalidate_tags("late")
    await one.touch("k")
    await one.add_tags("k", "late")
    assert value(await one.get("k")) is None
