"""Invalidation, and the races around it: what began before it is not given after it, however it
lands."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from pantler_server.core.errors import InvalidFields
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.entry import HEADER
from pantler_server.engines.cache.model import Condition, Hit, Miss, MissReason
from pantler_server.store.link import Reply
from pantler_server.store.request import Request, read
from pantler_server.store.store import Store

from tests.engines.caller import (
    CONDITION_NOT_MET,
    FILL_LOST,
    STORED,
    Caller,
    fill_token_of,
    granted,
    on,
    value,
)

Invalidate = Callable[[Caller], Awaitable[object]]


async def now_us(store: Store, caller: Caller) -> int:
    partition, _ = keys.place(caller.space, "k")
    request = read(partition.slot, "time", ("TIME",))
    [[seconds, microseconds]] = await store.call(request, asyncio.get_running_loop().time() + 5)
    return int(seconds) * 1_000_000 + int(microseconds)


async def _by_age(caller: Caller, *, soft: bool = False) -> None:
    await caller.invalidate_older_than(await now_us(caller.engine._store, caller), soft=soft)


HARD: dict[str, Invalidate] = {
    "key": lambda caller: caller.invalidate_keys("k"),
    "tag": lambda caller: caller.invalidate_tags("unrelated", "t"),
    "namespace": lambda caller: caller.invalidate_namespace(),
    "age": _by_age,
    "dependency": lambda caller: caller.invalidate_keys("parent", cascade=True),
    "pattern": lambda caller: caller.invalidate_pattern("[j-l]"),
}
SOFT: dict[str, Invalidate] = {
    "key": lambda caller: caller.invalidate_keys("k", soft=True),
    "tag": lambda caller: caller.invalidate_tags("unrelated", "t", soft=True),
    "namespace": lambda caller: caller.invalidate_namespace(soft=True),
    "age": lambda caller: _by_age(caller, soft=True),
    "dependency": lambda caller: caller.invalidate_keys("parent", soft=True, cascade=True),
}
LABELS: dict[str, Any] = {"tags": ("s", "t"), "depends_on": ("parent",)}
REASONS = {
    "key": MissReason.HIDDEN_BY_KEY,
    "tag": MissReason.HIDDEN_BY_TAG,
    "namespace": MissReason.HIDDEN_BY_NAMESPACE,
    "age": MissReason.HIDDEN_BY_AGE,
    "dependency": MissReason.HIDDEN_BY_DEPENDENCY,
    "pattern": MissReason.UNKNOWN,
}
REFUSED = {"key", "pattern"}  # fills that began before are refused; the others are hidden


async def began(caller: Caller) -> str:
    """The token of a fill that begins now."""
    found = await caller.get("k")
    assert isinstance(found, Miss)
    return found.fill_token


@pytest.mark.parametrize("by", HARD)
async def test_what_was_there_is_gone_for_every_worker(by: str, one: Caller, other: Caller) -> None:
    await one.set("k", **LABELS)
    assert value(await other.get("k")) == b"v"
    await HARD[by](one)
    for caller in (one, other):
        assert isinstance(await caller.get("k", accept_stale=True), Miss)
        [found] = await caller.engine.get_many(caller.space, ["k"], _soon(), accept_stale=True)
        assert isinstance(found, Miss)
    assert await one.touch("k") is None
    assert await one.set("k", b"again", **LABELS)
    assert value(await other.get("k")) == b"again"


@pytest.mark.parametrize("by", HARD)
async def test_a_fill_that_began_before_is_not_given(by: str, one: Caller, other: Caller) -> None:
    await one.set("elsewhere")  # a partition that has its marks
    token = await began(other)
    await HARD[by](one)
    result = await other.fill("k", token, **LABELS)
    assert result is (FILL_LOST if by in REFUSED else STORED)
    assert isinstance(await one.get("k", accept_stale=True), Miss)


@pytest.mark.parametrize("by", HARD)
async def test_a_leased_fill_that_began_before_is_not_given(
    by: str, one: Caller, other: Caller
) -> None:
    token = granted(await other.ask("k"))
    await HARD[by](one)
    result = await other.fill("k", token, **LABELS)
    assert result is (FILL_LOST if by in REFUSED else STORED)
    assert isinstance(await one.get("k", accept_stale=True), Miss)
    assert granted(await one.ask("k")), "the next may fetch"


@pytest.mark.parametrize("by", HARD)
async def test_a_fill_that_lands_before_is_hidden_like_any_entry(
    by: str, one: Caller, other: Caller
) -> None:
    assert await other.fill("k", await began(other), **LABELS) is STORED
    await HARD[by](one)
    assert isinstance(await other.get("k", accept_stale=True), Miss)


@pytest.mark.parametrize("by", HARD)
async def test_a_fill_that_begins_after_is_given(by: str, one: Caller, other: Caller) -> None:
    await one.set("k", **LABELS)
    await HARD[by](one)
    token = await began(other)
    assert await other.fill("k", token, **LABELS) is STORED
    assert value(await one.get("k")) == b"fill"


@pytest.mark.parametrize("by", sorted(HARD.keys() - REFUSED))
async def test_set_says_whether_its_fill_is_visible(by: str, one: Caller) -> None:
    before = await began(one)
    await HARD[by](one)
    hidden = await one.set("k", token=fill_token_of(before), request_id="r", **LABELS)
    assert (hidden.outcome, hidden.visible) == (STORED, False)
    again = await one.set("k", token=fill_token_of(before), request_id="r", **LABELS)
    assert again == hidden
    after = await began(one)
    assert (await one.set("k", token=fill_token_of(after), **LABELS)).visible
    assert (await one.set("k", **LABELS)).visible


@pytest.mark.parametrize("by", SOFT)
async def test_soft_makes_stale_and_one_is_sent_to_refresh(
    by: str, one: Caller, other: Caller
) -> None:
    version = (await one.set("k", **LABELS)).version
    await SOFT[by](one)
    missed = await other.get("k")
    assert isinstance(missed, Miss)
    assert missed.reason is REASONS[by]
    stale = await other.ask("k", accept_stale=True)
    assert isinstance(stale, Hit)
    assert (stale.stale, stale.version) == (True, version)
    assert isinstance(second := await one.ask("k", accept_stale=True), Hit)
    assert second.lease is None
    assert await one.touch("k") is None, "what is stale is not brought back"
    assert await other.fill("k", granted(stale), **LABELS) is STORED
    assert value(await one.get("k")) == b"fill"


@pytest.mark.parametrize("by", sorted(SOFT.keys() - REFUSED))
async def test_a_fill_that_began_before_a_soft_one_is_stale(by: str, one: Caller) -> None:
    token = await began(one)
    await SOFT[by](one)
    result = await one.set("k", token=fill_token_of(token), **LABELS)
    assert (result.outcome, result.visible) == (STORED, False)
    found = await one.get("k", accept_stale=True)
    assert isinstance(found, Hit)
    assert found.stale


async def test_a_fill_that_began_before_a_soft_invalidation_of_its_key_is_refused(
    one: Caller,
) -> None:
    token = await began(one)
    await SOFT["key"](one)
    assert await one.fill("k", token) is FILL_LOST


@pytest.mark.parametrize("by", [*HARD, *(f"soft {by}" for by in SOFT)])
async def test_conditions_judge_as_a_get_does(by: str, one: Caller) -> None:
    invalidate = SOFT[by[5:]] if by.startswith("soft ") else HARD[by]
    version = (await one.set("k", **LABELS)).version
    await invalidate(one)
    assert (await one.set("k", condition=Condition.PRESENT)).outcome is CONDITION_NOT_MET
    assert (await one.set("k", condition=version)).outcome is CONDITION_NOT_MET
    assert not await one.delete("k", version)
    assert (await one.set("k", condition=Condition.ABSENT)).outcome is STORED


@pytest.mark.parametrize("by", sorted(HARD.keys() - REFUSED))
async def test_describe_names_what_hides_and_when(by: str, one: Caller, store: Store) -> None:
    await one.set("k", **LABELS)
    await HARD[by](one)
    described = await one.describe("k")
    assert (described.found, described.stale) == (False, False)
    assert described.miss_reason is REASONS[by]
    assert described.cause == {"tag": "t", "dependency": "parent"}.get(by, "")
    assert abs(described.missed_us - await now_us(store, one)) < 1_000_000


@pytest.mark.parametrize("by", SOFT)
async def test_describe_names_what_made_it_stale(by: str, one: Caller, store: Store) -> None:
    await one.set("k", **LABELS)
    await SOFT[by](one)
    described = await one.describe("k")
    assert (described.found, described.stale) == (False, True)
    assert described.miss_reason is REASONS[by]
    assert described.cause == {"tag": "t", "dependency": "parent"}.get(by, "")
    assert abs(described.missed_us - await now_us(store, one)) < 1_000_000


async def test_an_invalidated_key_is_told_from_a_deleted_one(one: Caller) -> None:
    await one.set("k")
    await one.invalidate_keys("k", "never")
    for key in ("k", "never"):
        assert (await one.describe(key)).miss_reason is MissReason.HIDDEN_BY_KEY
    await one.delete("k")
    assert (await one.describe("k")).miss_reason is MissReason.DELETED


async def test_only_what_is_named_is_hidden(one: Caller) -> None:
    await one.set("k", tags=("s",), depends_on=("other",))
    await one.invalidate_tags("t", "S", "parent")
    await one.invalidate_tags("other", soft=True)
    await one.invalidate_keys("parent", "s", cascade=True)
    await one.invalidate_keys("other")  # without the cascade
    await one.invalidate_pattern("[^k]*")
    assert value(await one.get("k")) == b"v"


async def test_the_version_of_a_namespace_grows(one: Caller) -> None:
    engine = one.engine.invalidation
    assert await engine.versions([one.space.name], _soon()) == [0]
    first = await one.invalidate_namespace()
    second = await one.invalidate_namespace(soft=True)
    assert 0 < first < second
    assert await engine.versions([one.space.name, "nobody"], _soon()) == [second, 0]


async def test_an_age_spares_what_is_younger(one: Caller, store: Store) -> None:
    await one.set("old")
    between = await now_us(store, one)
    await one.set("young")
    await one.invalidate_older_than(between)
    assert value(await one.get("old")) is None
    assert value(await one.get("young")) == b"v"
    await one.invalidate_older_than(between - 3_600_000_000)  # covers less, and brings nothing back
    assert value(await one.get("old")) is None


async def test_the_fills_beginning_decides_on_its_age(one: Caller, store: Store) -> None:
    token = await began(one)
    between = await now_us(store, one)
    assert await one.fill("k", token) is STORED
    await one.invalidate_older_than(between)
    assert value(await one.get("k")) is None


async def test_an_age_in_the_future_is_refused_and_nothing_done(one: Caller, store: Store) -> None:
    await one.set("k")
    with pytest.raises(InvalidFields, match="created_before"):
        await one.invalidate_older_than(await now_us(store, one) + 5_000_000)
    assert value(await one.get("k")) == b"v"


async def test_an_unknown_tag_is_a_success(one: Caller) -> None:
    await one.invalidate_tags("nobody has it")
    await one.set("k", tags=("nobody has it",))
    assert value(await one.get("k")) == b"v"


async def test_lost_marks_hide_everything(one: Caller, store: Store) -> None:
    await one.invalidate_tags("t")
    await one.set("k", tags=("t",))
    token = await began_elsewhere(one)
    await on(store, one, "marks", "k", "DEL")
    assert value(await one.get("k")) is None
    await one.set("elsewhere")  # the marks are made anew
    assert value(await one.get("k")) is None
    assert (await one.describe("k")).miss_reason is MissReason.HIDDEN_BY_NAMESPACE
    assert await one.fill("missing", token) is not STORED or len(one.space.partitions) > 1


async def test_lost_marks_of_labels_hide_what_has_labels(one: Caller, store: Store) -> None:
    await one.set("k", tags=("t",))
    token = await began_elsewhere(one)
    await one.set("plain")
    await one.invalidate_tags("other")
    await on(store, one, "labels", "k", "DEL")
    assert value(await one.get("k")) is None
    assert await one.touch("k") is None
    await one.invalidate_tags("another")  # they are made anew
    assert value(await one.get("k")) is None
    assert value(await one.get("plain")) == b"v"
    assert await one.fill("missing", token, tags=("t",)) is STORED
    if len(one.space.partitions) == 1:
        assert value(await one.get("missing")) is None
    await one.set("k", tags=("t",))
    assert value(await one.get("k")) == b"v"


async def test_marks_of_a_lost_generation_hide_nothing(whole: Caller, store: Store) -> None:
    await whole.invalidate_tags("t")
    await on(store, whole, "marks", "k", "DEL")
    await whole.set("k", tags=("t",))
    await whole.invalidate_tags("other")
    assert value(await whole.get("k")) == b"v"
    assert await on(store, whole, "labels", "k", "ZCARD") == 2  # the floor, and the new one


async def test_marks_never_expire_and_are_no_prey_of_eviction(one: Caller, store: Store) -> None:
    await one.invalidate_tags("t")
    await one.invalidate_namespace()
    assert await on(store, one, "labels", "k", "PTTL") == -1
    assert await on(store, one, "marks", "k", "PTTL") == -1


async def test_marks_that_no_entry_is_as_old_as_are_forgotten(whole: Caller, store: Store) -> None:
    """As they would be after `max_ttl`: their scores are set back by hand."""
    await whole.set("k", tags=("t",))
    await whole.invalidate_tags("t", "u")
    await on(store, whole, "labels", "k", "ZADD", 1_000, b"Tu")
    await whole.invalidate_tags("v")
    members = await on(store, whole, "labels", "k", "ZRANGE", 0, -1)
    assert members == [b"", b"Tt", b"Tv"]
    assert await on(store, whole, "labels", "k", "ZSCORE", b"") == 1_000
    assert value(await whole.get("k")) is None


async def test_marks_forgotten_too_early_hide_what_they_may_have_covered(
    whole: Caller, store: Store
) -> None:
    """As a worker does whose configuration has a shorter `max_ttl`, or too many marks."""
    await whole.set("covered", tags=("t",))
    await whole.set("touched", tags=("s",))
    await whole.set("plain")
    await whole.invalidate_tags("t")
    assert await whole.touch("touched")
    [(_, _), (_, seq)] = await on(store, whole, "labels", "k", "ZRANGE", 0, -1, "WITHSCORES")
    await on(store, whole, "labels", "k", "ZREM", b"Tt")
    await on(store, whole, "labels", "k", "ZADD", seq, b"")
    assert value(await whole.get("covered")) is None
    assert value(await whole.get("plain")) == b"v"
    assert value(await whole.get("touched")) == b"v", "nothing covered it when it was touched"
    added = await whole.add_tags("touched", "t")
    assert (added.found, added.visible) == (True, False), "as if it had had the tag all along"
    assert value(await whole.get("touched")) is None


async def test_the_marks_of_labels_keep_to_their_bound(whole: Caller, store: Store) -> None:
    await whole.set("k", tags=("first",))
    await whole.invalidate_tags("first")
    for first in range(0, 11_000, 1000):
        await whole.invalidate_tags(*(f"t{first + one}" for one in range(1000)))
    assert await on(store, whole, "labels", "k", "ZCARD") == 10_001
    assert await on(store, whole, "labels", "k", "ZSCORE", b"Tfirst") is None
    assert value(await whole.get("k")) is None
    await whole.set("k", tags=("first",))
    assert value(await whole.get("k")) == b"v"


async def test_a_hard_mark_takes_the_soft_ones_place(whole: Caller, store: Store) -> None:
    await whole.invalidate_tags("t", soft=True)
    await whole.invalidate_tags("t")
    assert await on(store, whole, "labels", "k", "ZRANGE", 0, -1) == [b"", b"Tt"]
    await whole.set("k", tags=("t",))
    await whole.invalidate_tags("t", soft=True)
    assert isinstance(await whole.get("k", accept_stale=True), Hit)


async def test_a_sliding_entry_that_is_hidden_stays_hidden(sliding: Caller) -> None:
    await sliding.set("k", ttl_ms=600, tags=("t",))
    await asyncio.sleep(0.1)  # a read would give it its ttl again
    await sliding.invalidate_tags("t", soft=True)
    described = (await sliding.describe("k")).entry
    assert isinstance(await sliding.get("k", accept_stale=True), Hit)
    after = (await sliding.describe("k")).entry
    assert described is not None
    assert after is not None
    assert described.expires_us == after.expires_us


async def test_untagged_reads_ask_once_and_tagged_ones_twice(
    one: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.set("plain")
    await one.set("tagged", tags=tuple(f"t{index}" for index in range(64)))
    asked: list[int] = []
    call_each, call = store.call_each, store.call

    def noted(request: Request, *args: Any, **more: Any) -> Awaitable[list[Reply]]:
        asked.append(1)
        return call(request, *args, **more)

    def noted_each(requests: Sequence[Request], *args: Any, **more: Any) -> Awaitable[Any]:
        if len(requests) > 1:  # else it asks as for one
            asked.append(len(requests))
        return call_each(requests, *args, **more)

    monkeypatch.setattr(store, "call", noted)
    monkeypatch.setattr(store, "call_each", noted_each)
    await one.get("plain")
    await one.get("tagged")
    assert asked == [1, 1], "no label was invalidated since"
    asked.clear()
    await one.invalidate_tags("other")
    asked.clear()
    await one.get("plain")
    assert asked == [1]
    await one.get("tagged")
    assert asked == [1, 1, 1]
    asked.clear()
    wanted = ["tagged", "plain", *(f"k{index}" for index in range(100))]
    await one.engine.get_many(one.space, wanted, _soon())
    assert len(asked) == 2
    assert asked[1] == 1, "the one partition that has labels"


async def test_the_header_keeps_its_began(one: Caller, store: Store) -> None:
    """What a fill's token says is what marks are compared with."""
    token = await began(one)
    await one.invalidate_namespace()
    await one.fill("k", token)
    raw = await on(store, one, "entry", "k", "GET")
    assert HEADER.unpack_from(raw)[4] == fill_token_of(token).seq


async def began_elsewhere(caller: Caller) -> str:
    found = await caller.get("missing")
    assert isinstance(found, Miss)
    return found.fill_token


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


async def test_a_place_that_holds_something_else_is_passed_over(one: Caller, store: Store) -> None:
    await on(store, one, "entry", "foreign", "RPUSH", "x")
    await one.set("k", depends_on=("parent",))
    await one.set("parent")
    reached = await one.invalidate_keys("foreign", "parent", cascade=True)
    assert reached == ["foreign", "parent", "k"]
    assert value(await one.get("k")) is None
    assert await on(store, one, "entry", "foreign", "LLEN") == 1
