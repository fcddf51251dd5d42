"""Many callers on one key that is not there: one fetches it, the others wait for its fill."""

import asyncio
import statistics
import time
from collections.abc import Iterable, Iterator
from secrets import token_hex

import uvloop
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import fill_token
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.model import Hit, LeaseAsk, NewEntry
from pantler_server.worker_process import GRPC_EXPERIMENTS

from bench.callers import FETCH_S, Burst, Programs
from bench.engine import deadline, open_engine
from bench.report import Line, rounds
from bench.servers import NAMESPACE, VALUE, bare_server, filled_server

ROUNDS = 9
CALLERS = 1000
WAIT_MS = 10_000
PROGRAMS = (1, 4)


def stampede() -> Iterator[Line]:
    """How soon the last caller has the value, and how often it is fetched: in the engine, and
    through the whole server against as many echoes to the same programs."""
    crowd = f"Stampede of {CALLERS:,} on a key that takes {FETCH_S * 1000:.0f} ms to fetch"
    with filled_server() as serving:
        bursts = uvloop.run(_in_engine(serving.redis_socket))
        yield Line(
            f"{crowd}, in the engine: the last answer",
            f"{_median_ms(burst.took_s for burst in bursts)}, {_fetches(bursts)}",
            wanted="<= 150 ms, fetches: 1",
        )
        with bare_server(serving.redis_socket, GRPC_EXPERIMENTS) as bare:
            for programs in PROGRAMS:
                pairs = _through_the_wire(programs, serving.address, bare)
                beyond = [(burst.took_s - FETCH_S, echo.took_s) for burst, echo in pairs]
                ours, echoes = (_median_ms(side) for side in zip(*beyond, strict=True))
                ratio = statistics.median(one / other for one, other in beyond)
                yield Line(
                    f"{crowd}, client programs: {programs}; the last answer after those "
                    f"{FETCH_S * 1000:.0f} ms, against as many echoes",
                    f"{ours}, {_fetches([burst for burst, _ in pairs])}",
                    echoes,
                    f"{ratio:.2f}",
                    "<= 1.5, fetches: 1",
                )


def _median_ms(seconds: Iterable[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"


def _fetches(bursts: Iterable[Burst]) -> str:
    return f"fetches: {max(burst.fetches for burst in bursts)}"


def _through_the_wire(programs: int, pantler: str, bare: str) -> list[tuple[Burst, Burst]]:
    """Stampedes and echoes in turn."""
    with Programs(programs) as clients:
        clients.echoes(bare, CALLERS)  # the first calls of a program are slow
        clients.stampede(pantler, CALLERS, token_hex(8))
        return [
            (
                clients.stampede(pantler, CALLERS, token_hex(8)),
                clients.echoes(bare, CALLERS),
            )
            for _ in rounds(ROUNDS, "stampede")
        ]


async def _in_engine(redis_socket: str) -> list[Burst]:
    async with open_engine(redis_socket) as engine:
        space = await engine.namespace(NAMESPACE)
        return [
            await _stampede(engine.cache, space, token_hex(8)) for _ in rounds(ROUNDS, "stampede")
        ]


async def _stampede(cache: CacheEngine, space: Namespace, key: str) -> Burst:
    async def call() -> bool:
        ask = LeaseAsk(WAIT_MS, WAIT_MS, token_hex(8))
        found = await cache.get(space, key, deadline(), ask)
        if isinstance(found, Hit):
            return False
        assert found.lease is not None
        await asyncio.sleep(FETCH_S)
        token = fill_token.read(found.lease.token)
        await cache.set(space, NewEntry(key, VALUE, token=token), deadline())
        return True

    began_s = time.monotonic()
    fetched = await asyncio.gather(*(call() for _ in range(CALLERS)))
    return Burst(began_s, time.monotonic(), sum(fetched))
