"""Calls of Envoy, on every topology: all of their limits or none, wherever these are."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest_asyncio
from pantler_server.core.config import Settings
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.envoy import Descriptor, EnvoyEngine
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline

_numbers = count()

SETTINGS = Settings.model_validate(
    {
        "envoy_domains": [
            {
                "domain": "edge",
                "descriptors": [
                    {"key": "wide", "rate_limit": {"unit": "year", "requests_per_unit": 100}},
                    {"key": "narrow", "rate_limit": {"unit": "year", "requests_per_unit": 10}},
                ],
            }
        ]
    }
)


@pytest_asyncio.fixture(scope="module")
async def envoy(store: Store) -> AsyncIterator[EnvoyEngine]:
    limits = RateLimitEngine(store, SETTINGS)
    limits.start()
    yield EnvoyEngine(limits, SETTINGS)
    await limits.stop()


def descriptors(hits: int) -> list[Descriptor]:
    """Of several slots, where there are such."""
    values = [f"v{next(_numbers)}" for _ in range(10)]
    wide = [Descriptor([("wide", value)], hits) for value in values]
    return [*wide, Descriptor([("narrow", values[0])], hits)]


async def test_a_refused_call_takes_from_no_other_limit(
    envoy: EnvoyEngine, deadline: Deadline
) -> None:
    asked = descriptors(1)
    verdicts = await asyncio.gather(
        *(envoy.decide("edge", asked, deadline()) for _ in range(25)),
    )
    assert sum(not verdict.over for verdict in verdicts) == 10
    looks = [one._replace(hits=0) for one in asked]
    looked = await envoy.decide("edge", looks, deadline())
    assert [status.remaining for status in looked.statuses] == [90] * 10 + [0]


async def test_hits_that_do_not_fit_in_take_the_rest(
    envoy: EnvoyEngine, deadline: Deadline
) -> None:
    asked = descriptors(3)
    verdicts = [await envoy.decide("edge", asked, deadline()) for _ in range(5)]
    assert [verdict.over for verdict in verdicts] == [False] * 3 + [True] * 2
    looks = [one._replace(hits=0) for one in asked]
    looked = await envoy.decide("edge", looks, deadline())
    assert [status.remaining for status in looked.statuses] == [91] * 10 + [0]
