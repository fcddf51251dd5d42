"""Places: how little the size of a set costs a search."""

import asyncio
import math
import random
from collections.abc import Iterator
from operator import truediv

import uvloop
from pantler_server.engines.geo.engine import GeoEngine
from pantler_server.engines.geo.model import Circle, Point, Search
from redis.asyncio import Redis

from bench.engine import OpenState, deadline, open_state
from bench.report import Line, rounds
from bench.sections.commands import PIPELINE, Cost, cost_of, median
from bench.servers import NAMESPACE, filled_server

SMALL, LARGE = 10_000, 1_000_000
AT_ONCE = 1_000  # places of one call
PER_KM2 = 100  # of both sets: some 314 places within the radius
RADIUS_METERS, LIMIT = 1_000.0, 20
TURN = 500  # searches in turn with the other set: the machine's speed changes within a second
ROUNDS = 9
KM_PER_DEGREE = 111.2
CENTRE = Point(13.4, 52.5)

_random = random.Random(7)


def nearby() -> Iterator[Line]:
    """Redis's time for the 20 nearest places within 1 km of a point, in a large set against a small
    one that is as dense."""
    with filled_server() as serving:
        pairs = uvloop.run(_searches(serving.redis_socket))
    large, small = (median(side) for side in zip(*pairs, strict=True))
    ratio = median([Cost(*map(truediv, *pair)) for pair in pairs])
    yield Line(
        f"SearchNearby of {LIMIT} within 1 km: in Redis, {LARGE:,} places against {SMALL:,}",
        f"{large.mean:.0f} µs, p50 {large.p50:.0f}",
        f"{small.mean:.0f} µs, p50 {small.p50:.0f}",
        f"{ratio.mean:.2f}, p50 {ratio.p50:.2f}",
        "< 3",
    )


async def _searches(redis_socket: str) -> list[tuple[Cost, Cost]]:
    async with open_state(redis_socket) as opened, Redis(unix_socket_path=redis_socket) as redis:
        engine = GeoEngine(opened.store)
        for size in (SMALL, LARGE):
            await _fill(opened, engine, size)

        async def cost(size: int) -> Cost:
            return await cost_of(redis, "geosearch", lambda: _search_each(opened, engine, size))

        return [(await cost(LARGE), await cost(SMALL)) for _ in rounds(ROUNDS, "nearby")]


async def _fill(opened: OpenState, engine: GeoEngine, size: int) -> None:
    space = await opened.namespace(NAMESPACE)
    for first in rounds(size // AT_ONCE, f"{size:,} places"):
        places = [(f"place:{first * AT_ONCE + one}", _somewhere(size)) for one in range(AT_ONCE)]
        await engine.add(space, str(size), places, deadline())


async def _search_each(opened: OpenState, engine: GeoEngine, size: int) -> None:
    space = await opened.namespace(NAMESPACE)
    for _ in range(0, TURN, PIPELINE):
        searches = [
            Search(_somewhere(size), Circle(RADIUS_METERS), farthest_first=False, limit=LIMIT)
            for _ in range(PIPELINE)
        ]
        found = await asyncio.gather(
            *(engine.search(space, str(size), one, deadline()) for one in searches)
        )
        assert all(one.locations for one in found)


def _somewhere(size: int) -> Point:
    """In a square that is as large as makes the set as dense as the other."""
    half_km = math.sqrt(size / PER_KM2) / 2
    north, east = (_random.uniform(-half_km, half_km) / KM_PER_DEGREE for _ in range(2))
    stretched = east / math.cos(math.radians(CENTRE.latitude))
    return Point(CENTRE.longitude + stretched, CENTRE.latitude + north)
