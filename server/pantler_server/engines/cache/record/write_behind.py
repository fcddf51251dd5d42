"""Writes that Redis has, safely, before they are acknowledged, and the origin later.

One script notes a write in the log of its partition and shows its result to readers (append.lua);
log_drain.py brings the log to the origin. A write that depends on what is there (INSERT, UPDATE)
looks first (base.py); the script refuses it if that has changed meanwhile, and it looks again.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

from pantler_server.core import canonical_json
from pantler_server.core.errors import (
    InternalError,
    OutcomeUnknown,
    PrimaryChanged,
    RecordChanged,
    RecordExists,
    RecordMissing,
    ServiceError,
    StoreUnavailable,
    WriteBacklogFull,
)
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.core.record import Operation, Record
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record import log_scripts
from pantler_server.engines.cache.record.base import Base, Bases
from pantler_server.engines.cache.record.durability import Safekeeping
from pantler_server.engines.cache.record.loading import negative_ttl_ms
from pantler_server.engines.cache.record.log_scripts import Append
from pantler_server.engines.cache.record.model import HELD_BACK, Durability, Put, Written
from pantler_server.engines.cache.ttl import jittered_ms
from pantler_server.origins.origin import Origin
from pantler_server.store import answers
from pantler_server.store.link import Reply
from pantler_server.store.request import Request
from pantler_server.store.store import Store

PAUSE_S = 0.02  # until a new primary is asked again, or a record that others keep writing

_LOWEST_STAND_IN = 1 << 52  # of 16 digits, as versions are until the year 2286

_EXISTED = {0: None, 1: False, 2: True}

Appended = Callable[[Namespace, Partition, int], None]
"""Told of a partition with a new write in its log, and of how many wait there."""


class _Item:
    """A write on its way into the log."""

    __slots__ = (
        "failed",
        "fields",
        "needs_base",
        "new",
        "outcome",
        "partition",
        "primary",
        "put",
        "reply",
    )

    def __init__(self, put: Put, partition: Partition) -> None:
        self.put = put
        self.partition = partition
        self.needs_base = put.operation in (Operation.INSERT, Operation.UPDATE)
        self.fields: Record = {}
        """As the origin gave them back."""
        self.new: Append | None = None
        self.reply: Reply = None
        """Of append.lua, once it is done."""
        self.primary = b""
        """The run id of the Redis that did it."""
        self.failed: ServiceError | None = None
        """Why the last attempt came to nothing; None: the record was changed meanwhile."""
        self.outcome: Written | ServiceError | None = None
        """None while it is on its way."""


class WriteBehind:
    """Deadlines are times of the event loop."""

    def __init__(
        self,
        store: Store,
        cache: CacheEngine,
        hot: HotKeys,
        bases: Bases,
        durability: Safekeeping,
        appended: Appended,
    ) -> None:
        self._store = store
        self._cache = cache
        self._hot = hot
        self._bases = bases
        self._durability = durability
        self._appended = appended
        self._loop = asyncio.get_running_loop()

    async def put(self, space: Namespace, origin: Origin, put: Put, deadline: float) -> Written:
        """Queues one write. One round trip for an UPSERT or DELETE, else those of `Bases.base` too,
        and a wait for durability.

        Raises InvalidFields, RecordExists, RecordMissing, RecordChanged, WriteBacklogFull,
        OriginNotReady, the StoreErrors, and what the origin raises of a load; OutcomeUnknown also
        if the write is queued, but not known to be as safe as the namespace asks for.
        """
        [outcome] = await self.put_many(space, origin, (put,), deadline)
        if isinstance(outcome, ServiceError):
            raise outcome
        return outcome

    async def put_many(
        self, space: Namespace, origin: Origin, puts: Sequence[Put], deadline: float
    ) -> list[Written | ServiceError]:
        """As `put` for many, side by side; those of one key one after the other, and none after one
        of unknown outcome. One pipeline for all that are the first of their keys, one for all the
        second, and so on."""
        items = [_Item(put, space.partition_of(put.key)) for put in puts]
        partitions = {item.partition for item in items}
        try:
            await self._durability.require(space, tuple(partitions), deadline)
        except ServiceError as error:
            return [error] * len(items)
        for item in items:
            await self._check(origin, item, deadline)
        while left := [item for item in items if item.reply is None and item.outcome is None]:
            if self._loop.time() >= deadline:
                for item in left:
                    item.outcome = item.failed or RecordChanged(item.put.key)
                break
            await self._append(space, origin, _first_of_each_key(left), deadline)
            self._hold_back(items)
        await self._acknowledge(space, items, deadline)
        return [item.outcome or _defect() for item in items]

    async def _check(self, origin: Origin, item: _Item, deadline: float) -> None:
        put = item.put
        try:
            if put.operation is Operation.DELETE:
                origin.check_key(put.key)
            else:
                item.fields = await origin.check(put.key, put.operation, put.fields, deadline)
        except ServiceError as error:
            item.outcome = error

    async def _append(
        self, space: Namespace, origin: Origin, items: Sequence[_Item], deadline: float
    ) -> None:
        """One attempt; those that must try again are left as they are."""
        looks = [self._look(space, origin, item, deadline) for item in items if item.needs_base]
        if looks:
            await asyncio.gather(*looks)
        ready: list[_Item] = []
        requests: list[Request] = []
        for item in items:
            if not item.needs_base:
                item.new = _new(origin, item, None)
            if item.new is None:  # `_look` has said why
                continue
            try:
                requests.append(await self._request(space, item, deadline))
                ready.append(item)
            except ServiceError as error:
                item.outcome = error
        for item in ready:
            self._cache.note_change(space, item.put.key)
        try:
            outcomes = await self._store.call_each(requests, deadline)
        finally:
            self._cache.forget(space, [item.put.key for item in ready])
        pauses = False
        for item, request, outcome in zip(ready, requests, outcomes, strict=True):
            if isinstance(outcome, PrimaryChanged):  # nothing was done: else it is OutcomeUnknown
                pauses, item.failed = True, outcome
            elif isinstance(outcome, ServiceError):
                item.outcome = outcome
            else:
                self._note(space, item, request.primary, outcome[0])
                if item.outcome is None and item.reply is None:
                    pauses, item.failed = True, None
            item.new = None
        if pauses:
            await asyncio.sleep(PAUSE_S)

    def _hold_back(self, items: Sequence[_Item]) -> None:
        """What comes after a write of unknown outcome might be overtaken by it."""
        unknown = {one.put.key for one in items if isinstance(one.outcome, OutcomeUnknown)}
        for item in items:
            if item.put.key in unknown and item.reply is None and item.outcome is None:
                item.outcome = StoreUnavailable(HELD_BACK, self._store.role)

    async def _look(self, space: Namespace, origin: Origin, item: _Item, deadline: float) -> None:
        """What the write makes of the record that is there, or why it can't."""
        put = item.put
        try:
            base = await self._bases.base(space, origin, put.key, deadline)
            if (base.record is None) is (put.operation is Operation.INSERT):
                item.new = _new(origin, item, base)
            elif not put.request_id or not await self._was_done(space, item, deadline):
                exists = put.operation is Operation.INSERT
                raise RecordExists(put.key) if exists else RecordMissing(put.key)
        except ServiceError as error:
            item.outcome = error

    async def _was_done(self, space: Namespace, item: _Item, deadline: float) -> bool:
        """Whether the write is a repeat, and what it finds there its own doing: the script is asked
        for the first answer then, whatever was seen."""
        put = item.put
        request = log_scripts.read_answer(space, put.key, put.request_id)
        [known] = await self._store.call(request, deadline)
        if known is not None:
            item.new = _append_of(item, b"", None, in_part=False, seen=b"?")
        return known is not None

    async def _request(self, space: Namespace, item: _Item, deadline: float) -> Request:
        new = item.new
        assert new is not None
        primary = await self._store.find_primary(item.partition.slot, deadline)
        ttl_ms = self._hot.ttl_ms(space, new.key) if new.record else negative_ttl_ms(space)
        ttl_ms = jittered_ms(space, ttl_ms)
        if len(new.record) > space.config.max_value_bytes:
            ttl_ms = 0  # readers take what is pending
        keep_ms = ttl_ms + space.grace_ms
        return log_scripts.append(space, new, item.partition, ttl_ms, keep_ms, primary)

    def _note(self, space: Namespace, item: _Item, primary: bytes, reply: Reply) -> None:
        """What append.lua has answered."""
        match reply[0]:
            case log_scripts.NOTED:
                item.reply, item.primary = reply, primary
                if reply[3]:
                    self._appended(space, item.partition, reply[3])
            case log_scripts.WRITTEN:
                _, version, existed, _ = reply
                item.outcome = Written(Durability.WRITTEN, version, _existed(item, existed))
            case log_scripts.REUSED:
                item.outcome = answers.reused()
            case log_scripts.FULL:
                item.outcome = WriteBacklogFull(space.name, space.config.write_behind.max_backlog)

    async def _acknowledge(self, space: Namespace, items: Sequence[_Item], deadline: float) -> None:
        """Once they are safe. A repeat waits again: the first may not have seen the end of it."""
        noted = [item for item in items if item.reply is not None]
        done = [(item.partition, item.primary) for item in noted]
        unmet = await self._durability.confirm(space, done, deadline)
        for item in noted:
            if item.primary in unmet:
                item.outcome = self._durability.unmet()
            else:
                _, version, existed, _ = item.reply
                item.outcome = Written(Durability.QUEUED, version, _existed(item, existed))


def _first_of_each_key(items: Sequence[_Item]) -> list[_Item]:
    """The others wait: any may have to try again, and none overtakes an earlier one of its key."""
    first: dict[str, _Item] = {}
    for item in items:
        first.setdefault(item.put.key, item)
    return list(first.values())


def _existed(item: _Item, code: int) -> bool | None:
    return _EXISTED[code] if item.put.operation is Operation.DELETE else None


def _new(origin: Origin, item: _Item, base: Base | None) -> Append:
    """What the write makes of what is there."""
    put = item.put
    if put.operation is Operation.DELETE:
        return _append_of(item, b"", None, in_part=False, seen=_seen(base))
    known = item.fields
    if put.operation is Operation.UPDATE:
        assert base is not None
        known = {**(base.record or {}), **item.fields}
    # The script gives the version: a number stands for it that is nowhere else in the record.
    stand_in = _LOWEST_STAND_IN + random.getrandbits(52)
    whole = origin.whole_record(put.key, known, stand_in)
    part = origin.part_of_record(put.key, known, stand_in) if whole is None else whole
    record = canonical_json.encode(part)
    found = record.find(b"%d" % stand_in)
    version_at = None if found < 0 else found
    return _append_of(item, record, version_at, in_part=whole is None, seen=_seen(base))


def _append_of(
    item: _Item, record: bytes, version_at: int | None, *, in_part: bool, seen: bytes
) -> Append:
    put = item.put
    fields = b"{}" if put.operation is Operation.DELETE else canonical_json.encode(item.fields)
    fingerprint = b""
    if put.request_id:
        said = (str(put.operation.value), canonical_json.encode(put.fields))
        fingerprint = answers.fingerprint(*said)
    return Append(
        put.key,
        put.operation,
        fields,
        record,
        version_at,
        in_part,
        seen,
        put.request_id,
        fingerprint,
    )


def _seen(base: Base | None) -> bytes:
    """As append.lua takes it."""
    if base is None:
        return b""
    if base.pending:
        return b"p" + base.pending
    if base.entry_version:
        return b"e" + base.entry_version.to_bytes(8, "little")
    return b"n"


def _defect() -> InternalError:
    return InternalError("a write came to nothing; this is a defect")
