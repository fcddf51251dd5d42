"""The cache engine against a model of its contract (proto/pantler/v1/cache.proto): whatever callers
do, in whatever order and through whichever worker, each answer is one that the model allows.

Redis's clock is this machine's, so an answer is judged by two readings of it, before the call and
after it. What ends between the two may be said to be over or not; all else is judged strictly.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from pantler_server.core.config import NamespaceConfig
from pantler_server.core.errors import LeaseLost
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import fill_token
from pantler_server.engines.cache.model import Condition, Hit, Miss, MissReason

from tests.engines.caller import CONDITION_NOT_MET, FILL_LOST, STORED, Caller, lease_token
from tests.engines.machine import (
    GRAIN_US,
    Call,
    Calls,
    Machine,
    Moment,
    Worker,
    clock_us,
    own_loop,
    run_machine,
    two_workers,
)
from tests.servers.valkey import ValkeyServer

SHORT_MS = 10  # a ttl whose end `wait` waits for, and that a few calls outlast without it
LONG_MS = 600_000  # a ttl whose end no example sees; the longest of a lease
NO_VERSION = 1  # of 2**63 versions, one that no entry will have

AT_ONCE = 1e-9  # a refresh ratio: the next read finds the refresh due
NEVER = 1.0
HOUR = timedelta(hours=1)
NAMESPACES = {
    "plain": NamespaceConfig(refresh_ratio=NEVER),
    "refreshed": NamespaceConfig(refresh_ratio=AT_ONCE),
    "graced": NamespaceConfig(refresh_ratio=NEVER, stale_while_revalidate=HOUR),
    "guarded": NamespaceConfig(refresh_ratio=AT_ONCE, stale_if_error=HOUR),
}
KEYS = ("a", "b")

call = Calls()


@dataclass(frozen=True)
class Entry:
    """What was stored last, if it was not deleted since."""

    value: bytes
    version: int
    created_us: range
    expires_us: int


@dataclass(frozen=True)
class Lease:
    """What was given last, if nothing but time can have ended it since."""

    id: bytes
    holder: str
    granted_us: range
    expires_us: int


@dataclass(frozen=True)
class Read:
    """A read that gave a token."""

    token: str
    began_us: range
    changes: int
    """How often the key had been changed."""
    lease_id: bytes | None


@dataclass
class Key:
    """What became of a key, and what is true of it at a moment: a set of one answer, or of both
    where something ends in that moment."""

    space: Namespace
    entry: Entry | None = None
    lease: Lease | None = None
    changes: int = 0
    """How often it was set or deleted."""
    failed_version: int = 0
    """Of the entry that the holder of a lease failed to fetch anew."""
    versions: list[int] = field(default_factory=list)
    """All that it had."""
    lease_ids: set[bytes] = field(default_factory=set)
    """Those of all leases that were given."""
    reads: list[Read] = field(default_factory=list)

    def fresh(self, moment: Moment) -> set[bool]:
        """Whether a Get gives an entry to those who accept no stale one."""
        return {False} if self.entry is None else moment.precedes(self.entry.expires_us)

    def met(self, condition: Condition | int | None, moment: Moment) -> set[bool]:
        """Whether a condition holds."""
        match condition:
            case None:
                return {True}
            case Condition.PRESENT:
                return self.fresh(moment)
            case Condition.ABSENT:
                return {not fresh for fresh in self.fresh(moment)}
            case version:
                same = self.entry is not None and self.entry.version == version
                return {fresh and same for fresh in self.fresh(moment)}

    def leased(self, moment: Moment) -> set[bool]:
        """Whether somebody holds the lease."""
        return {False} if self.lease is None else moment.precedes(self.lease.expires_us)

    def held(self, lease_id: bytes, moment: Moment) -> set[bool]:
        """Whether somebody holds this very lease."""
        same = self.lease is not None and self.lease.id == lease_id
        return {leased and same for leased in self.leased(moment)}

    def lost(self, read: Read | None, moment: Moment) -> set[bool]:
        """Whether a fill that began with the read is refused."""
        if read is None:
            return {False}
        if read.lease_id is not None:
            return {not held for held in self.held(read.lease_id, moment)}
        return {read.changes != self.changes}

    def failed(self) -> bool:
        """Whether a holder of the lease could not fetch the entry anew. That is remembered for
        10 s: longer than an example takes."""
        return self.entry is not None and self.entry.version == self.failed_version

    def gives_stale(self) -> bool:
        """Whether the entry is for those who accept stale ones, when it has expired."""
        if self.failed() and self.space.grace_ms:
            return True
        return self.entry is not None and self.space.stale_while_revalidate_ms > 0

    def offers_lease(self, found: Hit | Miss, moment: Moment) -> set[bool]:
        """Whether one of those who ask for the lease gets it: not with an entry whose fetch has
        failed lately."""
        if isinstance(found, Hit) and self.failed():
            return {False}
        if not is_fresh(found):
            return {True}
        # It may be gone before its refresh is offered.
        refreshed = self.space.config.refresh_ratio == AT_ONCE
        return {fresh and refreshed for fresh in self.fresh(moment)}

    def miss_reasons(self) -> set[MissReason]:
        """Why a Get may say that it gives nothing."""
        if self.entry is None:
            return {MissReason.UNKNOWN}
        if self.space.grace_ms:
            return {MissReason.EXPIRED}
        return {MissReason.EXPIRED, MissReason.UNKNOWN}  # Redis is about to drop it, or has

    def judge_read(self, found: Hit | Miss, moment: Moment, accept_stale: bool) -> None:
        """What a Get gives, but for the lease."""
        assert is_fresh(found) in self.fresh(moment)
        if isinstance(found, Hit):
            assert self.entry is not None
            assert (found.value, found.version) == (self.entry.value, self.entry.version)
            assert found.created_us in self.entry.created_us
            assert found.expires_us == self.entry.expires_us
        else:
            assert found.reason in self.miss_reasons()
        if not is_fresh(found):
            assert isinstance(found, Hit) == (accept_stale and self.gives_stale())
        assert bool(found.fill_token) == (not is_fresh(found) or found.lease is not None)

    def judge_lease(self, given: Lease, moment: Moment) -> Lease:
        """The lease that a Get gives: a new one, or for its holder the same again."""
        if self.lease is not None and self.lease.id == given.id:
            assert True in self.leased(moment)
            assert self.lease.holder == given.holder
            assert self.lease.expires_us == given.expires_us
            return self.lease
        assert False in self.leased(moment)
        assert given.id not in self.lease_ids
        self.lease_ids.add(given.id)
        self.lease = given
        return given

    def change(self, entry: Entry | None) -> None:
        """It was set or deleted."""
        self.entry, self.lease = entry, None
        self.changes += 1

    def version(self, age: int) -> int:
        """The version of the last Set for 1, of the one before it for 2."""
        return self.versions[-age] if age <= len(self.versions) else NO_VERSION

    def read(self, age: int, *, leased: bool = False) -> Read | None:
        """The last read that gave a token for 1, the one before it for 2; `leased`: of those that
        gave a lease."""
        reads = [read for read in self.reads if read.lease_id is not None or not leased]
        return reads[-age] if age <= len(reads) else None


def is_fresh(found: Hit | Miss) -> bool:
    return isinstance(found, Hit) and not found.stale


BY = st.sampled_from([0, 1])  # the first caller or the second
KEY = st.sampled_from(["a", "a", "a", "b"])  # most meet on one
MOSTLY = st.sampled_from([True, True, True, False])
TTL_MS = st.sampled_from([SHORT_MS, LONG_MS])
HOLDER = st.sampled_from(["one", "other"])
AGE = st.sampled_from([1, 1, 2, 3])  # as `Key.version` and `Key.read` have it
CONDITION = st.none() | st.sampled_from([*Condition, 1, 2])  # a number is the age of a version


class CacheMachine(Machine):
    """Two callers, at one worker or at two, in a namespace that nobody has used."""

    soon_us = 0  # the end of what was given a short ttl last

    @initialize(kind=st.sampled_from(sorted(NAMESPACES)))
    def open(self, kind: str) -> None:
        self.callers = self.meet(NAMESPACES[kind])
        self.keys = {key: Key(self.callers[0].space) for key in KEYS}

    @rule(call=call.any())
    def do(self, call: Call) -> None:
        call.method(self, **call.arguments)

    @call()
    def wait(self) -> None:
        """Until all is over that had a short ttl, even if it was given another since."""
        self.loop.run_until_complete(
            asyncio.sleep(max(0, self.soon_us + 2 * GRAIN_US - clock_us()) / 1e6)
        )

    @call(weight=2, by=BY, key=KEY, accept_stale=MOSTLY)
    def get(self, by: int, key: str, accept_stale: bool) -> None:
        known = self.keys[key]
        found, moment = self.send(self.callers[by].get(key, accept_stale=accept_stale))
        known.judge_read(found, moment, accept_stale)
        assert found.lease is None
        if found.fill_token:
            known.reads.append(Read(found.fill_token, moment.span_us, known.changes, None))

    @call(weight=2, by=BY, key=KEY, holder=HOLDER, ttl_ms=TTL_MS, accept_stale=MOSTLY)
    def ask(self, by: int, key: str, holder: str, ttl_ms: int, accept_stale: bool) -> None:
        """A Get that asks for the lease."""
        known = self.keys[key]
        found, moment = self.send(
            self.callers[by].ask(key, holder=holder, ttl_ms=ttl_ms, accept_stale=accept_stale)
        )
        known.judge_read(found, moment, accept_stale)
        began_us, lease_id = moment.span_us, None
        if found.lease is not None:
            assert True in known.offers_lease(found, moment)
            assert found.lease.token == found.fill_token
            lease_id = lease_token(found.lease.token).lease_id
            given = Lease(lease_id, holder, moment.span_us, found.lease.expires_us)
            lease = known.judge_lease(given, moment)
            if lease is given:
                self.judge_end(lease.expires_us, moment, ttl_ms)
            began_us = lease.granted_us
        elif False not in known.offers_lease(found, moment):
            assert True in known.leased(moment)
            assert known.lease is not None
            assert known.lease.holder != holder
        if found.fill_token:
            known.reads.append(Read(found.fill_token, began_us, known.changes, lease_id))

    @call(weight=3, by=BY, key=KEY, ttl_ms=TTL_MS, condition=CONDITION)
    def set(self, by: int, key: str, ttl_ms: int, condition: Condition | int | None) -> None:
        self.store(by, key, ttl_ms, condition, None)

    @call(weight=2, by=BY, key=KEY, ttl_ms=TTL_MS, condition=CONDITION, read=AGE)
    def fill(
        self, by: int, key: str, ttl_ms: int, condition: Condition | int | None, read: int
    ) -> None:
        """A Set with the token of a read, if there is such a read."""
        self.store(by, key, ttl_ms, condition, self.keys[key].read(read))

    @call(by=BY, key=KEY)
    def delete(self, by: int, key: str) -> None:
        known = self.keys[key]
        deleted, moment = self.send(self.callers[by].delete(key))
        assert deleted in known.fresh(moment)
        known.change(None)

    @call(by=BY, key=KEY, age=AGE)
    def delete_version(self, by: int, key: str, age: int) -> None:
        known = self.keys[key]
        version = known.version(age)
        deleted, moment = self.send(self.callers[by].delete(key, version))
        assert deleted in known.met(version, moment)
        if deleted:
            known.change(None)

    @call(by=BY, key=KEY, ttl_ms=TTL_MS)
    def touch(self, by: int, key: str, ttl_ms: int) -> None:
        known = self.keys[key]
        expires_us, moment = self.send(self.callers[by].touch(key, ttl_ms))
        assert (expires_us is not None) in known.fresh(moment)
        if expires_us is not None:
            assert known.entry is not None
            self.judge_end(expires_us, moment, ttl_ms)
            known.entry = replace(known.entry, expires_us=expires_us)

    @call(weight=2, by=BY, key=KEY, read=AGE, failed=MOSTLY)
    def release(self, by: int, key: str, read: int, failed: bool) -> None:
        known = self.keys[key]
        began = known.read(read, leased=True)
        if began is None or began.lease_id is None:
            return
        released, moment = self.send(self.callers[by].release(key, began.token, failed=failed))
        assert released in known.held(began.lease_id, moment)
        if released:
            known.lease = None
            if failed and known.entry is not None:
                known.failed_version = known.entry.version

    @call(by=BY, key=KEY, read=AGE, ttl_ms=TTL_MS)
    def extend(self, by: int, key: str, read: int, ttl_ms: int) -> None:
        known = self.keys[key]
        began = known.read(read, leased=True)
        if began is None or began.lease_id is None:
            return
        expires_us, moment = self.send(extend_or_lose(self.callers[by], key, began.token, ttl_ms))
        assert (expires_us is not None) in known.held(began.lease_id, moment)
        if expires_us is not None:
            assert known.lease is not None
            self.judge_end(expires_us, moment, ttl_ms)
            known.lease = replace(known.lease, expires_us=expires_us)

    def store(
        self, by: int, key: str, ttl_ms: int, condition: Condition | int | None, read: Read | None
    ) -> None:
        known, value = self.keys[key], b"%d" % next(self.values)
        if isinstance(condition, int):
            condition = known.version(condition)
        token = None if read is None else fill_token.read(read.token)
        result, moment = self.send(
            self.callers[by].set(key, value, ttl_ms=ttl_ms, condition=condition, token=token)
        )
        assert result.outcome in {
            FILL_LOST if lost else STORED if met else CONDITION_NOT_MET
            for lost in known.lost(read, moment)
            for met in known.met(condition, moment)
        }
        if result.outcome is STORED:
            assert result.version not in known.versions
            self.judge_end(result.expires_us, moment, ttl_ms)
            created_us = moment.span_us if read is None else read.began_us
            known.change(Entry(value, result.version, created_us, result.expires_us))
            known.versions.append(result.version)

    def judge_end(self, end_us: int, moment: Moment, ttl_ms: int) -> None:
        """The end of what was given this ttl just now."""
        assert end_us - ttl_ms * 1000 in moment.span_us
        if ttl_ms == SHORT_MS:
            self.soon_us = end_us


async def extend_or_lose(caller: Caller, key: str, token: str, ttl_ms: int) -> int | None:
    """None: the lease is over."""
    with suppress(LeaseLost):
        return await caller.extend(key, token, ttl_ms)
    return None


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with own_loop() as running:
        yield running


@pytest.fixture(scope="module")
def workers(loop: asyncio.AbstractEventLoop, valkey: ValkeyServer) -> Iterator[list[Worker]]:
    with two_workers(loop, valkey.url) as started:
        yield started


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("number", [1, 2])
def test_workers_that_share_nothing_but_redis_keep_the_contract(
    loop: asyncio.AbstractEventLoop, workers: list[Worker], number: int, seed: int
) -> None:
    run_machine(CacheMachine, loop, [workers[0], workers[number - 1]], seed)
