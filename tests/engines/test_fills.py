"""Fill tokens, conditions and request ids: which Set lands, and which must not."""

import asyncio
import time
from typing import Any

import pytest
from pantler_server.core.errors import InvalidFields
from pantler_server.engines.cache import fill_token, keys
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.model import Condition, Hit, Miss, MissReason, contradicts
from pantler_server.store.request import read
from pantler_server.store.store import Store

from tests.engines.caller import CONDITION_NOT_MET, FILL_LOST, STORED, Caller, granted, on, value

MAX_TOMBSTONES = 10_000


async def token_of(caller: Caller, key: str) -> str:
    found = await caller.get(key, accept_stale=True)
    assert found.fill_token
    return found.fill_token


def older(token: str, **changes: object) -> str:
    """A token as it would have been at another time, or on another primary."""
    read = fill_token.read(token)
    assert read is not None
    return read._replace(**changes).write()  # type: ignore[arg-type]


async def test_a_fill_after_a_miss_is_stored_with_the_time_of_its_beginning(one: Caller) -> None:
    token = await token_of(one, "k")
    began = fill_token.read(token)
    assert began is not None
    await asyncio.sleep(0.02)
    assert await one.fill("k", token) is STORED
    found = await one.get("k")
    assert isinstance(found, Hit)
    assert found.created_us == began.issued_us
    assert found.expires_us - found.created_us > 3_600_000_000 + 20_000


async def test_a_fill_before_a_delete_is_deleted(one: Caller, other: Caller) -> None:
    assert await one.fill("k", await token_of(one, "k")) is STORED
    assert await other.delete("k") is True
    assert isinstance(await one.get("k"), Miss)


async def test_a_fill_during_which_the_key_was_deleted_is_refused(
    one: Caller, other: Caller
) -> None:
    await one.set("there")
    for key, there in (("there", True), ("nothing", False)):
        await other.delete(key)
        token = await token_of(one, key)
        assert await other.delete(key) is False, "it needs no entry to end a fill"
        assert await one.fill(key, token) is FILL_LOST, there
        assert isinstance(await one.get(key), Miss)


async def test_a_fill_that_began_after_a_delete_is_stored(one: Caller, other: Caller) -> None:
    await one.set("k")
    await other.delete("k")
    assert await one.fill("k", await token_of(one, "k")) is STORED


async def test_a_deleted_neighbour_ends_no_fill(one: Caller, other: Caller) -> None:
    token = await token_of(one, "k")
    await other.delete("neighbour")
    await other.set("another", ttl_ms=50)
    assert await one.fill("k", token) is STORED


async def test_of_two_fills_that_began_together_the_first_is_stored(
    one: Caller, other: Caller
) -> None:
    first, second = await token_of(one, "k"), await token_of(other, "k")
    assert await one.fill("k", first, b"first") is STORED
    assert await other.fill("k", second, b"second") is FILL_LOST
    assert value(await one.get("k")) == b"first"


async def test_a_fill_never_lands_on_a_newer_set(one: Caller, other: Caller) -> None:
    token = await token_of(one, "k")
    await other.set("k", b"newer")
    assert await one.fill("k", token) is FILL_LOST
    assert value(await one.get("k")) == b"newer"


async def test_a_fill_is_refused_even_when_the_newer_set_has_expired(
    one: Caller, other: Caller
) -> None:
    token = await token_of(one, "k")
    await other.set("k", b"newer", ttl_ms=20)
    await asyncio.sleep(0.05)
    assert isinstance(await one.get("k"), Miss)
    assert await one.fill("k", token) is FILL_LOST


async def test_a_fill_is_refused_even_when_a_touch_let_the_newer_set_expire(
    one: Caller, other: Caller
) -> None:
    token = await token_of(one, "k")
    await other.set("k", b"newer")
    await other.touch("k", 20)
    await asyncio.sleep(0.05)
    assert isinstance(await one.get("k"), Miss)
    assert await one.fill("k", token) is FILL_LOST


async def test_a_fill_over_a_stale_entry_replaces_it_once(graced: Caller) -> None:
    await graced.set("k", b"old", ttl_ms=10)
    await asyncio.sleep(0.03)
    first, second = await token_of(graced, "k"), await token_of(graced, "k")
    assert await graced.fill("k", first, b"new") is STORED
    assert await graced.fill("k", second, b"late") is FILL_LOST
    assert value(await graced.get("k")) == b"new"


async def test_a_fill_whose_stale_entry_has_gone_meanwhile_is_stored(
    graced: Caller, store: Store
) -> None:
    await graced.set("k", b"old", ttl_ms=10)
    await asyncio.sleep(0.03)
    token = await token_of(graced, "k")
    await on(store, graced, "entry", "k", "DEL")  # as the end of its grace does
    assert await graced.fill("k", token) is STORED


async def test_a_token_older_than_a_minute_is_refused(one: Caller) -> None:
    token = await token_of(one, "k")
    read = fill_token.read(token)
    assert read is not None
    assert await one.fill("k", older(token, issued_us=read.issued_us - 61_000_000)) is FILL_LOST
    assert await one.fill("k", older(token, issued_us=read.issued_us + 61_000_000)) is FILL_LOST
    assert await one.fill("k", older(token, issued_us=read.issued_us - 50_000_000)) is STORED


async def test_a_token_of_another_primary_is_refused(one: Caller) -> None:
    token = await token_of(one, "k")
    assert await one.fill("k", older(token, primary=b"another!")) is FILL_LOST
    assert isinstance(await one.get("k"), Miss)


async def test_a_fill_that_began_before_the_marks_were_lost_is_refused(
    one: Caller, store: Store
) -> None:
    await one.set("k")
    await one.delete("k")
    token = await token_of(one, "k")
    await on(store, one, "marks", "k", "DEL")
    assert await one.fill("k", token) is FILL_LOST
    assert await one.fill("k", await token_of(one, "k")) is STORED


async def test_lost_tombstones_end_every_fill_that_they_may_have_known_of(
    one: Caller, store: Store
) -> None:
    before = await token_of(one, "k")
    await one.delete("k")
    after = await token_of(one, "k")
    await on(store, one, "tombstones", "k", "DEL")
    assert await one.fill("k", before) is FILL_LOST
    assert await one.fill("k", after) is STORED


async def test_tombstones_never_expire(one: Caller, store: Store) -> None:
    await one.delete("k")
    assert await on(store, one, "tombstones", "k", "PTTL") == -1


async def test_old_tombstones_are_trimmed_into_the_floor(whole: Caller, store: Store) -> None:
    await whole.delete("k")
    [[_, now]] = await on(store, whole, "tombstones", "k", "ZRANGE", 1, 1, "WITHSCORES")
    for index in range(500):
        score = now - 100_000_000 + index
        await on(store, whole, "tombstones", "k", "ZADD", score, f"dold{index}")
    token = older(await token_of(whole, "old499"), seq=int(now) - 100_000_000 + 499)
    assert await whole.fill("old499", older(token, seq=int(now) - 100_000_000 + 498)) is FILL_LOST
    for _ in range(8):  # one delete in 64 trims
        deadline = asyncio.get_running_loop().time() + 5
        await whole.engine.delete_many(whole.space, ["k"] * 200, deadline)
    assert await on(store, whole, "tombstones", "k", "ZCARD") < 10
    began_before = older(token, seq=int(now) - 100_000_000 + 498)
    assert await whole.fill("old499", began_before) is FILL_LOST, "the floor remembers"
    assert await whole.fill("old499", await token_of(whole, "old499")) is STORED


async def test_tombstones_past_their_bound_collapse_into_the_floor(
    whole: Caller, store: Store
) -> None:
    early = await token_of(whole, "elsewhere")
    doomed = [f"k{index}" for index in range(MAX_TOMBSTONES + 2_000)]
    for first in range(0, len(doomed), 1000):
        await whole.engine.delete_many(
            whole.space, doomed[first : first + 1000], asyncio.get_running_loop().time() + 5
        )
    assert MAX_TOMBSTONES < await on(store, whole, "tombstones", "k0", "ZCARD") < 11_500
    assert await whole.fill("elsewhere", early) is FILL_LOST, "it began before the floor"
    assert await whole.fill("elsewhere", await token_of(whole, "elsewhere")) is STORED


async def test_if_absent_lets_one_of_many_in(one: Caller, other: Caller) -> None:
    results = await asyncio.gather(
        *(
            caller.set("k", str(index).encode(), condition=Condition.ABSENT)
            for index in range(50)
            for caller in (one, other)
        )
    )
    assert sorted(result.outcome.name for result in results) == [
        *(["CONDITION_NOT_MET"] * 99),
        "STORED",
    ]
    assert all((result.version == 0) == (result.outcome is not STORED) for result in results)


async def test_an_expired_entry_counts_as_absent(graced: Caller) -> None:
    await graced.set("k", ttl_ms=10)
    version = (await graced.describe("k")).entry
    assert version is not None
    await asyncio.sleep(0.03)
    for condition in (Condition.PRESENT, version.version):
        assert (await graced.set("k", condition=condition)).outcome is CONDITION_NOT_MET
    assert await graced.delete("k", version.version) is False
    assert (await graced.set("k", condition=Condition.ABSENT)).outcome is STORED


async def test_if_present_needs_an_entry(one: Caller) -> None:
    assert (await one.set("k", condition=Condition.PRESENT)).outcome is CONDITION_NOT_MET
    assert isinstance(await one.get("k"), Miss)
    await one.set("k")
    assert (await one.set("k", b"2", condition=Condition.PRESENT)).outcome is STORED


async def test_compare_and_set_loses_no_update(one: Caller, other: Caller) -> None:
    await one.set("count", b"0")

    async def add(caller: Caller) -> None:
        while True:
            found = await caller.get("count")
            assert isinstance(found, Hit)
            raised = str(int(found.value) + 1).encode()
            if (await caller.set("count", raised, condition=found.version)).outcome is STORED:
                return

    await asyncio.gather(*(add(caller) for _ in range(10) for caller in (one, other)))
    assert value(await one.get("count")) == b"20"


async def test_delete_if_version_spares_another_version(one: Caller, other: Caller) -> None:
    old = (await one.set("k")).version
    new = (await other.set("k", b"new")).version
    token = (await one.get("elsewhere")).fill_token
    assert await one.delete("k", old) is False
    assert value(await one.get("k")) == b"new"
    assert await one.delete("k", new) is True
    assert isinstance(await one.get("k"), Miss)
    assert await one.fill("elsewhere", token) is STORED


async def test_a_condition_that_fails_changes_nothing(one: Caller, store: Store) -> None:
    await one.set("k", ttl_ms=5_000)
    lease = granted(await one.ask("elsewhere"))
    assert (await one.set("k", b"2", condition=Condition.ABSENT)).outcome is CONDITION_NOT_MET
    assert (await one.set("elsewhere", condition=Condition.PRESENT)).outcome is CONDITION_NOT_MET
    assert await on(store, one, "entry", "k", "PTTL") <= 5_000
    assert await one.fill("elsewhere", lease) is STORED


async def test_a_repeated_request_gets_the_first_answer_and_changes_nothing(
    one: Caller, other: Caller
) -> None:
    said: dict[str, Any] = {"condition": Condition.ABSENT, "request_id": "r1"}
    first = await one.set("k", **said)
    assert await other.set("k", **said) == first
    await one.delete("k")
    assert await other.set("k", **said) == first
    assert isinstance(await one.get("k"), Miss)

    await one.set("there")
    failed = await one.set("there", b"2", condition=Condition.ABSENT, request_id="r2")
    await one.delete("there")
    again = await other.set("there", b"2", condition=Condition.ABSENT, request_id="r2")
    assert again == failed
    assert again.outcome is CONDITION_NOT_MET


async def test_a_request_id_with_another_request_is_refused(one: Caller) -> None:
    await one.set("k", request_id="r1")
    for said in ({"value": b"other"}, {"ttl_ms": 5}, {"tags": ("t",)}, {"sliding": True}):
        with pytest.raises(InvalidFields) as refused:
            await one.set("k", request_id="r1", **said)
        assert [violation.path for violation in refused.value.violations] == ["request_id"]
    assert value(await one.get("k")) == b"v"


async def test_a_request_id_is_of_its_key(one: Caller) -> None:
    for key in ("a", "b"):
        assert (await one.set(key, key.encode(), request_id="r1")).outcome is STORED
        assert value(await one.get(key)) == key.encode()


async def test_a_long_key_is_remembered_as_well_as_a_short_one(one: Caller, store: Store) -> None:
    key = "é" * 256
    token = await token_of(one, key)
    await one.delete(key)
    assert await one.fill(key, token) is FILL_LOST
    assert (await one.describe(key)).miss_reason is MissReason.DELETED
    names = await on(store, one, "tombstones", key, "ZRANGE", 0, -1)
    assert max(map(len, names)) <= 33


async def test_what_deletes_left_is_swept_when_it_is_old(whole: Caller, store: Store) -> None:
    await whole.delete("k")
    await on(store, whole, "tombstones", "k", "DEL")
    now = int(time.time() * 1_000_000)
    members: list[int | str] = [0, "", now, "dyoung"]
    for index in range(600):
        members += [now - 100_000_000 + index, f"dold{index}"]
    await on(store, whole, "tombstones", "k", "ZADD", *members)
    await whole.engine._sweeper.sweep()
    assert await on(store, whole, "tombstones", "k", "ZRANGE", 0, -1) == [b"", b"dyoung"]
    floor = await on(store, whole, "tombstones", "k", "ZSCORE", "")
    assert floor == now - 100_000_000 + 599
    assert whole.space.name in whole.engine._sweeper._noted, "for the young one"


async def test_a_repeated_fill_gets_its_first_answer_whatever_the_primary(
    one: Caller, other: Caller
) -> None:
    token = granted(await one.ask("k"))
    read = fill_token.read(token)
    first = await one.set("k", token=read, request_id="r1")
    assert first.outcome is STORED
    assert await other.set("k", token=read, request_id="r1") == first
    # The record reached the new primary, and with it the answer; an unknown id is told the truth.
    assert read is not None
    foreign = read._replace(primary=b"another!")
    assert (await one.set("k", token=foreign, request_id="r2")).outcome is FILL_LOST


async def test_records_of_requests_expire_after_ten_minutes(one: Caller, store: Store) -> None:
    await one.set("k", request_id="r1")
    partition, place = keys.place(one.space, "k")
    request = read(partition.slot, "k", ("PTTL", keys.answered(partition, place, "r1")))
    [left_ms] = await store.call(request, asyncio.get_running_loop().time() + 5)
    assert 590_000 < left_ms <= 600_000


async def test_a_missing_key_that_was_deleted_is_described_so(one: Caller) -> None:
    assert (await one.describe("k")).miss_reason is MissReason.UNKNOWN
    await one.delete("k")
    assert (await one.describe("k")).miss_reason is MissReason.DELETED


@pytest.mark.parametrize(
    ("condition", "was_fresh", "refused"),
    [
        (None, True, False),
        (Condition.ABSENT, False, False),
        (Condition.ABSENT, True, True),
        (Condition.PRESENT, False, True),
        (Condition.PRESENT, True, False),
        (7, True, False),
        (7, False, True),
        (8, True, True),
    ],
)
def test_a_condition_that_the_token_rules_out_is_known(
    condition: Condition | int | None, was_fresh: bool, refused: bool
) -> None:
    token = FillToken(b"p" * 8, b"g" * 8, 1, 2, 7, b"l" * 8, was_fresh, b"{n:0}e:k")
    assert contradicts(condition, token) is refused


async def test_a_request_id_and_a_key_are_not_mistaken_for_others(one: Caller) -> None:
    assert (await one.set("c", b"1", request_id="a:b")).outcome is STORED
    assert (await one.set("b:c", b"2", request_id="a")).outcome is STORED
    assert value(await one.get("b:c")) == b"2"


async def test_a_fill_that_began_before_marks_were_lost_is_refused(
    one: Caller, store: Store
) -> None:
    """Also where there were none when it began: else what happened to its key until then would be
    forgotten."""
    missed = await one.get("k")
    await one.invalidate_keys("k")
    await on(store, one, "marks", "k", "DEL")
    await one.invalidate_keys("k2")
    assert await one.fill("k", missed.fill_token) is FILL_LOST
    [again] = await one.engine.get_many(one.space, ["k"], _soon())
    assert isinstance(again, Miss)
    assert await one.fill("k", again.fill_token) is STORED


async def test_a_batch_gives_a_namespace_its_marks(one: Caller) -> None:
    wanted = [f"k{number}" for number in range(200)]
    for found in await one.engine.get_many(one.space, wanted, _soon()):
        assert isinstance(found, Miss)
        assert fill_token.read(found.fill_token).generation != fill_token.NONE  # type: ignore[union-attr]


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5
