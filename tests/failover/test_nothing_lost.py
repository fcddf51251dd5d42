"""kill -9 of everything under write load: what was acknowledged is in the table in the end, once.

What callers are told is compared with the table and with all that its rows went through
(write_history.py). Chance decides what is killed and when; TEST_SEED repeats its choices,
if not what comes of them.
"""

import asyncio
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pantler
import psutil
import pytest
import yaml
from pantler_server.engines.cache.record import log_scripts

from tests.failover.audited_table import AuditedTable
from tests.failover.write_history import Problem
from tests.failover.writers import FULL, Client, Writers, row_of
from tests.servers.pantler import PantlerServer
from tests.servers.postgres import PostgresServer
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.component("postgres"),
]

PATIENCE_S = 60.0  # for what takes a moment on an idle machine


def seeded() -> random.Random:
    seed = int(os.environ.get("TEST_SEED") or secrets.randbelow(1 << 32))
    print(f"TEST_SEED={seed}")
    return random.Random(seed)


class Deployment:
    """A service on a port of its own, as its operator runs it: started again whenever it ended."""

    def __init__(self, config: Path, workers: int) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._arguments = ("--listen", self.address, "--workers", str(workers))
        self._config = config
        self.server = PantlerServer(*self._arguments, config=config)
        self._killed: list[PantlerServer] = []

    async def start(self) -> None:
        """Again and again while workers of the one before still have the port."""
        while True:
            self.server = PantlerServer(*self._arguments, config=self._config)
            try:
                await self.server.start()
            except AssertionError as exc:
                if "Address already in use" not in str(exc):
                    raise
            else:
                return

    async def kill(self) -> None:
        """The supervisor, and starts it again."""
        self._killed.append(self.server)
        await self.server.kill()
        await self.start()

    async def stop(self) -> None:
        await self.server.stop()
        for server in self._killed:
            await server.wait_for_exit()


class Chaos:
    """Kills one thing after the other, and has it come back."""

    def __init__(
        self, deployment: Deployment, postgres: PostgresServer, chance: random.Random
    ) -> None:
        self._deployment = deployment
        self._postgres = postgres
        self._chance = chance
        self._coming_back: asyncio.Task[None] | None = None
        self.kills: Counter[str] = Counter()

    async def kill(self, what: str) -> None:
        match what:
            case "supervisor":
                await self._deployment.kill()
            case "postgres":
                await self.all_back()
                await self._postgres.kill()
                self._coming_back = asyncio.create_task(self._bring_back())
            case "worker" | "valkey":
                await self._kill_child(what)
        self.kills[what] += 1

    async def all_back(self) -> None:
        if self._coming_back is not None:
            await self._coming_back

    async def _bring_back(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await self._postgres.start()

    async def _kill_child(self, what: str) -> None:
        """It may be starting again just now: then as soon as it is there."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(psutil.NoSuchProcess):
                    found = [one for one in self._children(what) if _lives(one)]
                    if found:
                        self._chance.choice(found).kill()
                        return
                await asyncio.sleep(0.01)

    def _children(self, what: str) -> list[psutil.Process]:
        server = self._deployment.server
        if what == "worker":
            return server.workers()
        return [child for child in server.process.children() if "valkey" in child.name()]


def _lives(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)


@asynccontextmanager
async def deployed(
    folder: Path,
    postgres: PostgresServer,
    workers: int,
    namespaces: Mapping[str, Any],
    redis: Mapping[str, Any] | None = None,
) -> AsyncIterator[tuple[Deployment, dict[str, AuditedTable]]]:
    """A service with these namespaces, each over a table of its own name; of `versioned` ones with
    a version column."""
    tables = {
        name: AuditedTable(postgres, name, versioned=name.startswith("versioned"))
        for name in namespaces
    }
    for table in tables.values():
        await table.make()
    config = {
        "drain_timeout": "1s",  # of the workers of a supervisor that was killed
        "redis": redis or {"embedded": {"directory": str(folder / "valkey")}},
        "namespaces": {
            name: {"origin": {**tables[name].origin, "breaker": {"pause": "100ms"}}, **said}
            for name, said in namespaces.items()
        },
    }
    path = folder / "pantler.yaml"
    path.write_text(yaml.safe_dump(config))
    deployment = Deployment(path, workers)
    await deployment.start()
    try:
        yield deployment, tables
    finally:
        await deployment.stop()


async def flushed(writers: Writers) -> None:
    """Waits until nothing waits any more."""
    namespace = writers.namespace
    async with Client(writers.address, timeout=timedelta(seconds=10)) as client:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(Exception):
                    result = await client.flush_writes(namespace, timeout=timedelta(seconds=20))
                    if result.remaining == 0:
                        break
                await asyncio.sleep(0.1)


async def compare(writers: Writers, table: AuditedTable) -> str:
    """Compares what was acknowledged with the table, the dead writes and what is read now, and
    prints the figures; all that is known of what is wrong."""
    history = writers.history
    rows, changes = await table.rows(), await table.changes()
    history.check(rows, changes)
    async with Client(writers.address, timeout=timedelta(seconds=20)) as client:
        read = await client.get_records(table.name, history.writes)
        for key in history.writes:
            found = row_of(read[key].fields) if key in read else None
            if found != rows.get(key):
                history.complain(Problem.STALE, key, f"{found} is read, it is {rows.get(key)}")
        async for dead in client.list_dead_writes(table.name):
            history.complain(Problem.DEAD, dead.key, str(dead))
        backlog = await client.write_backlog(table.name)
    outcomes = ", ".join(f"{number} {outcome}" for outcome, number in history.outcomes.items())
    print(
        f"{table.name}: writes: {outcomes}; {writers.reads} reads, {len(changes)} changes of rows"
    )
    print(f"  answers: {dict(history.calls)}")
    assert backlog.pending == 0
    return history.told(rows, changes)


async def check(writers: Writers, table: AuditedTable) -> None:
    told = await compare(writers, table)
    if writers.history.problems:
        pytest.fail(told, pytrace=False)


WRITE_BEHIND = {"interval": "20ms", "batch_size": 20}
BEHIND = {"writes": "behind", "write_behind": WRITE_BEHIND, "partitions": 2}
FAILOVERS = 5
KILLS = {"worker": 50, "valkey": 30, "supervisor": 8, "postgres": 16}


async def test_nothing_acknowledged_is_lost_whatever_is_killed(tmp_path: Path) -> None:
    chance = seeded()
    began = time.monotonic()
    kills = [what for what, times in KILLS.items() for _ in range(times)]
    chance.shuffle(kills)
    namespaces = {"plain": BEHIND, "versioned": BEHIND}
    async with (
        PostgresServer(durable=True) as postgres,
        deployed(tmp_path, postgres, 2, namespaces) as (deployment, tables),
    ):
        chaos = Chaos(deployment, postgres, chance)
        async with AsyncExitStack() as stack:
            writing = [
                await stack.enter_async_context(Writers(deployment.address, name, chance))
                for name in namespaces
            ]
            for what in kills:
                if chance.random() < 0.7:  # else it follows the one before at once
                    await chance.choice(writing).until_acknowledged(chance.randint(1, 20))
                    await asyncio.sleep(chance.uniform(0.0, 0.05))
                await chaos.kill(what)
            await chaos.all_back()
            for writers in writing:
                await writers.until_acknowledged(20)
        print(dict(chaos.kills), f"{time.monotonic() - began:.0f} s")
        for writers in writing:
            await flushed(writers)
            await check(writers, tables[writers.namespace])
    assert chaos.kills.total() >= 100


async def test_nothing_is_lost_when_no_more_writes_may_wait(tmp_path: Path) -> None:
    chance = seeded()
    few = {**BEHIND, "write_behind": {**WRITE_BEHIND, "max_backlog": 200}}
    async with (
        PostgresServer() as postgres,
        deployed(tmp_path, postgres, 2, {"versioned": few}) as (deployment, tables),
    ):
        chaos = Chaos(deployment, postgres, chance)
        async with Writers(deployment.address, "versioned", chance) as writers:
            await writers.until_acknowledged(50)
            await postgres.kill()
            for what in ("worker", "valkey", "supervisor"):
                await writers.until_answered(FULL, 20)
                await chaos.kill(what)
            await postgres.start()
            await writers.until_acknowledged(100)
        await flushed(writers)
        await check(writers, tables["versioned"])


@pytest.mark.parametrize("replicas", [1, 2])
async def test_failovers_lose_no_write_that_all_replicas_had_to_have(
    tmp_path: Path, replicas: int
) -> None:
    """Of two replicas; the one that is promoted lacks what came last. So that is lost where one
    replica is enough."""
    chance = seeded()
    began = time.monotonic()
    behind = {"interval": "200ms", "batch_size": 20, "fsync": False, "replicas": replicas}
    namespaces = {"versioned": {**BEHIND, "write_behind": behind}}
    async with SentinelGroup(replicas=2) as group, PostgresServer() as postgres:
        redis = {"sentinel": {"nodes": group.addresses, "service": SERVICE}}
        async with deployed(tmp_path, postgres, 2, namespaces, redis) as (deployment, tables):
            async with Writers(deployment.address, "versioned", chance) as writers:
                for _ in range(FAILOVERS):
                    await writers.until_acknowledged(chance.randint(20, 60))
                    await fail_over(group, chance)
                await writers.until_acknowledged(20)
            await flushed(writers)
            told = await compare(writers, tables["versioned"])
    keys = {(problem, key) for problem, key, _ in writers.history.problems}
    problems = Counter(str(problem) for problem, _ in keys)
    print(f"replicas: {replicas}, {FAILOVERS} failovers, {time.monotonic() - began:.0f} s")
    print(f"  keys with problems, of {len(writers.history.writes)}: {dict(problems)}")
    if replicas == 2 and problems:
        pytest.fail(told, pytrace=False)


async def fail_over(group: SentinelGroup, chance: random.Random) -> None:
    """Kills the primary. A replica takes its place that has nothing of the last moment."""
    old = await group.primary()
    replicas = [server for server in group.servers if server is not old]
    preferred = chance.choice(replicas)
    for server in group.servers:
        priority = 1 if server is preferred else 100
        await server.execute("CONFIG", "SET", "replica-priority", priority)
    await asyncio.sleep(1)  # until the Sentinels have asked
    preferred.pause()
    # What was on its way to it would arrive when it goes on.
    await old.execute("CLIENT", "KILL", "TYPE", "replica")
    async with asyncio.timeout(PATIENCE_S):
        while (await old.execute("ROLE"))[2] == []:  # until the other one is back
            await asyncio.sleep(0.02)
    await asyncio.sleep(chance.uniform(0.1, 0.5))
    await old.kill()
    preferred.resume()
    await group.wait_for_new_primary(old, timeout_s=PATIENCE_S)
    await group.restart_dead()


async def test_workers_that_stood_still_change_nothing_when_they_go_on(tmp_path: Path) -> None:
    chance = seeded()
    namespaces = {"plain": BEHIND, "versioned": BEHIND}
    async with (
        PostgresServer() as postgres,
        deployed(tmp_path, postgres, 3, namespaces) as (deployment, tables),
    ):
        workers = deployment.server.workers()
        async with AsyncExitStack() as stack:
            writing = [
                await stack.enter_async_context(Writers(deployment.address, name, chance))
                for name in namespaces
            ]
            await writing[0].until_acknowledged(50)
            await asyncio.gather(*(stand_still(workers, chance) for _ in range(2)))
            for writers in writing:
                await writers.until_acknowledged(50)
        for writers in writing:
            await flushed(writers)
            await check(writers, tables[writers.namespace])


async def stand_still(workers: list[psutil.Process], chance: random.Random) -> None:
    """Workers, one after the other, and for longer than they own a log; one always goes on."""
    for _ in range(5):
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        worker = workers.pop(chance.randrange(len(workers)))
        worker.suspend()
        try:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * log_scripts.OWN_MS / 1000)
        finally:
            worker.resume()
            workers.append(worker)


THROUGH_KILLS = {"worker": 14, "valkey": 9, "supervisor": 2, "postgres": 6}


async def test_what_is_cached_is_what_the_table_has_whatever_is_killed(tmp_path: Path) -> None:
    """Under write-through. The embedded Valkey keeps nothing: with a file that it syncs each second
    it may come back with entries of a second ago."""
    chance = seeded()
    began = time.monotonic()
    kills = [what for what, times in THROUGH_KILLS.items() for _ in range(times)]
    chance.shuffle(kills)
    cached = 0
    async with (
        PostgresServer(durable=True) as postgres,
        deployed(tmp_path, postgres, 2, {"plain": {}}, {"embedded": {}}) as (deployment, tables),
    ):
        chaos = Chaos(deployment, postgres, chance)
        async with Writers(deployment.address, "plain", chance, once=False) as writers:
            for what in kills:
                await writers.until_acknowledged(chance.randint(1, 20))
                await asyncio.sleep(chance.uniform(0.0, 0.05))
                await chaos.kill(what)
                await chaos.all_back()
                await writers.pause()
                cached += await compare_cached(writers, tables["plain"])
                writers.go_on()
    assert chaos.kills.total() >= 30
    print(dict(chaos.kills), f"{cached} entries compared, {time.monotonic() - began:.0f} s")
    print(f"  answers: {dict(writers.history.calls)}")


async def compare_cached(writers: Writers, table: AuditedTable) -> int:
    """Compares what is cached, and what was acknowledged, with the table, while nobody writes; how
    many entries there were."""
    keys = list(writers.history.writes)
    async with Client(writers.address, timeout=timedelta(seconds=20)) as client:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    read = await client.get_records(table.name, keys)
                    break
                except pantler.PantlerError:
                    await asyncio.sleep(0.1)
    rows = await table.rows()
    history = writers.history
    cached = {key: record for key, record in read.items() if record.source == "cache"}
    for key, record in cached.items():
        if row_of(record.fields) != rows.get(key):
            history.complain(Problem.STALE, key, f"{record} is cached, it is {rows.get(key)}")
    for key, row in writers.known.items():
        if rows.get(key) != row:
            history.complain(Problem.LOST, key, f"it is {rows.get(key)}, not {row}")
    if history.problems:
        pytest.fail(history.told(rows, await table.changes()), pytrace=False)
    return len(cached)
