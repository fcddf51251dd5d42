"""Warming over a real table: what it loads, how fast, and how it goes on after a break."""

import asyncio
import sqlite3
from contextlib import aclosing
from itertools import pairwise

import pytest
from pantler_server.core.errors import (
    InvalidFields,
    NoOrigin,
    OriginNotReady,
    OriginUnavailable,
    ShuttingDown,
)
from pantler_server.core.origin_config import WarmSource
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record.model import Source
from pantler_server.engines.cache.record.warm_model import Progress, Wanted
from pantler_server.engines.cache.record.warming import GIVE_UP_AFTER, MAX_BATCH, Warmer
from pantler_server.store.store import Store

from tests.engines.recording import Records, RecordsFactory

FAST = 1_000_000  # keys a second: no bound in a test
ALL = Wanted(WarmSource.ALL, FAST)
ADULTS = "SELECT id FROM users WHERE age >= 18"


def fill(records: Records, count: int) -> list[str]:
    """Rows, every third of them of an adult; their keys in order."""
    keys = [f"k{index:05}" for index in range(count)]
    with sqlite3.connect(records.file) as database:
        database.executemany(
            "INSERT INTO users VALUES (?, ?, ?)",
            [(key, f"name of {key}", 30 if at % 3 == 0 else 9) for at, key in enumerate(keys)],
        )
    return keys


def warmer(records: Records, store: Store) -> Warmer:
    return Warmer(records.engine, HotKeys(store), first_pause_s=0.01)


async def to_end(
    warmer: Warmer, records: Records, wanted: Wanted = ALL, token: str = ""
) -> Progress:
    """The last progress."""
    return (await all_told(warmer, records, wanted, token))[-1]


async def all_told(
    warmer: Warmer, records: Records, wanted: Wanted, token: str = ""
) -> list[Progress]:
    async with aclosing(warmer.warm(records.space, wanted, token)) as told:
        return [progress async for progress in told]


async def broken_off(warmer: Warmer, records: Records, wanted: Wanted) -> Progress:
    """A warming that is left at its first progress."""
    async with aclosing(warmer.warm(records.space, wanted)) as told:
        return await anext(told)


async def in_cache(records: Records, *keys: str) -> list[str]:
    """Which of these keys need no load."""
    await_loads = len(records.origin.queries)
    found = await records.get_many(*keys)
    cached = [
        key
        for key, one in zip(keys, found, strict=True)
        if getattr(one, "source", None) is Source.CACHE
    ]
    assert len(records.origin.queries) - await_loads == (len(cached) < len(keys))
    return cached


def asked(records: Records) -> list[str]:
    """The keys that the origin was asked for, in order."""
    return [key for query in records.origin.queries for key in query]


def counts(progress: Progress) -> tuple[int, int, int]:
    return progress.seen, progress.loaded, progress.failed


async def test_all_rows_are_loaded_with_a_query_for_each_batch(
    records: Records, others: Records, store: Store
) -> None:
    keys = fill(records, 250)
    progress = await to_end(warmer(records, store), records)
    assert (counts(progress), progress.total, progress.done) == ((250, 250, 0), 0, True)
    assert [len(query) for query in records.origin.queries] == [MAX_BATCH, MAX_BATCH, 50]
    assert await in_cache(others, *keys) == keys


async def test_what_another_worker_has_loaded_is_not_loaded_again(
    records: Records, others: Records, store: Store
) -> None:
    fill(records, 150)
    both = await asyncio.gather(
        to_end(warmer(records, store), records), to_end(warmer(others, store), others)
    )
    assert [one.seen for one in both] == [150, 150]
    assert sorted(asked(records) + asked(others)) == [f"k{index:05}" for index in range(150)]


async def test_a_query_says_which_rows(records: Records, store: Store) -> None:
    keys = fill(records, 9)
    wanted = Wanted(WarmSource.QUERY, FAST, query=ADULTS)
    assert counts(await to_end(warmer(records, store), records, wanted)) == (3, 3, 0)
    assert sorted(asked(records)) == keys[::3]


async def test_keys_without_a_record_are_loaded_as_that(records: Records, store: Store) -> None:
    fill(records, 1)
    wanted = Wanted(WarmSource.KEYS, FAST, keys=("k00000", "nobody"))
    progress = await to_end(warmer(records, store), records, wanted)
    assert (counts(progress), progress.total) == ((2, 2, 0), 2)
    assert await in_cache(records, "k00000", "nobody") == ["k00000", "nobody"]


async def test_what_is_cached_stays_as_it_is(records: Records, store: Store) -> None:
    keys = fill(records, 3)
    before = await records.get(keys[1])
    records.write_row(keys[1], "renamed by somebody else")
    assert counts(await to_end(warmer(records, store), records)) == (3, 2, 0)
    after = await records.get(keys[1])
    assert (after.value, after.version) == (before.value, before.version)


async def test_hot_keys_are_those_of_today_and_yesterday(records: Records, store: Store) -> None:
    keys = fill(records, 20)
    hot = await read_much(records, store, keys[:3])
    running = Warmer(records.engine, hot)
    progress = await to_end(running, records, Wanted(WarmSource.HOT, FAST))
    assert (counts(progress), progress.total) == ((3, 3, 0), 3)
    assert sorted(asked(records)) == keys[:3]


async def read_much(records: Records, store: Store, keys: list[str]) -> HotKeys:
    """Hot keys of a worker whose callers read these, the first ones more."""
    hot = HotKeys(store)
    for index, key in enumerate(reversed(keys), start=1):
        hot.count_many(records.space, [key] * index * 2000)  # of which 20 * index are counted
    await hot.flush()
    return hot


@pytest.mark.parametrize("source", WarmSource)
async def test_a_token_goes_on_where_a_warming_was(
    source: WarmSource, records: Records, others: Records, store: Store
) -> None:
    keys = fill(records, 60)
    hot = await read_much(records, store, keys)
    wanted = Wanted(
        source,
        20,  # a second, two at once: a progress comes within the first half second
        ADULTS if source is WarmSource.QUERY else None,
        tuple(keys) if source is WarmSource.KEYS else (),
    )
    first = await broken_off(Warmer(records.engine, hot), records, wanted)
    assert 0 < first.seen < 20
    assert not first.done

    quick = Wanted(source, FAST, wanted.query, wanted.keys)
    other = Warmer(others.engine, hot)  # another worker, which has seen nothing of it
    last = await to_end(other, others, quick, first.resume_token)
    there = 20 if source is WarmSource.QUERY else 60
    assert (last.seen, last.loaded, last.done) == (there, there, True)
    assert not set(asked(others)) & set(asked(records)[: first.seen])
    assert len(set(asked(records)) | set(asked(others))) == there


async def test_a_record_that_cannot_be_read_is_counted_and_passed_by(
    records: Records, store: Store
) -> None:
    records.spoil_row(fill(records, 30)[3])
    last = await to_end(warmer(records, store), records, Wanted(WarmSource.ALL, FAST))
    assert (last.seen, last.loaded, last.failed, last.done) == (30, 29, 1, True)


async def test_no_more_keys_are_looked_at_than_the_rate_allows(
    records: Records, store: Store
) -> None:
    fill(records, 60)
    rate, batch = 100, 10
    loop = asyncio.get_running_loop()
    began = [loop.time()]
    done: list[int] = []
    load = records.origin.inner.load_many

    async def timed(keys: list[str], deadline: float) -> object:
        began.append(loop.time())
        done.append(len(keys))
        return await load(keys, deadline)

    records.origin.inner.load_many = timed  # type: ignore[method-assign,assignment]
    await to_end(warmer(records, store), records, Wanted(WarmSource.ALL, rate))
    assert done == [batch] * 6
    gaps = [after - before for before, after in pairwise(began[1:])]
    assert min(gaps) > batch / rate / 2  # never a burst, and half of it is looks and the loop
    assert sum(gaps) >= 5 * batch / rate * 0.9


async def test_a_pause_of_the_origin_is_not_made_up_for(records: Records, store: Store) -> None:
    fill(records, 40)
    records.origin.before_load.hold()
    task = asyncio.create_task(to_end(warmer(records, store), records, Wanted(WarmSource.ALL, 100)))
    await records.origin.before_load.until(1)
    await asyncio.sleep(0.5)  # in which it might have loaded all
    began = asyncio.get_running_loop().time()
    records.origin.before_load.open()
    await task
    assert asyncio.get_running_loop().time() - began > 0.1  # two batches behind the next one


async def test_progress_is_told_while_the_origin_takes_its_time(
    records: Records, store: Store
) -> None:
    fill(records, 3)
    records.origin.before_load.hold()
    async with aclosing(warmer(records, store).warm(records.space, ALL)) as told:
        assert [counts(await anext(told)) for _ in range(2)] == [(0, 0, 0), (0, 0, 0)]
        records.origin.before_load.open()
        last = [progress async for progress in told][-1]
    assert (counts(last), last.done) == ((3, 3, 0), True)


async def test_a_warming_that_is_left_ends_and_leaves_nothing_behind(
    records: Records, store: Store
) -> None:
    fill(records, 500)
    await broken_off(warmer(records, store), records, Wanted(WarmSource.ALL, 100))
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert f"warm {records.space.name}" not in names
    loads = len(records.origin.queries)
    await asyncio.sleep(0.3)  # in which three batches would have come
    assert len(records.origin.queries) == loads


async def test_a_warming_is_cancelled_while_the_origin_takes_its_time(
    records: Records, store: Store
) -> None:
    fill(records, 3)
    records.origin.before_load.hold()
    task = asyncio.create_task(to_end(warmer(records, store), records))
    await records.origin.before_load.until(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await task


async def test_an_origin_that_fails_for_a_while_is_passed_by(
    records: Records, store: Store
) -> None:
    fill(records, 300)
    running = warmer(records, store)
    records.origin.fails = OriginUnavailable("away", "test")
    task = asyncio.create_task(to_end(running, records))
    await records.origin.before_load.until(2)
    records.origin.fails = None
    progress = await task
    assert progress.done
    assert (progress.seen, progress.loaded + progress.failed) == (300, 300)
    assert progress.failed in {100, 200}


async def test_an_origin_that_stays_away_ends_a_warming_and_the_token_tries_its_keys_again(
    records: Records, store: Store
) -> None:
    keys = fill(records, 20)
    wanted = Wanted(WarmSource.KEYS, 10, keys=tuple(keys))  # one at a time
    running = warmer(records, store)
    told: list[Progress] = []

    async def follow() -> None:
        async for progress in running.warm(records.space, wanted):
            told.append(progress)
            if progress.loaded:
                records.origin.fails = OriginUnavailable("away", "test")

    with pytest.raises(OriginUnavailable, match=r"8 failures in a row.*The last: away"):
        await follow()
    good = told[-1].loaded
    assert counts(told[-1]) == (good + GIVE_UP_AFTER, good, GIVE_UP_AFTER)
    assert not told[-1].done

    records.origin.fails = None
    last = await to_end(running, records, wanted, told[-1].resume_token)
    assert (counts(last), last.done) == ((20, 20, 0), True)


async def test_a_list_that_does_not_come_is_tried_again(records: Records, store: Store) -> None:
    fill(records, 30)
    listing = records.origin.inner.list_keys
    failures = 3

    async def failing(query: str | None, after: str, size: int) -> object:
        nonlocal failures
        async for page in listing(query, after, 10):
            yield page
            if failures:
                failures -= 1
                raise OriginUnavailable("away", "test")

    records.origin.inner.list_keys = failing  # type: ignore[method-assign,assignment]
    progress = await to_end(warmer(records, store), records)
    assert (counts(progress), progress.done, failures) == ((30, 30, 0), True, 0)


async def test_keys_that_the_table_cannot_have_fail_alone(
    make_records: RecordsFactory, store: Store
) -> None:
    records = await make_records()
    with sqlite3.connect(records.file) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO orders VALUES (7)")
    table = {"url": f"sqlite:///{records.file}", "table": "orders"}
    numbers = await make_records(origin={"sql": table})
    await numbers.get("7")  # it knows its table now
    wanted = Wanted(WarmSource.KEYS, FAST, keys=("a", "7", "b"))
    progress = await to_end(warmer(numbers, store), numbers, wanted)
    assert (counts(progress), progress.done) == ((3, 0, 2), True)


async def test_a_table_that_is_not_there_ends_a_warming_at_once(
    make_records: RecordsFactory, store: Store
) -> None:
    records = await make_records()
    with sqlite3.connect(records.file) as database:
        database.execute("DROP TABLE users")
    with pytest.raises(OriginNotReady):
        await to_end(warmer(records, store), records)


async def test_an_origin_without_a_list_warms_keys_and_hot_ones_only(
    records: Records, store: Store
) -> None:
    fill(records, 1)
    records.origin.keys_can_be_listed = False  # type: ignore[attr-defined]
    running = warmer(records, store)
    with pytest.raises(OriginNotReady, match="does not list its keys"):
        await to_end(running, records)
    named = Wanted(WarmSource.KEYS, FAST, keys=("k00000",))
    assert counts(await to_end(running, records, named)) == (1, 1, 0)
    assert counts(await to_end(running, records, Wanted(WarmSource.HOT, FAST))) == (0, 0, 0)


async def test_a_namespace_without_an_origin_is_not_warmed(records: Records, store: Store) -> None:
    records.engine._origin_of = lambda _: None
    with pytest.raises(NoOrigin):
        await to_end(warmer(records, store), records, Wanted(WarmSource.HOT, FAST))


async def test_tokens_of_other_lists_are_refused(
    records: Records, others: Records, make_records: RecordsFactory, store: Store
) -> None:
    fill(records, 2)
    token = (await to_end(warmer(records, store), records)).resume_token
    elsewhere = await make_records()
    wrong = [
        (records, Wanted(WarmSource.HOT, FAST), token),
        (records, Wanted(WarmSource.QUERY, FAST, query=ADULTS), token),
        (records, Wanted(WarmSource.KEYS, FAST, keys=("k00000",)), token),
        (elsewhere, ALL, token),
        (records, ALL, token[:-4]),
        (records, ALL, token + "AAAA"),
        (records, ALL, "no token"),
        (records, ALL, "é" * 100_000),
    ]
    for where, wanted, given in wrong:
        with pytest.raises(InvalidFields) as refused:
            await to_end(warmer(where, store), where, wanted, given)
        assert [one.path for one in refused.value.violations] == ["resume_token"]
    assert counts(await to_end(warmer(others, store), others, ALL, token)) == (2, 2, 0)


async def test_a_worker_that_stops_ends_its_warmings(records: Records, store: Store) -> None:
    keys = fill(records, 50)
    running = warmer(records, store)
    async with aclosing(running.warm(records.space, Wanted(WarmSource.ALL, 10))) as told:
        await anext(told)
        running.dismiss()
        token = (await anext(told)).resume_token
        with pytest.raises(ShuttingDown):
            await anext(told)
    last = await to_end(warmer(records, store), records, ALL, token)
    assert (last.seen, last.failed) == (50, 0)  # what it was at when it stopped may be cached
    assert await in_cache(records, *keys) == keys


async def test_a_load_that_takes_too_long_has_failed(
    make_records: RecordsFactory, store: Store
) -> None:
    records = await make_records(origin={"timeout": "50ms"})
    fill(records, 1)
    records.origin.before_load.hold()
    progress = await to_end(
        warmer(records, store), records, Wanted(WarmSource.KEYS, FAST, keys=("k",))
    )
    assert (counts(progress), progress.done) == ((1, 0, 1), True)
