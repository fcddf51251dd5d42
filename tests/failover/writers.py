"""Callers who write records through the Python client, whatever happens to the server, and who note
what they were told."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from itertools import count
from typing import Any, Self

import grpc.aio
import pantler

from tests.failover.audited_table import Row
from tests.failover.write_history import COLUMNS, History, Kind, Outcome, Problem, Write

CALL_TIMEOUT = timedelta(seconds=2)  # of a call with its repeats
AGAIN_S = 0.05
FULL = "WRITE_BACKLOG_FULL"
KINDS: Sequence[Kind] = ("insert", "update", "update", "upsert", "upsert", "delete")

_numbers = count()


class Client(pantler.AsyncClient):
    """One with a connection of its own, and so perhaps to another worker than others have."""

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        options = (
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 300),
        )
        return grpc.aio.insecure_channel(self._address, options=options)


class Writers:
    """Writes in a namespace, until the block ends: `own` callers each to keys of their own, which
    know what every record is; `contending` callers to the same few keys; `batching` ones to keys of
    their own and to those, in batches. All but the last repeat a write until its outcome is known;
    the contending ones give up now and then. `once`: a repeat never does again what was done."""

    def __init__(
        self,
        address: str,
        namespace: str,
        chance: random.Random,
        *,
        own: int = 3,
        contending: int = 2,
        batching: int = 1,
        once: bool = True,
    ) -> None:
        self.history = History()
        self.known: dict[str, Row | None] = {}
        """What each record is of those keys that have one caller."""
        self.namespace = namespace
        self.address = address
        self._chance = chance
        self._once = once
        self._runs = [
            *(self._write_own for _ in range(own)),
            *(self._contend for _ in range(contending)),
            *(self._write_batches for _ in range(batching)),
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = False
        self._may_go = asyncio.Event()
        self._may_go.set()
        self._under_way = 0
        self.reads = 0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(run)) for run in self._runs]
        return self

    async def __aexit__(self, kind: object, *error: object) -> None:
        self._stop = True
        self._may_go.set()
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=kind is not None)

    async def until_acknowledged(self, more: int, timeout_s: float = 60.0) -> None:
        """Waits for so many more writes."""
        reached = self.history.acknowledged + more
        await self.until(lambda: self.history.acknowledged >= reached, timeout_s)

    async def until_answered(self, answer: str, more: int, timeout_s: float = 60.0) -> None:
        """Waits for so many more answers of a kind."""
        reached = self.history.calls[answer] + more
        await self.until(lambda: self.history.calls[answer] >= reached, timeout_s)

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_so():
                    for task in self._tasks:
                        if task.done():
                            task.result()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"no more writes: {self.history.calls}") from None

    async def pause(self, timeout_s: float = 60.0) -> None:
        """Waits until no call is under way; none begins until `go_on`."""
        self._may_go.clear()
        async with asyncio.timeout(timeout_s):
            while self._under_way:
                await asyncio.sleep(0.01)

    def go_on(self) -> None:
        self._may_go.set()

    async def _run(self, write: Callable[[Client, str], Awaitable[None]]) -> None:
        name = f"c{next(_numbers)}"
        async with Client(self.address, timeout=CALL_TIMEOUT) as client:
            self._under_way += 1
            try:
                await write(client, name)
            finally:
                self._under_way -= 1

    async def _rest(self) -> None:
        """Between two writes."""
        self._under_way -= 1
        await asyncio.sleep(self._chance.uniform(0.0, 0.06))
        await self._may_go.wait()
        self._under_way += 1

    async def _write_own(self, client: Client, name: str) -> None:
        """Knows what is there, and so what each write must come to."""
        numbers = count()
        keys = [f"{name}:{next(numbers)}" for _ in range(3)]
        self.known |= dict.fromkeys(keys)
        while not self._stop:
            key = self._chance.choice(keys)
            row = self.known[key]
            write = self._new(key)
            await self._send(client, write)
            is_known = write.outcome is not Outcome.UNKNOWN
            if write.outcome is Outcome.ACKNOWLEDGED and not write.fits(row):
                self.history.complain(Problem.LOST, key, f"{write} on {row}")
                is_known = False
            elif write.outcome is Outcome.ACKNOWLEDGED:
                self.known[key] = write.on(row)
                if self._once and self._chance.random() < 0.1:
                    await self._send(client, write)
            elif write.fits(row) and write.answers[-1] != FULL:
                if self._once:
                    self.history.complain(Problem.LOST, key, f"{write} on {row}")
                is_known = False
            if is_known and self._chance.random() < 0.3:
                await self._read(client, key, self.known[key])
            elif not is_known:  # refused, say, where an earlier attempt may have done it
                keys.remove(key)
                del self.known[key]
                keys.append(f"{name}:{next(numbers)}")
                self.known[keys[-1]] = None
            await self._rest()

    async def _read(self, client: Client, key: str, row: Row | None) -> None:
        try:
            record = await client.get_record(self.namespace, key)
        except pantler.PantlerError as error:
            self.history.calls[f"read {_name(error)}"] += 1
            return
        self.reads += 1
        found = None if record is None else row_of(record.fields)
        if found != row and not (record and record.stale):
            self.history.complain(Problem.LOST, key, f"{record} was read, instead of {row}")

    async def _contend(self, client: Client, _: str) -> None:
        while not self._stop:
            write = self._new(f"shared:{self._chance.randrange(4)}")
            await self._send(client, write, gives_up=self._chance.random() < 0.2)
            await self._rest()

    async def _write_batches(self, client: Client, name: str) -> None:
        while not self._stop:
            kind: Kind = self._chance.choice(["insert", "update", "upsert", "upsert"])
            numbers = self._chance.sample(range(30), self._chance.randint(2, 12))
            keys = [f"{name}:{one}" if one > 1 else f"shared:{one}" for one in numbers]
            writes = {key: self._new(key, kind) for key in keys}
            records = {key: write.fields for key, write in writes.items()}
            results: Mapping[str, Any] = {}
            errors: Mapping[str, pantler.PantlerError] = {}
            try:
                results = await client.put_records(self.namespace, records, operation=_put(kind))
            except pantler.PartialFailure as failure:
                results, errors = failure.results, failure.errors
            except pantler.PantlerError as error:
                errors = dict.fromkeys(writes, error)
            for key, write in writes.items():
                if key in results:
                    self._acknowledge(write, results[key].version)
                else:
                    self.history.answered(write, _name(errors[key]), _outcome(errors[key]))
            if errors:
                await asyncio.sleep(5 * AGAIN_S)
            await self._rest()

    def _new(self, key: str, kind: Kind | None = None) -> Write:
        chosen = self._chance.choice(KINDS) if kind is None else kind
        columns = (self._chance.choice(COLUMNS),) if chosen == "update" else COLUMNS
        return self.history.write(key, chosen, columns)

    async def _send(self, client: Client, write: Write, *, gives_up: bool = False) -> None:
        """Until what it came to is known, or its caller gives up."""
        while True:
            try:
                if write.kind == "delete":
                    deleted = await client.delete_record(
                        self.namespace, write.key, request_id=write.request_id
                    )
                    version = deleted.version
                else:
                    put = await client.put_record(
                        self.namespace,
                        write.key,
                        write.fields,
                        operation=write.kind,
                        request_id=write.request_id,
                    )
                    version = put.version
            except pantler.PantlerError as error:
                outcome = _outcome(error)
                self.history.answered(write, _name(error), outcome)
                if outcome is Outcome.REFUSED or gives_up:
                    return
                await asyncio.sleep(AGAIN_S)
            else:
                self._acknowledge(write, version)
                return

    def _acknowledge(self, write: Write, version: int) -> None:
        self.history.answered(write, "acknowledged", Outcome.ACKNOWLEDGED, version)


def row_of(record: Mapping[str, Any]) -> Row:
    return Row(record["number"], record["a"], record["b"])


def _put(kind: Kind) -> Any:
    return kind


def _name(error: pantler.PantlerError) -> str:
    """The reason, with the message where that should not be."""
    reason = error.reason.removeprefix("ERROR_REASON_") or type(error).__name__
    if isinstance(error, pantler.FailedPrecondition) or type(error) is pantler.PantlerError:
        return f"{reason}: {error}"
    return reason


def _outcome(error: pantler.PantlerError) -> Outcome:
    """Of a write that failed so, having perhaps been sent before."""
    refusals = (pantler.RecordExists, pantler.RecordMissing, pantler.WriteBacklogFull)
    if isinstance(error, refusals):
        return Outcome.REFUSED
    if isinstance(error, pantler.InternalError) and error.reason:
        raise error
    return Outcome.UNKNOWN
