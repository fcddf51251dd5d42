"""What waits for a target, as its owner holds it, is looked at for little."""

import asyncio
from time import perf_counter
from typing import Any

import pytest
from pantler_server.cdns.target import EVERY_KIND, Batch, Kind, Limits
from pantler_server.engines.cdn import batching
from pantler_server.engines.cdn.batching import ALL, Planned, Value, Waiting, plan
from pantler_server.engines.cdn.drain import MOST_IN_ROUND, TargetDrain
from pantler_server.engines.cdn.held import MOST_PLANNED, Held

ALONE = Limits(1, 1, 8000, 50.0, 50)


def waiting(number: int, due_ms: int, *values: Value) -> Waiting:
    left = values or (Value(Kind.TAG, f"t{number}"),)
    kinds = frozenset(value.kind for value in left)
    name = str(number)
    return Waiting(name.encode(), name, due_ms, 0, False, dict.fromkeys(left), kinds)


def ids(some: list[Waiting]) -> list[int]:
    return [int(one.entry_id) for one in some]


class AnyTarget:
    limits = ALONE
    kinds = EVERY_KIND
    can_soft = True
    fingerprint = b"x"

    async def purge(self, batch: Batch) -> None: ...


async def test_a_look_at_what_is_not_due_costs_little() -> None:
    nothing: Any = None
    target = AnyTarget()
    drain = TargetDrain(nothing, "channel", "edge", lambda _: target)
    later_ms = int((asyncio.get_running_loop().time() + 3600) * 1000)
    drain._held.add(waiting(n, later_ms + n) for n in range(100_000))
    await drain._start_round()  # it meets them
    took = []
    for _ in range(5):
        began = perf_counter()
        assert await drain._start_round() > 0
        took.append(perf_counter() - began)
    assert min(took) < 0.001


def test_each_comes_at_its_time() -> None:
    held = Held()
    held.add([waiting(0, 500), waiting(1, 100), waiting(2, 300)])
    assert held.next_s(0.0, 50) == pytest.approx(0.051)
    held.come_due(0.0, 99)
    assert held.ready() == []
    held.come_due(0.0, 300)
    assert ids(held.ready()) == [1, 2]
    assert held.next_s(0.0, 300) == pytest.approx(0.201)


def test_what_is_set_aside_comes_back_behind_the_others() -> None:
    held = Held()
    entries = [waiting(n, 0) for n in range(3)]
    held.add(entries)
    held.come_due(0.0, 0)
    held.failed(entries[0], 1)
    held.set_aside(entries[0], 5.0)
    assert ids(held.ready()) == [1, 2]
    assert held.next_s(4.0, 0) == 1.0
    held.forgive()  # not what failed while others were served
    assert entries[0].failures == 1
    held.come_due(5.0, 0)
    assert ids(held.ready()) == [1, 2, 0]


def test_what_fails_hides_nothing_behind_it() -> None:
    """More than requests are made of at a time, while the target serves nothing else."""
    held = Held()
    bad = [waiting(n, 0) for n in range(MOST_PLANNED)]
    held.add([*bad, waiting(-1, 0)])
    held.come_due(0.0, 0)
    for one in bad:
        held.failed(one, 1)
    first = next(plan(held.ready(), ALONE, can_soft=True))
    assert first.batch.tags == ("t-1",)
    held.forgive()
    assert len(held.ready()) == MOST_PLANNED


def test_all_is_forgiven_where_the_target_is_another() -> None:
    held = Held()
    entries = [waiting(n, 0) for n in range(3)]
    held.add(entries)
    held.come_due(0.0, 0)
    for one in entries[:2]:
        held.failed(one, 4)
    held.set_aside(entries[0], 5.0)
    held.forgive_all()
    assert ids(held.ready()) == [2, 1, 0]
    assert [(one.failures, one.most, one.not_before) for one in entries] == [(0, 0, 0.0)] * 3


def test_what_is_over_is_gone_from_everywhere() -> None:
    held = Held()
    entries = [waiting(0, 0), waiting(1, 0), waiting(2, 100), waiting(3, 0, ALL)]
    held.add(entries)
    held.come_due(0.0, 0)
    for one in entries:
        one.left.clear()
        assert held.drop(one)
        assert not held.drop(one)
    held.come_due(0.0, 1000)
    assert held.ready() == held.all() == []


def test_what_is_adrift_outlives_the_queue() -> None:
    held = Held()
    entries = [waiting(n, 100 * n) for n in range(3)]
    held.add(entries)
    held.come_due(0.0, 0)
    held.set_adrift()
    others = [waiting(n, 100 * n) for n in range(3, 6)]
    held.add(others)
    held.come_due(0.0, 100)
    held.lose()
    held.come_due(0.0, 1000)
    assert held.all() == entries
    assert held.ready() == entries
    assert held.take_new() == entries


def test_what_another_redis_has_is_held_once() -> None:
    """However often it is another. What is under way then ends nothing of what was read anew."""
    held = Held()
    first = [waiting(n, 0) for n in range(10)]
    held.add(first)
    for lacks in range(4):
        held.set_adrift()
        held.add(waiting(n, 0) for n in range(lacks, 10))
        held.come_due(0.0, 0)
    assert sorted(ids(held.ready())) == sorted(ids(held.all())) == [*range(10)]
    assert ids([*held.adrift]) == [0, 1, 2]
    assert not held.drop(first[9])
    assert len(held.ready()) == len(held.all()) == 10


def test_a_purge_of_everything_comes_first_and_does_all_that_is_due() -> None:
    held = Held()
    held.add([*(waiting(n, 0) for n in range(2 * MOST_PLANNED)), waiting(-1, 0, ALL)])
    held.add([waiting(-2, 100)])
    held.come_due(0.0, 0)
    [one] = plan(held.ready(), ALONE, can_soft=True)
    assert one.batch.everything
    one.done()
    assert ids([entry for entry in held.all() if entry.left]) == [-2]


@pytest.mark.parametrize("soft", [False, True])
def test_a_purge_of_everything_that_failed_shows_whether_others_are_served(soft: bool) -> None:
    everything = waiting(-1, 0, ALL)
    everything.failed_among(1)
    entries = [*(waiting(n, 0) for n in range(100)), everything]
    for one in entries:
        one.soft = soft
    first, *others = plan(entries, ALONE, can_soft=True)
    assert first.batch == Batch(everything=True, soft=soft)
    assert first.asked_by == [everything]
    assert [one.batch.tags for one in others] == [("t0",), ("t1",), ("t2",)]


async def test_no_more_requests_are_made_than_go_in_a_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing: Any = None
    target = AnyTarget()
    drain = TargetDrain(nothing, "channel", "edge", lambda _: target)
    drain._held.add(waiting(n, n) for n in range(10_000))
    drain._held.come_due(0.0, 10_000)
    made: list[Planned] = []
    whole = batching._planned

    def counted(*said: Any, **more: Any) -> Planned:
        made.append(whole(*said, **more))
        return made[-1]

    monkeypatch.setattr(batching, "_planned", counted)
    chosen, _ = drain._choose(target, 0)
    assert [one.batch.tags for one in chosen] == [(f"t{n}",) for n in range(MOST_IN_ROUND)]
    assert len(made) <= MOST_IN_ROUND + 1


def test_the_oldest_go_first_whatever_their_kind() -> None:
    kinds = (Kind.TAG, Kind.URL, Kind.URL, Kind.TAG)
    entries = [waiting(n, n, Value(kind, f"v{n}")) for n, kind in enumerate(kinds)]
    entries[2].soft = True
    planned = plan(entries, ALONE, can_soft=True)
    assert [one.due_ms for one in planned] == [0, 1, 2, 3]
