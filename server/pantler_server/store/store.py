"""What engines see of Redis: requests in, replies or a ServiceError out.

Routing, redirections, retries and the mapping of every driver error happen here, once. A read is
repeated within its deadline when its connection is lost. A write is repeated only when it certainly
did not reach Redis; otherwise it fails with OutcomeUnknown, and the caller decides.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple

import structlog
from redis.crc import key_slot

from pantler_server.core import background
from pantler_server.core.errors import (
    InternalError,
    OutcomeUnknown,
    PrimaryChanged,
    ServiceError,
    StoreOutOfMemory,
    StoreUnavailable,
    WrongKind,
)
from pantler_server.store.connect import CONNECT_ERRORS, Address
from pantler_server.store.link import Link, LinkLost, LinkTimeout, Reply, ReplyError, ReplyFailed
from pantler_server.store.replication import Replication, Safety, Written
from pantler_server.store.request import Request, pack
from pantler_server.store.topology import RedisTopology

QUICK_ATTEMPTS = 3  # redirections that are followed at once: NOSCRIPT, then MOVED, then ASK
PAUSE_S = 0.01  # between further ones, while a slot is half moved; the deadline ends the chase

# Codes with which a server says that it did nothing, because it can't serve now …
NOT_NOW = frozenset(
    {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "READONLY"}
)
# … or because it does not let this worker in.
REFUSED = frozenset({"NOAUTH", "NOPERM", "WRONGPASS"})
_ASKING = pack("ASKING")
_PING = pack("PING")

_Failure = LinkLost | ReplyFailed

Welcome = Callable[[int, Link], Awaitable[None]]
"""Told of a slot and of a link to its new primary, which serves it once this has returned. LinkLost
and ReplyFailed say that it can't yet."""

log = structlog.get_logger(__name__)


class Scanned(NamedTuple):
    """A step of a walk over all keys."""

    keys: list[bytes]
    scanned: int
    """About how many keys were looked at."""


class Store:
    """One role's Redis (`cache` or `state`), whatever its topology. Deadlines are loop times.

    `welcome`, if set, comes before the first request of a slot to another primary than the last.
    """

    def __init__(self, role: str, topology: RedisTopology, command_timeout_s: float) -> None:
        self.role = role
        self.topology = topology
        self.timeout_s = command_timeout_s
        self.welcome: Welcome | None = None
        self._loop = asyncio.get_running_loop()
        self._serving: dict[int, bytes] = {}  # the run id of the primary of each slot in use
        self._welcomes: dict[int, asyncio.Task[None]] = {}
        self._replication = Replication(topology, command_timeout_s)

    async def start(self) -> None:
        """Connects, and waits for the first attempt at each primary. Redis may be away."""
        await self.topology.start()
        deadline = self._loop.time() + self.timeout_s
        for node in self.topology.primaries():
            await node.wait_connected(deadline)

    async def stop(self) -> None:
        await background.stop(tuple(self._welcomes.values()))
        await self._replication.stop()
        await self.topology.stop()

    @property
    def available(self) -> bool:
        """Whether every primary is connected and answers."""
        primaries = self.topology.primaries()
        return bool(primaries) and all(node.available for node in primaries)

    @staticmethod
    def slot_of(key: str | bytes) -> int:
        """The slot of a key or of a hash tag."""
        slot: int = key_slot(key.encode() if isinstance(key, str) else key)
        return slot

    async def call(
        self, request: Request, deadline: float, *, replica: bool = False, joins: bool = False
    ) -> list[Reply]:
        """A reply for each command. With `replica`, a server that may be behind may answer. With
        `joins`, as `Link.submit_read` has it.

        Raises StoreUnavailable (of it PrimaryChanged where the request is for one server only),
        OutcomeUnknown, StoreOutOfMemory, WrongKind, InternalError.
        """
        try:
            link = self._link(request, replica)
            if self._serving.get(request.slot) != link.run_id and not replica:
                link = await self._welcomed(request.slot, link, deadline)
            limit = self._limit(deadline)
            answer = self._send(request, link, request.commands, limit, joins=joins)
            if replica:
                request.primary = self.primary_run_id(request.slot)
            return await answer
        except (LinkLost, ReplyFailed) as failure:
            return await self._recover(request, deadline, failure)

    async def call_each(
        self, requests: Sequence[Request], deadline: float, *, replica: bool = False
    ) -> list[list[Reply] | ServiceError]:
        """As `call` for many requests at once, each with an outcome of its own.

        They leave in one write to each server and take effect there in their order.
        """
        if len(requests) == 1:
            try:
                return [await self.call(requests[0], deadline, replica=replica)]
            except ServiceError as error:
                return [error]
        if not replica:
            await self._welcome_all({request.slot for request in requests}, deadline)
        limit = self._limit(deadline)
        links: dict[int, Link] = {}  # one for each slot, so that the order holds
        answers: list[asyncio.Future[list[Reply]] | LinkLost | ServiceError] = []
        for request in requests:
            try:
                link = links.get(request.slot)
                if link is None:
                    link = links[request.slot] = self._link(request, replica)
                if self._serving.get(request.slot) != link.run_id and not replica:
                    raise self._unavailable()  # it was not to be welcomed
                answers.append(self._send(request, link, request.commands, limit))
                if replica:
                    request.primary = self.primary_run_id(request.slot)
            except (LinkLost, StoreUnavailable) as failure:
                answers.append(failure)
        outcomes: list[list[Reply] | ServiceError] = []
        failed: dict[int, list[tuple[int, _Failure]]] = {}  # by slot, each with its index
        try:
            for index, (request, answer) in enumerate(zip(requests, answers, strict=True)):
                try:
                    if isinstance(answer, LinkLost):
                        raise answer
                    outcomes.append(answer if isinstance(answer, ServiceError) else await answer)
                except (LinkLost, ReplyFailed) as failure:
                    failed.setdefault(request.slot, []).append((index, failure))
                    outcomes.append([])
        finally:
            for answer in answers[len(outcomes) :]:  # cancelled: nobody waits for the rest
                if isinstance(answer, asyncio.Future) and not answer.cancel():
                    answer.exception()  # else the log has it as never retrieved

        if failed:  # side by side: a server that does not answer holds up the others' once
            recovering = (self._recover_slot(requests, one, deadline) for one in failed.values())
            for recovered in await asyncio.gather(*recovering):
                for index, outcome in recovered:
                    outcomes[index] = outcome
        return outcomes

    async def _recover_slot(
        self, requests: Sequence[Request], failed: Iterable[tuple[int, _Failure]], deadline: float
    ) -> list[tuple[int, list[Reply] | ServiceError]]:
        """As `_recover`, for requests of one slot in their order, with their indexes."""
        outcomes: list[tuple[int, list[Reply] | ServiceError]] = []
        for index, failure in failed:
            try:
                outcomes.append((index, await self._recover(requests[index], deadline, failure)))
            except ServiceError as error:
                outcomes.append((index, error))
        return outcomes

    async def ask_primaries(
        self, commands: Sequence[bytes], deadline: float
    ) -> list[tuple[Link, list[Reply]]]:
        """The replies of every primary to commands that concern no key, with the link to ask on.

        Raises StoreUnavailable if one of them can't be reached.
        """
        answers: list[tuple[Link, list[Reply]]] = []
        try:
            for node in self.topology.primaries():
                link = node.pick()
                if link is None:
                    raise LinkLost("not connected", sent=False)
                answers.append((link, await link.submit(commands, self._limit(deadline))))
        except (LinkLost, ReplyFailed) as exc:
            raise self._unavailable() from exc
        return answers

    async def count_keys(self, deadline: float) -> int:
        """Of all primaries together. Raises StoreUnavailable."""
        answers = await self.ask_primaries((pack("DBSIZE"),), deadline)
        return sum(int(count) for _, [count] in answers)

    async def scan(self, pattern: bytes, at_once: int) -> AsyncIterator[Scanned]:
        """The keys of all primaries that match a pattern of Redis, about so many looked at in a
        step; each that is there all the time comes at least once. Raises StoreUnavailable, also if
        the primaries have changed meanwhile."""
        links = [link for link, _ in await self.ask_primaries((_PING,), self._soon())]
        for link in links:
            cursor = b"0"
            while True:
                command = pack("SCAN", cursor, "MATCH", pattern, "COUNT", at_once)
                try:
                    [[cursor, keys]] = await link.submit((command,), self._soon())
                except (LinkLost, ReplyFailed) as exc:
                    raise self._unavailable() from exc
                yield Scanned(keys, at_once)
                if cursor == b"0":
                    break
        now = [link for link, _ in await self.ask_primaries((_PING,), self._soon())]
        if {link.run_id for link in now} != {link.run_id for link in links}:
            raise self._unavailable()

    def heard(self, slot: int) -> int | None:
        """A number that grows whenever the primary of a slot sends something; None while there is
        no connection to it."""
        node = self.topology.primary(slot)
        link = None if node is None else node.pick()
        return None if link is None else link.heard

    def primary_run_id(self, slot: int) -> bytes:
        """Of the primary of a slot; empty while it is not connected."""
        node = self.topology.primary(slot)
        link = None if node is None else node.pick()
        return b"" if link is None else link.run_id

    async def find_primary(self, slot: int, deadline: float) -> bytes:
        """As `primary_run_id`, waiting for its connection. No round trip while there is one. Raises
        StoreUnavailable."""
        known = self.primary_run_id(slot)
        if known:
            return known
        request = Request(slot, (_PING,), "PING", repeatable=True, writes=False)
        await self.call(request, deadline)
        return request.primary

    async def settle(self, slots: Iterable[int], deadline: float) -> None:
        """Welcomes the primaries of slots, where they have changed, without another request."""
        await self._welcome_all(set(slots), deadline)

    async def wait_for_replicas(
        self, written: Iterable[Written], wanted: int, deadline: float
    ) -> int:
        """Waits until so many replicas have what was written; how many have, at the primary with
        the fewest. Raises StoreUnavailable, also if one is no longer the primary."""
        safety = Safety(fsync=False, replicas=wanted)
        return (await self.wait_until_safe(written, safety, self._limit(deadline))).replicas

    async def wait_until_safe(
        self, written: Iterable[Written], wanted: Safety, deadline: float
    ) -> Safety:
        """Waits until what was written is on the primary's disk, or at so many replicas; where it
        is everywhere when that is so, or at the deadline. Raises StoreUnavailable, also if one is
        no longer the primary."""
        try:
            return await self._replication.wait(written, wanted, deadline)
        except (LinkLost, ReplyFailed, *CONNECT_ERRORS) as exc:
            raise self._unavailable() from exc

    async def _welcome_all(self, slots: Iterable[int], deadline: float) -> None:
        """What can't be welcomed is left as it is."""
        new: list[Awaitable[Link]] = []
        for slot in slots:
            node = self.topology.primary(slot)
            link = None if node is None else node.pick()
            if link is not None and self._serving.get(slot) != link.run_id:
                new.append(self._welcomed(slot, link, deadline))
        if new:
            await asyncio.gather(*new, return_exceptions=True)

    async def _welcomed(self, slot: int, link: Link, deadline: float) -> Link:
        """The link, once its server may serve the slot."""
        while (known := self._serving.get(slot)) != link.run_id:
            if known is None or self.welcome is None:
                self._serving[slot] = link.run_id
                break
            task = self._welcomes.get(slot)
            if task is None:
                work = self._do_welcome(self.welcome, slot, link)
                task = self._welcomes[slot] = asyncio.create_task(work)
                task.add_done_callback(lambda _: self._welcomes.pop(slot))
                task.add_done_callback(background.see)
            try:
                async with asyncio.timeout_at(self._limit(deadline)):
                    await asyncio.shield(task)
            except (LinkLost, ReplyFailed, TimeoutError) as exc:
                raise self._unavailable() from exc
        return link

    async def _do_welcome(self, welcome: Welcome, slot: int, link: Link) -> None:
        await welcome(slot, link)
        self._serving[slot] = link.run_id

    def _soon(self) -> float:
        return self._loop.time() + self.timeout_s

    def _limit(self, deadline: float) -> float:
        return min(deadline, self._loop.time() + self.timeout_s)

    def _send(
        self,
        request: Request,
        link: Link,
        commands: Sequence[bytes],
        limit: float,
        *,
        joins: bool = False,
    ) -> asyncio.Future[list[Reply]]:
        run_id = link.run_id
        if request.only_on and request.only_on != run_id:
            raise PrimaryChanged("another Redis is the primary now; nothing was done", self.role)
        request.primary = run_id
        return link.submit_read(commands, limit) if joins else link.submit(commands, limit)

    def _link(self, request: Request, replica: bool = False) -> Link:
        node = self.topology.replica(request.slot) if replica else None
        node = node or self.topology.primary(request.slot)
        if node is not None and (link := node.pick()) is not None:
            return link
        raise LinkLost("not connected", sent=False)

    async def _recover(self, request: Request, deadline: float, failure: _Failure) -> list[Reply]:
        """Does again what can be done again; raises the ServiceError that says what happened."""
        sent = False  # a write that may have reached Redis
        for attempt in count():
            if attempt >= QUICK_ATTEMPTS:
                if self._loop.time() + PAUSE_S >= deadline:
                    break
                await asyncio.sleep(PAUSE_S)
            try:
                if isinstance(failure, LinkLost):
                    sent |= failure.sent and request.writes
                    return await self._repeat(request, failure, deadline)
                return await self._redirect(request, failure, deadline)
            except (LinkLost, ReplyFailed) as again:
                failure = again
            except StoreUnavailable as away:  # PrimaryChanged, say: the former may have done it
                if sent:
                    raise self._outcome_unknown() from away
                raise
        raise (self._outcome_unknown() if sent else self._unavailable()) from failure

    async def _repeat(self, request: Request, lost: LinkLost, deadline: float) -> list[Reply]:
        """Sends a request again whose connection was lost, if that does no harm."""
        self.topology.suspect()
        if lost.sent and not request.repeatable:
            raise self._outcome_unknown() from lost
        node = self.topology.primary(request.slot)
        if (
            isinstance(lost, LinkTimeout)
            or node is None
            or not await node.wait_connected(self._limit(deadline))
        ):
            raise self._unavailable() from lost
        link = await self._welcomed(request.slot, self._link(request), deadline)
        return await self._send(request, link, request.commands, self._limit(deadline))

    async def _redirect(
        self, request: Request, failed: ReplyFailed, deadline: float
    ) -> list[Reply]:
        """Sends a request again, as the error that a server answered with says."""
        error = next(reply for reply in failed.replies if isinstance(reply, ReplyError))
        limit = self._limit(deadline)
        match error.code:
            case "NOSCRIPT":
                link = await self._welcomed(request.slot, self._link(request), deadline)
                return await self._send(request, link, request.whole(), limit)
            case "MOVED":
                self.topology.suspect()
                link = await self._welcomed(
                    request.slot, await self._named_in(error, limit), deadline
                )
                return await self._send(request, link, request.whole(), limit)
            case "ASK":
                link = await self._named_in(error, limit)
                asking = [part for command in request.whole() for part in (_ASKING, command)]
                return (await self._send(request, link, asking, limit))[1::2]
            case "TRYAGAIN":  # some of the keys are here and some are not
                link = await self._welcomed(request.slot, self._link(request), deadline)
                return await self._send(request, link, request.commands, limit)
        raise self._service_error(error, request) from failed

    async def _named_in(self, error: ReplyError, limit: float) -> Link:
        """A link to the server that `MOVED 3999 127.0.0.1:6381` names."""
        node = self.topology.redirected(Address.parse(str(error).split(" ")[2]))
        if node is not None:
            await node.wait_connected(limit)
        link = None if node is None else node.pick()
        if link is None:
            raise self._unavailable() from error
        return link

    def _service_error(self, error: ReplyError, request: Request) -> ServiceError:
        """What callers are told of an error reply; its text stays here, in the log."""
        if error.code == "WRONGTYPE":
            return WrongKind(request.subject)
        if error.code == "OOM":
            return StoreOutOfMemory("Redis is at its memory limit; nothing was stored", self.role)
        log.warning("redis error", role=self.role, subject=request.subject, error=str(error))
        if error.code in NOT_NOW:
            self.topology.suspect()
            return self._unavailable()
        if error.code in REFUSED:
            return self._unavailable()
        return InternalError("Redis answered with an unexpected error; the log has it")

    def _outcome_unknown(self) -> OutcomeUnknown:
        return OutcomeUnknown(
            "Redis did not answer in time, or went away: the write took effect, or it did not; "
            "repeat it with its request id, or if twice does no harm",
            self.role,
        )

    def _unavailable(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the {self.role} Redis can't be reached now; nothing was done", self.role
        )
