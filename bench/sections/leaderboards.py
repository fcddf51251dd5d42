"""Leaderboards: how little their size costs, what a bulk submit gains, and what they keep."""

import asyncio
import random
from collections.abc import Iterator
from functools import partial
from itertools import product
from operator import truediv

import uvloop
from pantler.v1 import cache_pb2, leaderboard_pb2
from pantler_server.engines.leaderboard import keys
from pantler_server.engines.leaderboard.board import board_of
from pantler_server.engines.leaderboard.engine import LeaderboardEngine
from pantler_server.engines.leaderboard.model import ScoreEntry, ScorePolicy
from redis.asyncio import Redis

from bench.engine import OpenState, deadline, open_state
from bench.load import Target
from bench.report import Line, rounds
from bench.sections.commands import PIPELINE, Cost, cost_of_scripts, median
from bench.sections.reads import paired
from bench.servers import KEYS, NAMESPACE, filled_server

SMALL, LARGE = 1_000, 1_000_000
BULK = 1_000  # entries of one submit
TURN = 2_000  # calls in turn with the other board: the machine's speed changes within a second
ROUNDS = 9

_random = random.Random(7)


def member(number: int) -> str:
    return f"user:{number}"


async def _fill(opened: OpenState, engine: LeaderboardEngine, size: int) -> None:
    """The board of a size."""
    space = await opened.namespace(NAMESPACE)
    for first in rounds(size // BULK, f"a board of {size:,}"):
        entries = [
            ScoreEntry(member(first * BULK + number), _random.uniform(0, 1e6), {})
            for number in range(BULK)
        ]
        await engine.submit(space, str(size), entries, ScorePolicy.SET, "", deadline())


def board_size() -> Iterator[Line]:
    """A submit with ranks, and a look at ranks, of random members: Redis's time on a large board
    against that on a small one. And what Redis keeps of a member."""
    with filled_server() as serving:
        costs, kept_bytes = uvloop.run(_sizes(serving.redis_socket))
    for what, pairs in costs.items():
        large, small = (median(side) for side in zip(*pairs, strict=True))
        ratio = median([Cost(*map(truediv, *pair)) for pair in pairs])
        yield Line(
            f"{what}: in Redis, on a board of {LARGE:,} against one of {SMALL:,}",
            f"{large.mean:.1f} µs, p50 {large.p50:.1f}",
            f"{small.mean:.1f} µs, p50 {small.p50:.1f}",
            f"{ratio.mean:.2f}, p50 {ratio.p50:.2f}",
            "<= 2",
        )
    yield Line(f"Memory of a member on a board of {LARGE:,}", f"{kept_bytes:.0f} B")


async def _sizes(redis_socket: str) -> tuple[dict[str, list[tuple[Cost, Cost]]], float]:
    """The costs on both boards, measured in turn, and the bytes of a member."""
    async with open_state(redis_socket) as opened, Redis(unix_socket_path=redis_socket) as redis:
        engine = LeaderboardEngine(opened.store)
        for size in (SMALL, LARGE):
            await _fill(opened, engine, size)
        calls = {"SubmitScores of one": _submit_each, "GetRanks of one": _ranks_of_each}
        found: dict[str, list[tuple[Cost, Cost]]] = {what: [] for what in calls}
        for _, (what, call) in product(rounds(ROUNDS, "board-size"), calls.items()):
            large = await cost_of_scripts(redis, partial(call, opened, engine, LARGE))
            small = await cost_of_scripts(redis, partial(call, opened, engine, SMALL))
            found[what].append((large, small))
        board = board_of(await opened.namespace(NAMESPACE), str(LARGE))
        places = [key(board.tag, board.name, b"0") for key in (keys.scores, keys.members)]
        kept = [await redis.memory_usage(place, samples=1000) or 0 for place in places]
    return found, sum(kept) / LARGE


async def _submit_each(opened: OpenState, engine: LeaderboardEngine, size: int) -> None:
    space = await opened.namespace(NAMESPACE)

    async def one() -> None:
        entry = ScoreEntry(member(_random.randrange(size)), _random.uniform(0, 1e6), {})
        await engine.submit(space, str(size), [entry], ScorePolicy.SET, "", deadline())

    for _ in range(0, TURN, PIPELINE):
        await asyncio.gather(*(one() for _ in range(PIPELINE)))


async def _ranks_of_each(opened: OpenState, engine: LeaderboardEngine, size: int) -> None:
    space = await opened.namespace(NAMESPACE)
    for _ in range(0, TURN, PIPELINE):
        asked = [[member(_random.randrange(size))] for _ in range(PIPELINE)]
        await asyncio.gather(
            *(engine.get_ranks(space, str(size), one, deadline()) for one in asked)
        )


def bulk_submit() -> Iterator[Line]:
    """Entries a second of submits of 1,000 against those of one, through the server; and a submit
    of one against a Get."""
    bulk = leaderboard_pb2.SubmitScoresRequest(
        namespace=NAMESPACE, board="bulk", policy=leaderboard_pb2.SCORE_POLICY_INCREMENT
    )
    for number in range(BULK):
        bulk.entries.add(member=member(number), score=_random.uniform(-10, 10))
    single = leaderboard_pb2.SubmitScoresRequest(
        namespace=NAMESPACE, board="bulk", policy=bulk.policy, entries=bulk.entries[:1]
    )
    get = cache_pb2.GetRequest(namespace=NAMESPACE, key=KEYS[0])
    method = "pantler.v1.LeaderboardService/SubmitScores"
    with filled_server() as serving:
        one_by_one = Target(serving.address, method, single)
        submits, gets, of_get = paired(
            "submit", one_by_one, Target(serving.address, "pantler.v1.CacheService/Get", get)
        )
        bulks, singles, ratio = paired(
            "bulk-submit", Target(serving.address, method, bulk), one_by_one
        )
    yield Line(
        "SubmitScores of one with its ranks, against a Get, hit",
        f"{submits:,.0f}/s",
        f"{gets:,.0f}/s",
        f"{of_get:.2f}",
    )
    yield Line(
        f"SubmitScores of {BULK:,}, entries against those of one",
        f"{bulks * BULK:,.0f} entries/s",
        f"{singles:,.0f} entries/s",
        f"{ratio * BULK:.1f}",
        ">= 20",
    )
