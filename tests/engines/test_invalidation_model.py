"""Invalidation against a model of its promise (docs/invalidation.md): what was invalidated is given
to nobody, however its fill lands, and what nothing names is given as if nothing had happened.

After every call all keys are read, by either worker, and each answer is what the oracle says, with
nothing left open: which entries are given, as fresh or as stale, why the others are not, which
fills are refused, what Set says of visibility, what conditions, tags and listings see. The tokens
of these reads begin the fills of later calls, so that many land after an invalidation of something
that they name only then.

Nothing expires here: what time does is for test_cache_model. Ages are compared with the times that
answers and tokens tell, to the microsecond.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from pantler_server.core.config import NamespaceConfig
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import fill_token
from pantler_server.engines.cache import scripts as cache_scripts
from pantler_server.engines.cache.invalidation.model import Dependent
from pantler_server.engines.cache.invalidation.reclaim import Reclaimer
from pantler_server.engines.cache.model import Condition, Hit, Miss, MissReason

from tests.engines.caller import (
    CONDITION_NOT_MET,
    FILL_LOST,
    STORED,
    fill_token_of,
    granted,
    lease_token,
)
from tests.engines.invalidation_oracle import Entry, Oracle, Read
from tests.engines.machine import (
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

call = Calls()
invalidation = Calls()

BRIEF_MS = 30_000  # less than a token lives, so that its Set leaves a tombstone
LONG_MS = 600_000
AHEAD_US = 500_000  # what a caller's clock may be ahead
ROOT = "root"  # a key that others depend on, and that nothing is stored under
KEYS = ("a", "b", "c")
NAMESPACES = {
    "plain": NamespaceConfig(refresh_ratio=1.0, reclaim_keys_per_second=1_000_000),
    "indexed": NamespaceConfig(
        refresh_ratio=1.0, reclaim_keys_per_second=1_000_000, tag_index=True, partitions=3
    ),
}
PATTERNS = {"a": {"a"}, "[^a]": {"b", "c"}, "*": set(KEYS), "b*": {"b"}, "?x*": set[str]()}

BY = st.sampled_from([0, 1])  # the first caller or the second
KEY = st.sampled_from(["a", "a", "a", "b", "b", "c"])  # most meet on one
YES_OR_NO = st.booleans()
MOSTLY = st.sampled_from([True, True, True, False])
RARELY = st.sampled_from([False, False, False, True])
TTL_MS = st.sampled_from([BRIEF_MS, LONG_MS, LONG_MS])
HOLDER = st.sampled_from(["one", "other"])
AGE = st.sampled_from([1, 1, 2, 2, 3, 4])  # as `Key.version` and `Key.read` have it
CONDITION = st.sampled_from([*[None] * 8, *Condition, 1, 2])  # a number: that version
# A tag has the name of a key: they are two things.
TAGS = st.sampled_from([(), ("t",), ("t",), ("a",), ("t", "u"), ("a", "t", "u")])
SOME_TAGS = st.sampled_from([("t",), ("t",), ("u",), ("a",), ("never", "t")])
DEPENDS_ON = st.sampled_from([(), (), (ROOT,), ("a",), ("b",), ("c", ROOT)])
DECLARED = st.sampled_from([(), (ROOT,), (ROOT,), (ROOT,), ("a",), ("b", "c")])
NAMED = st.sampled_from([("a",), ("b",), (ROOT,), (ROOT,), ("a", "c", "a")])


class Said(NamedTuple):
    """What a Set says of its entry."""

    ttl_ms: int
    condition: Condition | int | None
    tags: tuple[str, ...]
    depends_on: tuple[str, ...]


SAID = st.builds(Said, TTL_MS, CONDITION, TAGS, DEPENDS_ON)


class InvalidationMachine(Machine):
    """Two callers, at one worker or at two, in a namespace that nobody has used."""

    @initialize(kind=st.sampled_from(sorted(NAMESPACES)))
    def open(self, kind: str) -> None:
        self.callers = self.meet(NAMESPACES[kind])
        self.space: Namespace = self.callers[0].space
        self.reclaimer = Reclaimer(self.workers[0].store)
        self.reclaimer.prepare(self.space)
        self.oracle = Oracle(KEYS)

    @rule(call=call.any(), by=BY, batch=YES_OR_NO, accept_stale=YES_OR_NO)
    def do(self, call: Call, by: int, batch: bool, accept_stale: bool) -> None:
        self.take(call)
        self.look(by, batch, accept_stale)

    def take(self, call: Call) -> None:
        self.oracle.now += 1
        call.method(self, **call.arguments)
        self.oracle.now += 1

    def look(self, by: int, batch: bool, accept_stale: bool) -> None:
        """What a caller sees of all keys."""
        read = self.get_batch if batch else self.get_each
        found, moment = self.send(read(by, accept_stale))
        for name, one in zip(KEYS, found, strict=True):
            assert isinstance(one, Hit | Miss)
            self.oracle.judge_read(name, one, accept_stale)
            assert one.lease is None
            if one.fill_token:
                self.note_token(name, one.fill_token, moment)

    def get(self, by: int, key: str) -> None:
        found, moment = self.send(self.callers[by].get(key))
        self.oracle.judge_read(key, found, accept_stale=False)
        if found.fill_token:
            self.note_token(key, found.fill_token, moment)

    async def get_each(self, by: int, accept_stale: bool) -> Sequence[Hit | Miss | ServiceError]:
        caller = self.callers[by]
        return await asyncio.gather(*(caller.get(name, accept_stale=accept_stale) for name in KEYS))

    async def get_batch(self, by: int, accept_stale: bool) -> Sequence[Hit | Miss | ServiceError]:
        caller = self.callers[by]
        return await caller.engine.get_many(
            caller.space, KEYS, self.loop.time() + 5, accept_stale=accept_stale
        )

    def note_token(self, name: str, token: str, moment: Moment) -> None:
        assert fill_token_of(token).issued_us in moment.span_us
        known = self.oracle.keys[name]
        known.reads.append(Read(self.oracle.now, token, known.changes, None))

    @call(weight=2, by=BY, key=KEY, holder=HOLDER, accept_stale=YES_OR_NO)
    def ask(self, by: int, key: str, holder: str, accept_stale: bool) -> None:
        """A Get that asks for the lease."""
        known, held_by = self.oracle.keys[key], self.oracle.holder(key)
        found, moment = self.send(
            self.callers[by].ask(key, holder=holder, ttl_ms=LONG_MS, accept_stale=accept_stale)
        )
        self.oracle.judge_read(key, found, accept_stale)
        offered = not self.oracle.fresh(key) and held_by in (None, holder)
        assert (found.lease is not None) == offered
        if found.lease is None:
            if found.fill_token:
                self.note_token(key, found.fill_token, moment)
            return
        lease_id = lease_token(granted(found)).lease_id
        assert (lease_id in known.leased) == (held_by == holder)
        if held_by is None:
            known.lease = (lease_id, holder)
            known.leased[lease_id] = self.oracle.now
        began = known.leased[lease_id]
        known.reads.append(Read(began, granted(found), known.changes, lease_id))

    @call(weight=8, by=BY, key=KEY, said=SAID)
    def set(self, by: int, key: str, said: Said) -> None:
        self.store(by, key, said, None)

    @call(weight=6, by=BY, key=KEY, said=SAID, age=AGE, leased=RARELY)
    def fill(self, by: int, key: str, said: Said, age: int, leased: bool) -> None:
        """A Set with the token of a read, if there is such a read."""
        self.store(by, key, said, self.oracle.keys[key].read(age, leased=leased))

    @call(weight=6, call=invalidation.any())
    def invalidate(self, call: Call) -> None:
        call.method(self, **call.arguments)

    @call(weight=8, by=BY, key=KEY, said=SAID, call=invalidation.any(), leased=RARELY)
    def race(self, by: int, key: str, said: Said, call: Call, leased: bool) -> None:
        """A fill begins, an invalidation is acknowledged, and the fill lands."""
        if self.oracle.fresh(key):
            self.delete(by, key)
            self.oracle.now += 1
        if leased:
            self.ask(by, key, "one", accept_stale=False)
        else:
            self.get(by, key)
        self.take(call)
        self.store(1 - by, key, said, self.oracle.keys[key].read(1, leased=leased))

    @call(by=BY, key=KEY)
    def delete(self, by: int, key: str) -> None:
        fresh = self.oracle.fresh(key)
        assert self.send(self.callers[by].delete(key))[0] == fresh
        self.oracle.delete(key)

    @call(by=BY, key=KEY, age=AGE)
    def delete_version(self, by: int, key: str, age: int) -> None:
        version = self.oracle.keys[key].version(age)
        met = self.oracle.met(key, version)
        assert self.send(self.callers[by].delete(key, version))[0] == met
        if met:
            self.oracle.delete(key)

    @call(weight=4, by=BY, key=KEY, ttl_ms=TTL_MS)
    def touch(self, by: int, key: str, ttl_ms: int) -> None:
        """It revives nothing."""
        known, fresh = self.oracle.keys[key], self.oracle.fresh(key)
        expires_us, moment = self.send(self.callers[by].touch(key, ttl_ms))
        assert (expires_us is not None) == fresh
        if expires_us is not None:
            assert known.entry is not None
            assert expires_us - ttl_ms * 1000 in moment.span_us
            known.entry = replace(known.entry, expires_us=expires_us, checked=self.oracle.now)

    @call(weight=2, by=BY, key=KEY, tags=SOME_TAGS)
    def add_tags(self, by: int, key: str, tags: tuple[str, ...]) -> None:
        found = self.oracle.fresh(key) or self.oracle.stale(key)
        added, _ = self.send(self.callers[by].add_tags(key, *tags))
        assert added.found == found
        if found:
            self.oracle.add_tags(key, tags)
        assert added.visible == (found and self.oracle.fresh(key))
        self.list_keys(by, tags[-1])

    @call(weight=3, by=BY, key=KEY, tags=SOME_TAGS, soft=YES_OR_NO, touched=YES_OR_NO)
    def tag_late(self, by: int, key: str, tags: tuple[str, ...], soft: bool, touched: bool) -> None:
        """Tags are invalidated, a Touch sees that this hides nothing, and then it does."""
        self.invalidate_tags(by, tags, soft)
        self.oracle.now += 1
        if touched:
            self.touch(1 - by, key, LONG_MS)
            self.oracle.now += 1
        self.add_tags(by, key, tags)

    @call(weight=2, by=BY, key=KEY, tags=SOME_TAGS)
    def remove_tags(self, by: int, key: str, tags: tuple[str, ...]) -> None:
        known, fresh = self.oracle.keys[key], self.oracle.fresh(key)
        assert self.send(self.callers[by].remove_tags(key, *tags))[0] == fresh
        if fresh and known.entry is not None:
            left = tuple(tag for tag in known.entry.tags if tag not in tags)
            known.entry = replace(known.entry, tags=left)

    @call(weight=2, by=BY, key=KEY)
    def describe(self, by: int, key: str) -> None:
        known, oracle = self.oracle.keys[key], self.oracle
        described, _ = self.send(self.callers[by].describe(key))
        assert (described.found, described.stale) == (oracle.fresh(key), oracle.stale(key))
        if known.entry is None:
            assert described.entry is None
            assert described.miss_reason in known.gone
            cascade = described.miss_reason is MissReason.HIDDEN_BY_DEPENDENCY
            assert described.cause in (oracle.causes(key) if cascade else {""})
            return
        said = (described.miss_reason, described.cause)
        hiding = {(one.reason, one.cause) for one in oracle.covers(known.entry)}
        assert said in hiding if hiding else said == (None, "")
        assert described.entry is not None
        assert described.entry.tags == known.entry.tags
        assert described.entry.depends_on == known.entry.depends_on

    @call(weight=4, by=BY, key=KEY, tag=st.sampled_from(["t", "t", "u", "a"]))
    def list(self, by: int, key: str, tag: str) -> None:
        """Of a key its tags, and who depends on it; the keys of a tag where that is known."""
        oracle, caller = self.oracle, self.callers[by]
        entry = oracle.keys[key].entry
        tags = None if entry is None or not oracle.fresh(key) else entry.tags
        assert self.send(caller.tags(key))[0] == tags
        expected = {Dependent(name, True) for name, of in oracle.declared.items() if key in of}
        expected |= {
            Dependent(name, False)
            for name, known in oracle.keys.items()
            if known.entry is not None and key in known.entry.depends_on
        }
        dependents, _ = self.send(caller.dependents(key))
        assert set(dependents) == expected
        self.list_keys(by, tag)

    def list_keys(self, by: int, tag: str) -> None:
        if self.space.config.tag_index:
            found, _ = self.send(self.callers[by].tagged_keys(tag))
            assert found == self.oracle.tagged(tag)

    @call(weight=3, by=BY, key=KEY, depends_on=DECLARED)
    def declare(self, by: int, key: str, depends_on: tuple[str, ...]) -> None:
        self.send(self.callers[by].declare(key, *depends_on))
        self.oracle.declared[key] = depends_on

    @invalidation(weight=4, by=BY, named=NAMED, soft=YES_OR_NO, cascade=MOSTLY)
    def invalidate_keys(self, by: int, named: tuple[str, ...], soft: bool, cascade: bool) -> None:
        done, _ = self.send(self.callers[by].invalidate_keys(*named, soft=soft, cascade=cascade))
        reached = self.oracle.invalidate_keys(set(named), not soft, cascade)
        assert sorted(done) == sorted(reached)

    @invalidation(weight=4, by=BY, tags=SOME_TAGS, soft=YES_OR_NO)
    def invalidate_tags(self, by: int, tags: tuple[str, ...], soft: bool) -> None:
        self.send(self.callers[by].invalidate_tags(*tags, soft=soft))
        self.oracle.invalidate_tags(tags, not soft)

    @invalidation(by=BY, soft=YES_OR_NO)
    def invalidate_namespace(self, by: int, soft: bool) -> None:
        self.send(self.callers[by].invalidate_namespace(soft=soft))
        self.oracle.invalidate_namespace(not soft)

    @invalidation(
        weight=2,
        by=BY,
        key=KEY,
        of=st.sampled_from(["entry", "entry", "read", "read", "now", "ahead"]),
        later_us=st.sampled_from([0, 1]),
        soft=YES_OR_NO,
    )
    def invalidate_older_than(self, by: int, key: str, of: str, later_us: int, soft: bool) -> None:
        """At an entry's very beginning and just after it, at a fill's, or about now."""
        before_us = self.time_of(key, of) + later_us
        self.send(self.callers[by].invalidate_older_than(before_us, soft=soft))
        self.oracle.invalidate_older_than(before_us, not soft)

    def time_of(self, key: str, of: str) -> int:
        entry, read = self.oracle.keys[key].entry, self.oracle.keys[key].read(1)
        if of == "entry" and entry is not None:
            return entry.created_us
        if of == "read" and read is not None:
            return fill_token_of(read.token).issued_us
        return clock_us() + (AHEAD_US if of == "ahead" else 0)

    @invalidation(by=BY, pattern=st.sampled_from(sorted(PATTERNS)), dry_run=RARELY)
    def invalidate_pattern(self, by: int, pattern: str, dry_run: bool) -> None:
        matching = {name for name in PATTERNS[pattern] if self.oracle.keys[name].entry is not None}
        done, _ = self.send(self.callers[by].invalidate_pattern(pattern, dry_run=dry_run))
        assert done.invalidated == len(matching)
        assert set(done.examples) == matching
        if not dry_run:
            self.oracle.invalidate_pattern(matching)

    @call(weight=3, by=BY, key=KEY, touched=YES_OR_NO)
    def forget(self, by: int, key: str, touched: bool) -> None:
        """All marks of labels, as a worker does that believes no entry to be so old. What was
        touched is spared."""
        if touched:
            self.touch(by, key, LONG_MS)
            self.oracle.now += 1
        life_ms = cache_scripts.MAX_FILL_MS + self.space.grace_ms
        brief = replace(self.space, max_ttl_ms=-life_ms)
        sweeps = [cache_scripts.sweep(brief, one) for one in self.space.partitions]
        self.send(self.workers[by].store.call_each(sweeps, self.loop.time() + 5))
        for worker in self.workers:  # no entry would be so old as what they remember
            worker.engine._reader._label_marks.clear()
        self.oracle.forget()

    @call()
    def reclaim(self) -> None:
        """Frees what is hidden, and changes nothing else."""
        removed, _ = self.send(self.reclaimer.reclaim(self.space))
        assert removed == self.oracle.reclaim()

    def store(self, by: int, key: str, said: Said, read: Read | None) -> None:
        oracle, value = self.oracle, b"%d" % next(self.values)
        condition = said.condition
        if isinstance(condition, int):
            condition = oracle.keys[key].version(condition)
        token = None if read is None else fill_token.read(read.token)
        result, moment = self.send(
            self.callers[by].set(
                key,
                value,
                ttl_ms=said.ttl_ms,
                condition=condition,
                tags=said.tags,
                depends_on=said.depends_on,
                token=token,
            )
        )
        if oracle.lost(key, read):
            assert result.outcome is FILL_LOST
            return
        if not oracle.met(key, condition):
            assert result.outcome is CONDITION_NOT_MET
            return
        assert result.outcome is STORED
        set_us = result.expires_us - said.ttl_ms * 1000
        assert set_us in moment.span_us
        entry = Entry(
            value,
            result.version,
            began=oracle.now if read is None else read.number,
            created_us=set_us if token is None else token.issued_us,
            expires_us=result.expires_us,
            tags=said.tags,
            depends_on=said.depends_on,
            checked=oracle.now if read is None else read.number,
        )
        oracle.store(key, entry)
        assert result.visible == oracle.fresh(key)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with own_loop() as running:
        yield running


@pytest.fixture(scope="module")
def workers(loop: asyncio.AbstractEventLoop) -> Iterator[list[Worker]]:
    """On a server of their own: walks over its keys take the shorter, the fewer these are."""
    server = ValkeyServer()
    loop.run_until_complete(server.start())
    with two_workers(loop, server.url) as started:
        yield started
    loop.run_until_complete(server.stop())


@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize("number", [1, 2])
def test_what_was_invalidated_is_given_to_nobody_and_all_else_is(
    loop: asyncio.AbstractEventLoop, workers: list[Worker], number: int, seed: int
) -> None:
    run_machine(InvalidationMachine, loop, [workers[0], workers[number - 1]], 2 * seed + number)
