"""Counters and uniques as workers have them, on every topology."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pantler_server.core.errors import InvalidFields, OutcomeUnknown, WrongKind
from pantler_server.core.keyspace import answer, hash_tag
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.counter import keys
from pantler_server.engines.counter.engine import CounterEngine
from pantler_server.engines.counter.model import MAX_VALUE, Increment, Incremented
from pantler_server.engines.geo.engine import GeoEngine
from pantler_server.engines.geo.model import Point
from pantler_server.store import answers
from pantler_server.store.request import read
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline

HOUR_MS = 3_600_000


def adding(delta: int = 1, **other: Any) -> Increment:
    said: dict[str, Any] = {
        "floor": -MAX_VALUE,
        "ceiling": MAX_VALUE,
        "ttl_ms": 0,
        "request_id": "",
        **other,
    }
    return Increment(delta, **said)


def lived_for(space: Namespace, **ttl: float) -> Namespace:
    """The namespace, with a `counter_ttl`."""
    config = space.config.model_copy(update={"counter_ttl": timedelta(**ttl)})
    return replace(space, config=config)


async def ask(store: Store, place: bytes, *words: str | bytes) -> Any:
    """The reply to a command whose key is `place`, which stands after its name."""
    name, *rest = words
    loop = asyncio.get_running_loop()
    request = read(store.slot_of(place), "", (name, place, *rest))
    [reply] = await store.call(request, loop.time() + 5)
    return reply


async def pttl(store: Store, place: bytes) -> int:
    """-1 without an expiry, -2 if nothing is there."""
    return int(await ask(store, place, "PTTL"))


def about(left_ms: int, ttl_ms: int) -> bool:
    return ttl_ms - 5000 < left_ms <= ttl_ms


async def test_a_counter_begins_at_0_and_adds_up(
    counters: CounterEngine, space: Namespace, deadline: Deadline
) -> None:
    for delta, value in ((1, 1), (41, 42), (-50, -8), (0, -8)):
        came_to = await counters.increment(space, "c", adding(delta), deadline())
        assert came_to == Incremented(value, applied=True, expires_ms=0)
    assert await counters.get(space, ["nobody", "c", "c"], deadline()) == [None, -8, -8]


async def test_workers_together_stay_within_the_bounds(
    counters: CounterEngine, other_counters: CounterEngine, space: Namespace, deadline: Deadline
) -> None:
    taken = 0

    async def caller(worker: CounterEngine, seed: int) -> None:
        nonlocal taken
        draw = random.Random(seed)
        for _ in range(20):
            delta = draw.randint(-3, 6)
            wanted = adding(delta, floor=-5, ceiling=100)
            came_to = await worker.increment(space, "stock", wanted, deadline())
            assert -5 <= came_to.value <= 100
            taken += delta * came_to.applied

    await asyncio.gather(
        *(caller(one, seed) for seed in range(10) for one in (counters, other_counters))
    )
    assert await counters.get(space, ["stock"], deadline()) == [taken]


async def test_what_would_leave_the_bounds_changes_nothing(
    counters: CounterEngine, space: Namespace, store: Store, deadline: Deadline
) -> None:
    _, place = keys.place(space, "c")
    for wanted in (adding(6, ceiling=5), adding(-6, floor=-5), adding(1, floor=2)):
        wanted = replace(wanted, ttl_ms=HOUR_MS)
        came_to = await counters.increment(space, "c", wanted, deadline())
        assert came_to == Incremented(0, applied=False, expires_ms=0)
        assert await pttl(store, place) == -2, "no counter was begun"
    await counters.increment(space, "c", adding(5, ttl_ms=60_000), deadline())
    denied = await counters.increment(space, "c", adding(ceiling=5, ttl_ms=HOUR_MS), deadline())
    assert (denied.value, denied.applied) == (5, False)
    assert denied.expires_ms == await ask(store, place, "PEXPIRETIME")
    assert about(await pttl(store, place), 60_000)


async def test_values_are_exact_up_to_the_largest(
    counters: CounterEngine, space: Namespace, deadline: Deadline
) -> None:
    for sign, name in ((1, "high"), (-1, "low")):
        most = await counters.increment(space, name, adding(sign * MAX_VALUE), deadline())
        assert (most.value, most.applied) == (sign * MAX_VALUE, True)
        for delta in (1, 2, MAX_VALUE):
            more = await counters.increment(space, name, adding(sign * delta), deadline())
            assert (more.value, more.applied) == (sign * MAX_VALUE, False)
        less = await counters.increment(space, name, adding(-sign), deadline())
        assert less.value == sign * (MAX_VALUE - 1)
    assert await counters.get(space, ["high", "low"], deadline()) == [
        MAX_VALUE - 1,
        1 - MAX_VALUE,
    ]


async def test_the_expiry_is_as_it_was_said(
    counters: CounterEngine, space: Namespace, store: Store, deadline: Deadline
) -> None:
    _, place = keys.place(space, "c")

    async def left_after(wanted: Increment, where: Namespace = space) -> int:
        came_to = await counters.increment(where, "c", wanted, deadline())
        assert came_to.expires_ms == max(await ask(store, place, "PEXPIRETIME"), 0)
        return await pttl(store, place)

    assert await left_after(adding()) == -1, "new, without any"
    assert await left_after(adding(), lived_for(space, hours=1)) == -1, "it keeps that it has none"
    assert about(await left_after(adding(ttl_ms=60_000)), 60_000), "one that is there gets it"
    assert about(await left_after(adding()), 60_000), "and keeps it"
    assert about(await left_after(adding(), lived_for(space, hours=1)), 60_000)
    assert about(await left_after(adding(ttl_ms=HOUR_MS)), HOUR_MS), "from now on"
    await counters.reset(space, ["c"], deadline())
    assert await pttl(store, place) == -2
    begun = await left_after(adding(), lived_for(space, hours=1))
    assert about(begun, HOUR_MS), "a new one gets the namespace's"
    await counters.reset(space, ["c"], deadline())
    own = await left_after(adding(ttl_ms=60_000), lived_for(space, hours=1))
    assert about(own, 60_000), "or its own"


async def test_a_counter_that_has_expired_begins_anew(
    counters: CounterEngine, space: Namespace, deadline: Deadline
) -> None:
    await counters.increment(space, "c", adding(5, ttl_ms=1), deadline())
    await asyncio.sleep(0.005)
    assert await counters.get(space, ["c"], deadline()) == [None]
    came_to = await counters.increment(space, "c", adding(), deadline())
    assert came_to == Incremented(1, applied=True, expires_ms=0)


async def test_a_request_id_counts_once(
    counters: CounterEngine, other_counters: CounterEngine, space: Namespace, deadline: Deadline
) -> None:
    wanted = adding(3, ceiling=5, ttl_ms=HOUR_MS, request_id="id")
    first = await counters.increment(space, "c", wanted, deadline())
    await counters.increment(space, "c", adding(), deadline())
    assert await other_counters.increment(space, "c", wanted, deadline()) == first
    assert await counters.get(space, ["c"], deadline()) == [4]
    denied = replace(wanted, request_id="denied")
    assert not (await counters.increment(space, "c", denied, deadline())).applied
    await counters.increment(space, "c", adding(-4), deadline())
    assert not (await counters.increment(space, "c", denied, deadline())).applied, "as at first"
    elsewhere = await counters.increment(space, "d", wanted, deadline())
    assert elsewhere.value == 3, "another counter is another request"


@pytest.mark.parametrize("other", [{"delta": 2}, {"floor": 0}, {"ceiling": 9}, {"ttl_ms": 1}])
async def test_a_request_id_of_another_request_is_refused_and_nothing_changes(
    other: dict[str, int],
    counters: CounterEngine,
    space: Namespace,
    store: Store,
    deadline: Deadline,
) -> None:
    wanted = adding(request_id="id")
    await counters.increment(space, "c", wanted, deadline())
    with pytest.raises(InvalidFields) as refused:
        await counters.increment(space, "c", replace(wanted, **other), deadline())  # type: ignore[arg-type]
    assert [one.path for one in refused.value.violations] == ["request_id"]
    assert await counters.get(space, ["c"], deadline()) == [1]
    assert await pttl(store, keys.place(space, "c")[1]) == -1


async def test_a_reset_says_what_counters_had_come_to(
    counters: CounterEngine, space: Namespace, deadline: Deadline
) -> None:
    names = [f"c{number}" for number in range(50)]
    for number, name in enumerate(names):
        await counters.increment(space, name, adding(number), deadline())
    names += ["nobody", "c7"]
    values = [*range(50), None, None]
    assert await counters.reset(space, names, deadline()) == values
    assert await counters.get(space, names, deadline()) == [None] * 52


NO_COUNTERS: list[tuple[str, ...]] = [
    ("SET", "text"),
    ("SET", ""),
    ("SET", "007"),
    ("SET", "-0"),
    ("SET", "1.5"),
    ("SET", "9007199254740993"),
    ("SET", "99999999999999999999"),
    ("HSET", "f", "1"),
    ("PFADD", "m"),
]


@pytest.mark.parametrize("written", NO_COUNTERS, ids=" ".join)
async def test_what_is_no_counter_is_refused_and_stays(
    written: Sequence[str],
    counters: CounterEngine,
    space: Namespace,
    store: Store,
    deadline: Deadline,
) -> None:
    partition, place = keys.place(space, "c")
    await ask(store, place, *written)
    before = await ask(store, place, "DUMP")
    near = next(
        name
        for name in (f"n{number}" for number in range(1000))
        if keys.place(space, name)[0] == partition
    )
    await counters.increment(space, near, adding(), deadline())
    for call in (
        counters.increment(space, "c", adding(ttl_ms=1, request_id="id"), deadline()),
        counters.get(space, [near, "c"], deadline()),
        counters.reset(space, [near, "c"], deadline()),
    ):
        with pytest.raises(WrongKind) as refused:
            await call
        assert refused.value.key == "c"
    assert await ask(store, place, "DUMP") == before
    assert await pttl(store, keys.answer(partition, "c", "id")) == -2
    assert await counters.get(space, [near], deadline()) == [1], "nothing was reset"


async def test_a_reset_in_part_does_not_say_that_nothing_was_done(
    counters: CounterEngine, space: Namespace, store: Store, deadline: Deadline
) -> None:
    tags = [hash_tag(space.name, number).encode() for number in range(7)]
    spread = replace(space, partitions=tuple(Partition(tag, store.slot_of(tag)) for tag in tags))
    _, place = keys.place(spread, "c")
    await ask(store, place, "SET", "text")
    names = [f"c{number}" for number in range(20)]
    await counters.increment(spread, "c1", adding(), deadline())
    with pytest.raises(OutcomeUnknown, match="'c'"):
        await counters.reset(spread, [*names, "c"], deadline())
    assert await ask(store, place, "GET") == b"text"


async def test_a_counter_is_no_set_of_places_nor_the_other_way(
    counters: CounterEngine, geo: GeoEngine, space: Namespace, deadline: Deadline
) -> None:
    await counters.increment(space, "c", adding(), deadline())
    with pytest.raises(WrongKind):
        await geo.add(space, "c", [("m", Point(1, 2))], deadline())
    await geo.add(space, "g", [("m", Point(1, 2))], deadline())
    with pytest.raises(WrongKind):
        await counters.increment(space, "g", adding(), deadline())
    with pytest.raises(WrongKind):
        await counters.reset(space, ["g"], deadline())
    assert await geo.positions(space, "g", ["m"], deadline()) != [None]


async def test_uniques_count_each_member_once_over_sets(
    counters: CounterEngine, space: Namespace, deadline: Deadline
) -> None:
    monday, tuesday = [[f"user:{n}" for n in range(a, a + 600)] for a in (0, 400)]
    assert await counters.add_unique(space, "mon", monday, 0, deadline())
    assert not await counters.add_unique(space, "mon", monday, 0, deadline())
    await counters.add_unique(space, "tue", tuesday, 0, deadline())
    both = await counters.count_unique(space, ["mon", "tue", "nobody"], deadline())
    assert abs(both - 1000) < 50
    assert await counters.merge_unique(space, "week", ["mon", "tue"], 0, deadline()) == both
    assert await counters.count_unique(space, ["week"], deadline()) == both
    assert abs(await counters.count_unique(space, ["tue"], deadline()) - 600) < 30
    assert await counters.count_unique(space, ["nobody"], deadline()) == 0
    assert await counters.merge_unique(space, "empty", ["nobody"], 0, deadline()) == 0


async def test_uniques_are_as_good_as_their_standard_error(
    counters: CounterEngine, space: Namespace, deadline: Deadline
) -> None:
    for start in range(0, 100_000, 1000):
        members = [f"m{number}" for number in range(start, start + 1000)]
        await counters.add_unique(space, "s", members, 0, deadline())
    count = await counters.count_unique(space, ["s"], deadline())
    assert abs(count - 100_000) < 4 * 810, "the members are the same in each run"


async def test_uniques_expire_as_counters_do(
    counters: CounterEngine, space: Namespace, store: Store, deadline: Deadline
) -> None:
    lives = lived_for(space, hours=1)

    async def adds(where: Namespace, name: str, ttl_ms: int) -> int:
        await counters.add_unique(where, name, ["m"], ttl_ms, deadline())
        return await pttl(store, keys.uniques(space, name)[1])

    async def merges(where: Namespace, name: str, ttl_ms: int) -> int:
        await counters.merge_unique(where, name, ["other"], ttl_ms, deadline())
        return await pttl(store, keys.uniques(space, name)[1])

    for name, call in (("added", adds), ("merged", merges)):
        assert await call(space, name, 0) == -1
        assert await call(lives, name, 0) == -1, "one that is there keeps that it has none"
        assert about(await call(space, name, 60_000), 60_000)
        assert about(await call(lives, name, 0), 60_000), "or what it has"
        assert about(await call(lives, f"{name} anew", 0), HOUR_MS)
        assert about(await call(lives, f"{name} own", 60_000), 60_000)


async def test_deleted_sets_have_seen_nobody(
    counters: CounterEngine, space: Namespace, store: Store, deadline: Deadline
) -> None:
    names = [f"s{number}" for number in range(1000)]
    for name in ("s7", "s999", "other"):
        await counters.add_unique(space, name, ["m"], 0, deadline())
    deleted = await counters.delete_unique(space, names, deadline())
    assert [name for name, was in zip(names, deleted, strict=True) if was] == ["s7", "s999"]
    assert not any(await counters.delete_unique(space, ["s7", "s999"], deadline()))
    assert await pttl(store, keys.uniques(space, "s7")[1]) == -2
    assert await counters.count_unique(space, ["s7", "s999"], deadline()) == 0
    assert await counters.count_unique(space, ["other"], deadline()) == 1


async def test_what_is_no_set_of_uniques_is_refused_and_stays(
    counters: CounterEngine, space: Namespace, store: Store, deadline: Deadline
) -> None:
    await counters.add_unique(space, "seen", ["m"], 0, deadline())
    for name, written in (("text", ("SET", "1")), ("hash", ("HSET", "f", "1"))):
        place = keys.uniques(space, name)[1]
        await ask(store, place, *written)
        before = await ask(store, place, "DUMP")
        for call in (
            counters.add_unique(space, name, ["m"], 1, deadline()),
            counters.count_unique(space, ["other", name], deadline()),
            counters.merge_unique(space, name, ["other"], 1, deadline()),
            counters.merge_unique(space, "into", ["other", name], 1, deadline()),
            counters.delete_unique(space, ["seen", name], deadline()),
        ):
            with pytest.raises(WrongKind) as refused:
                await call
            assert refused.value.key == name
        assert await ask(store, place, "DUMP") == before
    assert await pttl(store, keys.uniques(space, "into")[1]) == -2
    assert await counters.count_unique(space, ["seen"], deadline()) == 1, "nothing was deleted"


async def test_all_that_is_written_expires_but_for_what_is_to_stay(
    counters: CounterEngine,
    geo: GeoEngine,
    space: Namespace,
    store: Store,
    deadline: Deadline,
) -> None:
    lives = lived_for(space, hours=1)
    await counters.increment(space, "stays", adding(request_id="a"), deadline())
    await counters.increment(lives, "goes", adding(request_id="b"), deadline())
    await counters.increment(space, "denied", adding(ceiling=0, request_id="c"), deadline())
    await counters.add_unique(space, "seen", ["m"], 0, deadline())
    await counters.add_unique(lives, "seen today", ["m"], 0, deadline())
    await geo.add(space, "places", [("m", Point(1, 2))], deadline())
    stays = {
        keys.place(space, "stays")[1],
        keys.place(space, "places")[1],
        keys.uniques(space, "seen")[1],
    }
    found: set[bytes] = set()
    for number, partition in enumerate(space.partitions):
        assert partition.tag == hash_tag(space.name, number).encode()
        async for step in store.scan(b"[sur]%b*" % partition.tag, 10_000):
            for key in step.keys:
                found.add(key)
                assert (await pttl(store, key) == -1) == (key in stays)
        if len(found) == 8:
            break
    assert stays < found
    answered = answer(keys.place(space, "stays")[0].tag, answers.digest("counter", "stays", "a"))
    assert answered in found
    assert len(found) == 8, "three counters' answers, two counters, two uniques, one set of places"
