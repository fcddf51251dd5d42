"""The first level: it answers without Redis, and forgets what changes, whoever changes it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
from pantler_server.core.config import FirstLevelConfig
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.kept import KEPT
from pantler_server.engines.cache.known_marks import DOUBT_S
from pantler_server.engines.cache.model import Hit
from pantler_server.engines.cache.reading import Place, Reader, Sight
from pantler_server.store.request import read
from pantler_server.store.store import Store

from tests.engines.caller import Caller, value
from tests.engines.conftest import Near, NearFactory
from tests.engines.test_cache import lose_marks

KEY = "k"
Change = Callable[[Caller], Awaitable[Any]]


async def invalidate_older(caller: Caller) -> None:
    [time] = await caller.engine._store.call(
        read(caller.space.partitions[0].slot, "", ("TIME",)),
        asyncio.get_running_loop().time() + 5,
    )
    await caller.invalidate_older_than(int(time[0]) * 1_000_000 + int(time[1]))


# What takes an entry with the tag `t` that depends on `base` away from those who want a fresh one.
HIDING: dict[str, Change] = {
    "delete": lambda by: by.delete(KEY),
    "delete in a batch": lambda by: by.engine.delete_many(
        by.space, [KEY], asyncio.get_running_loop().time() + 5
    ),
    "key": lambda by: by.invalidate_keys(KEY),
    "key, soft": lambda by: by.invalidate_keys(KEY, soft=True),
    "cascade": lambda by: by.invalidate_keys("base", cascade=True),
    "cascade, soft": lambda by: by.invalidate_keys("base", cascade=True, soft=True),
    "tag": lambda by: by.invalidate_tags("t"),
    "tag, soft": lambda by: by.invalidate_tags("t", soft=True),
    "namespace": lambda by: by.invalidate_namespace(),
    "namespace, soft": lambda by: by.invalidate_namespace(soft=True),
    "age": invalidate_older,
    "pattern": lambda by: by.invalidate_pattern("k*"),
}
hiding = pytest.mark.parametrize("change", HIDING.values(), ids=HIDING.keys())


async def stored(near: Near, **said: Any) -> None:
    await near.other.set(KEY, b"old", tags=("t",), depends_on=("base",), **said)
    await near.keep(KEY)


async def test_a_second_read_needs_no_redis(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    await stored(near)
    await near.other.set("plain", b"v", content_type="text/plain")
    await near.keep("plain")
    from_redis = await near.other.get("plain")
    monkeypatch.delattr(Reader, "get")
    monkeypatch.delattr(Reader, "get_many")
    assert await near.one.get("plain") == from_redis
    deadline = asyncio.get_running_loop().time() + 5
    batch = await near.one.engine.get_many(near.one.space, [KEY, "plain"], deadline)
    assert batch == [await near.one.get(KEY), from_redis]


@hiding
async def test_what_another_worker_hides_is_hidden_here(near: Near, change: Change) -> None:
    await stored(near)
    await change(near.other)
    await near.until(KEY, None)


@hiding
async def test_what_a_worker_hides_it_never_answers_again(near: Near, change: Change) -> None:
    await stored(near)
    await change(near.one)
    assert value(await near.one.get(KEY)) is None


async def test_a_batch_sees_what_another_worker_hides(near: Near) -> None:
    await stored(near)
    await near.other.invalidate_tags("t")

    async def seen() -> list[bool]:
        deadline = asyncio.get_running_loop().time() + 5
        batch = await near.one.engine.get_many(near.one.space, [KEY, "none", KEY], deadline)
        return [isinstance(found, Hit) for found in batch]

    async with asyncio.timeout(1):
        while await seen() != [False] * 3:
            await asyncio.sleep(0.001)


async def test_an_entry_with_a_content_type_holds_by_no_mark_of_a_label(near: Near) -> None:
    await near.other.set(KEY, b"v", content_type="text/plain")
    await near.keep(KEY)
    found = await near.one.get(KEY)
    assert isinstance(found, Hit)
    assert found.content_type == "text/plain"
    packed = near.level.kept.get(keys.place(near.one.space, KEY)[1])
    assert packed is not None
    assert KEPT.unpack_from(packed)[1] == -1


@pytest.mark.parametrize("own", [True, False])
async def test_a_new_value_is_seen(near: Near, own: bool) -> None:
    await stored(near)
    await (near.one if own else near.other).set(KEY, b"new")
    if own:
        assert value(await near.one.get(KEY)) == b"new"
    await near.until(KEY, b"new")
    await near.keep(KEY)


async def test_a_batch_keeps_what_it_read(near: Near) -> None:
    await near.other.set(KEY, b"v")
    await near.other.set("tagged", b"v", tags=("t",))
    async with asyncio.timeout(5):
        while near.stats.l1_hits < 2:
            deadline = asyncio.get_running_loop().time() + 5
            await near.one.engine.get_many(near.one.space, [KEY, "tagged", "none"], deadline)


async def test_new_tags_are_seen_and_can_be_invalidated(near: Near) -> None:
    await near.other.set(KEY, b"v")
    await near.keep(KEY)
    await near.one.add_tags(KEY, "late")
    found = await near.one.get(KEY)
    assert isinstance(found, Hit)
    assert found.tags == ("late",)
    await near.keep(KEY)
    await near.other.invalidate_tags("late")
    await near.until(KEY, None)


async def test_a_mark_of_another_label_costs_one_read(near: Near) -> None:
    await stored(near)
    await near.other.invalidate_tags("none of its own")
    await near.keep(KEY)
    assert value(await near.one.get(KEY)) == b"old"


async def test_a_touch_is_seen(near: Near) -> None:
    await stored(near)
    expires_us = await near.one.touch(KEY, 5000)
    found = await near.one.get(KEY)
    assert isinstance(found, Hit)
    assert found.expires_us == expires_us


async def test_an_entry_is_over_here_when_it_is_over_in_redis(near: Near) -> None:
    await near.other.set(KEY, b"v", ttl_ms=300)
    await near.keep(KEY)
    async with asyncio.timeout(2):
        while isinstance(found := await near.one.get(KEY), Hit):
            [time] = await near.other.engine._store.call(
                read(near.one.space.partitions[0].slot, "", ("TIME",)),
                asyncio.get_running_loop().time() + 5,
            )
            assert int(time[0]) * 1_000_000 + int(time[1]) < found.expires_us + 20_000
            await asyncio.sleep(0.01)


async def test_a_refresh_that_is_due_is_offered(nears: NearFactory) -> None:
    near = await nears.make(refresh_ratio=1e-9)
    await near.other.set(KEY, b"v")
    await near.keep(KEY)
    assert (await near.one.ask(KEY)).lease is not None


async def test_stale_entries_are_read_from_redis(nears: NearFactory) -> None:
    near = await nears.make(stale_while_revalidate=timedelta(hours=1))
    await stored(near)
    await near.one.invalidate_keys(KEY, soft=True)
    found = await near.one.get(KEY, accept_stale=True)
    assert isinstance(found, Hit)
    assert found.stale


async def test_a_busy_sliding_entry_is_touched_once_for_each_tenth_of_its_ttl(near: Near) -> None:
    await near.other.set(KEY, b"v", ttl_ms=2000, sliding=True)
    await near.keep(KEY)
    ends: set[int] = set()
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < began + 0.9:
        found = await near.one.get(KEY)
        assert isinstance(found, Hit)
        ends.add(found.expires_us)
        await asyncio.sleep(0.002)
    assert 3 <= len(ends) <= 6  # its beginning, and about every 200 ms


async def test_lost_marks_hide_what_is_kept(near: Near, store: Store) -> None:
    await stored(near)
    await lose_marks(store, near.one.space, KEY)
    await near.until(KEY, None)


async def test_deletes_of_other_keys_leave_the_rest_answered(near: Near) -> None:
    await stored(near)
    place = keys.place(near.one.space, KEY)[0]
    others = [f"o{number}" for number in range(2000)]
    beside = [key for key in others if keys.place(near.one.space, key)[0] == place]
    answered, reads, deleted = near.stats.l1_hits, 0, asyncio.Event()

    async def read() -> None:
        nonlocal reads
        while not deleted.is_set():
            assert value(await near.one.get(KEY)) == b"old"
            reads += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        for key in beside:
            await near.other.delete(key)
        deleted.set()
    assert near.stats.l1_hits - answered >= reads / 2


async def test_marks_that_nobody_asks_for_are_not_looked_at(near: Near) -> None:
    await stored(near)
    part = near.level.parts[keys.place(near.one.space, KEY)[0].tag]
    part.asked = False
    await near.other.delete(KEY)
    async with asyncio.timeout(1):
        while part.by:
            await asyncio.sleep(0.001)
    assert not part.looking


async def test_marks_in_doubt_go_on_for_a_moment_only(
    near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(near)
    part = near.level.parts[keys.place(near.one.space, KEY)[0].tag]

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Reader, "look", never)
    await near.other.invalidate_tags("t")
    async with asyncio.timeout(1):
        while not part.looking:
            await asyncio.sleep(0)
    await asyncio.sleep(DOUBT_S)
    assert value(await near.one.get(KEY)) is None


async def test_what_a_look_saw_before_an_own_invalidation_does_not_count(
    near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(near)
    part = near.level.parts[keys.place(near.one.space, KEY)[0].tag]
    looked, go_on, look = asyncio.Event(), asyncio.Event(), Reader.look

    async def held(reader: Reader, *said: Any) -> Any:
        view = await look(reader, *said)
        looked.set()
        await go_on.wait()
        return view

    while not part.doubt(1.0):  # on a busy machine the word of a write may have come just before
        await asyncio.sleep(0)  # an answer from memory lets no look under way go on
        await near.keep(KEY)
    monkeypatch.setattr(Reader, "look", held)
    near.one.engine._first_level._looks.begin(part, near.level.vouching)
    await looked.wait()
    await near.one.invalidate_tags("t")
    go_on.set()
    while part.looking:
        await asyncio.sleep(0)
    assert value(await near.one.get(KEY)) is None


class Gate:
    """Holds back what reads of a key found, on its way to those who asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = asyncio.Event()
        self.open = asyncio.Event()
        get = Reader.get

        async def held(reader: Reader, at: Place, deadline: float, **said: Any) -> Sight:
            sight = await get(reader, at, deadline, **said)
            self.read.set()
            await self.open.wait()
            return sight

        monkeypatch.setattr(Reader, "get", held)


async def test_an_answer_that_comes_after_the_word_of_a_write_is_not_kept(
    near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(near)  # Redis is followed from here on
    near.level.forget_all()
    gate = Gate(monkeypatch)
    reading = asyncio.create_task(near.one.get(KEY))
    await gate.read.wait()
    await near.other.set(KEY, b"new")
    async with asyncio.timeout(1):
        while near.level.tickets:
            await asyncio.sleep(0.001)
    gate.open.set()
    assert value(await reading) == b"old"  # the read was before the write
    assert value(await near.one.get(KEY)) == b"new"


async def test_an_answer_that_comes_before_the_word_of_a_write_is_dropped_by_it(
    near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(near)
    near.level.forget_all()
    gate = Gate(monkeypatch)
    reading = asyncio.create_task(near.one.get(KEY))
    await gate.read.wait()
    await near.other.set(KEY, b"new")
    gate.open.set()
    await reading
    await near.until(KEY, b"new")


async def test_marks_that_were_read_before_the_word_of_their_change_go_on_for_a_moment_only(
    near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(near)
    await near.other.set("later", b"v")
    part = near.level.parts[keys.place(near.one.space, KEY)[0].tag]
    part.distrust()
    gate = Gate(monkeypatch)
    reading = asyncio.create_task(near.one.get(KEY))
    await gate.read.wait()
    epoch = part.epoch
    await near.other.invalidate_namespace()
    async with asyncio.timeout(1):
        while part.epoch == epoch:
            await asyncio.sleep(0.001)
    gate.open.set()
    await reading
    assert part.good_until <= monotonic() + DOUBT_S
    await near.until(KEY, None)


async def test_a_read_that_fails_leaves_no_ticket(near: Near) -> None:
    await stored(near)
    near.level.forget_all()
    reading = asyncio.create_task(near.one.get(KEY))
    await asyncio.sleep(0)
    assert near.level.tickets
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not near.level.tickets


async def test_a_changed_configuration_begins_with_an_empty_level(near: Near) -> None:
    await stored(near)
    of = near.one.engine._first_level.of
    level = of(changed(near, FirstLevelConfig(negative=True)).space)
    assert level is not None
    assert not level.kept.count()
    without = changed(near, None)
    assert of(without.space) is None
    assert value(await without.get(KEY)) == b"old"


def changed(near: Near, l1: FirstLevelConfig | None) -> Caller:
    """A caller of `one` with another first level."""
    config = near.one.space.config.model_copy(update={"l1": l1})
    return Caller(near.one.engine, replace(near.one.space, config=config))


async def test_a_level_that_is_not_wanted_any_more_goes(near: Near) -> None:
    await stored(near)
    without = changed(near, None)
    await without.get(KEY)
    first_level = near.one.engine._first_level
    assert near.one.space.name not in first_level._levels
    assert not near.level.parts.keys() & first_level._parts.keys()


async def test_a_write_that_began_before_there_was_a_level_is_forgotten_too(near: Near) -> None:
    await stored(near)
    without = changed(near, None)
    partition, place = keys.place(near.one.space, KEY)
    near.one.engine._first_level.forget(without.space, (KEY,))
    assert near.level.kept.get(place) is None
    near.one.engine._first_level.forget_marked(without.space)
    assert not near.level.parts[partition.tag].by


async def test_reads_that_come_together_are_one(near: Near, store: Store) -> None:
    await near.other.set(KEY, b"v")
    link = await link_of(near, store)
    at = Place(near.one.space, KEY, *keys.place(near.one.space, KEY))
    deadline = asyncio.get_running_loop().time() + 5
    reader = near.one.engine._reader
    together = [asyncio.create_task(reader.get(at, deadline)) for _ in range(10)]
    await asyncio.sleep(0)
    assert link.load == 1
    await asyncio.sleep(0)  # it has been sent
    later = asyncio.create_task(reader.get(at, deadline))
    await asyncio.sleep(0)
    assert link.load == 2
    together[0].cancel()
    sights = await asyncio.gather(*together[1:], later)
    assert {sight.raw for sight in sights[:-1]} == {sights[-1].raw}


async def link_of(near: Near, store: Store) -> Any:
    node = store.topology.primary(keys.place(near.one.space, KEY)[0].slot)
    assert node is not None
    link = node.pick()
    assert link is not None
    return link


async def test_a_write_that_was_given_up_is_not_answered_from_before(
    near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(near)
    monkeypatch.setattr(near.level.tracking, "_listeners", [])  # no word of it comes
    writing = asyncio.create_task(near.one.set(KEY, b"new"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it has been sent
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert value(await near.one.get(KEY)) == b"new"
