"""What a target refuses is found among what it takes; where it takes nothing little is asked."""

import random
from collections import Counter

import pytest
from pantler_server.cdns.target import EVERY_KIND, Batch, Kind, Limits, TargetRefused
from pantler_server.engines.cdn import sending
from pantler_server.engines.cdn.batching import Planned, Value, Waiting, plan
from pantler_server.engines.cdn.sending import Sender

LIMITS = Limits(256, 256, 1 << 20, 1e9, 1 << 30)


class Choosy:
    """A target that refuses a request with any of some tags in it."""

    limits = LIMITS
    kinds = EVERY_KIND
    can_soft = True
    fingerprint = b"x"

    def __init__(self, bad: set[str]) -> None:
        self._bad = bad
        self.purged: set[str] = set()
        self.asked: list[Batch] = []

    async def purge(self, batch: Batch) -> None:
        self.asked.append(batch)
        if self._bad & set(batch.tags):
            raise TargetRefused("400: bad tag")
        self.purged |= set(batch.tags)


def purges_of(tags: list[str]) -> list[Waiting]:
    """A purge for each."""
    kinds = frozenset({Kind.TAG})
    return [
        Waiting(tag.encode(), tag, 0, 0, False, {Value(Kind.TAG, tag): None}, kinds) for tag in tags
    ]


async def send(target: Choosy, purges: list[Waiting]) -> None:
    """Sends as the drain does, until nothing is left."""

    async def on_done(_: Planned) -> None:
        pass

    sender = Sender("edge")
    planned = [*plan(purges, LIMITS, can_soft=True)]
    while planned:
        sent = await sender.send(target, planned, on_done)
        assert sent.failure is None
        planned = sent.unfound
        for one in planned:
            for purge in one.entries:
                purge.failed_among(one.size)
    assert not any(purge.left for purge in purges)


async def test_what_is_good_is_purged_though_half_is_refused() -> None:
    for seed in range(100):
        random.seed(seed)
        tags = [f"t{n}" for n in range(256)]
        bad = set(random.sample(tags, 128))
        target, purges = Choosy(bad), purges_of(tags)
        await send(target, purges)
        assert target.purged == {*tags} - bad, seed
        assert {one.purge_id for one in purges if one.refusal} == bad, seed


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, sending.PROBES, sending.PROBES + 1, 256])
async def test_what_is_all_refused_costs_a_request_its_halves_and_some_values(size: int) -> None:
    tags = [f"t{n}" for n in range(size)]
    target, purges = Choosy({*tags}), purges_of(tags)
    await send(target, purges)
    assert all(one.refusal for one in purges)
    assert len(target.asked) <= 1 + 2 + sending.PROBES


@pytest.mark.parametrize("bad", [1, 2, 3, 6, 9, 12])
@pytest.mark.parametrize("size", range(1, sending.PROBES + 1))
async def test_nothing_is_asked_twice_of_a_few_values(size: int, bad: int) -> None:
    tags = [f"t{n}" for n in range(size)]
    chosen = set(random.Random(size).sample(tags, min(bad, size)))
    target, purges = Choosy(chosen), purges_of(tags)
    await send(target, purges)
    assert target.purged == {*tags} - chosen
    asked = Counter(frozenset(one.tags) for one in target.asked)
    assert max(asked.values()) == 1
