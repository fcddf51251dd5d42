"""The auditor of the first level, which compares some answers with Redis."""

import asyncio

import pytest
from pantler_server.core.config import FirstLevelConfig
from pantler_server.engines.cache import keys
from prometheus_client import REGISTRY

from tests.engines.caller import value
from tests.engines.conftest import Near, NearFactory
from tests.engines.test_first_level import HIDING, KEY, Change, stored


def audits(namespace: str, outcome: str) -> float:
    said = {"namespace": namespace, "outcome": outcome}
    return REGISTRY.get_sample_value("pantler_l1_audits_total", said) or 0


async def audited(near: Near, outcome: str) -> None:
    async with asyncio.timeout(5):
        while not audits(near.one.space.name, outcome):
            await near.one.get(KEY)
            await asyncio.sleep(0.001)


async def test_the_auditor_says_that_an_answer_is_the_same(nears: NearFactory) -> None:
    near = await nears.make(l1=FirstLevelConfig(audit_ratio=1))
    await stored(near)
    await audited(near, "same")
    assert not audits(near.one.space.name, "stale")


@pytest.mark.parametrize(
    "change", [lambda by: by.set(KEY, b"new"), HIDING["delete"], HIDING["tag"], HIDING["key"]]
)
async def test_the_auditor_finds_what_is_stale_and_since_when(
    nears: NearFactory, change: Change
) -> None:
    near = await nears.make(l1=FirstLevelConfig(audit_ratio=1))
    await stored(near)
    place = keys.place(near.one.space, KEY)[1]
    part = near.level.parts[keys.place(near.one.space, KEY)[0].tag]
    kept, by, label_mark = near.level.kept.get(place), part.by, part.label_mark
    assert kept is not None
    await change(near.other)
    await asyncio.sleep(0.05)
    near.level.kept.set(place, kept)  # as if no word of the change had come
    part.by, part.label_mark = by, label_mark
    assert value(await near.one.get(KEY)) == b"old"
    await audited(near, "stale")
    said = {"namespace": near.one.space.name}
    total = REGISTRY.get_sample_value("pantler_l1_stale_seconds_sum", said)
    assert total is not None
    assert 0.05 <= total < 2
