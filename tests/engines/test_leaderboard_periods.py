"""Boards that begin anew with the calendar, on a clock that the test turns. The workers' own clocks
are wrong all the time: they learn from Redis which period it is."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from pantler_server.core.board_config import BoardConfig
from pantler_server.core.calendar import Period
from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.errors import InvalidFields
from pantler_server.core.namespace import Namespace
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.leaderboard import keys, scripts
from pantler_server.engines.leaderboard.engine import LeaderboardEngine
from pantler_server.engines.leaderboard.model import ScoreEntry, ScorePolicy, WhichPeriod
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store
from pantler_server.store.request import Script, read
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline
from tests.servers.valkey import ValkeyServer

_numbers = count()


def berlin(*moment: int, fold: int = 0) -> int:
    """A time in Berlin, in us since 1970. Clocks change there on 28 March and 31 October 2027."""
    local = datetime(*moment, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)  # type: ignore[arg-type, misc]
    return int(local.timestamp()) * 1_000_000


SECOND = 1_000_000


@pytest_asyncio.fixture(scope="module")
async def state(valkey: ValkeyServer) -> AsyncIterator[Store]:
    opened = open_store("state", RedisConfig(url=valkey.url), None)
    await opened.start()
    yield opened
    await opened.stop()


class Clock:
    """What scripts read as Redis's time, and boards by it."""

    def __init__(self, store: Store, deadline: Deadline) -> None:
        self.store = store
        self.deadline = deadline
        self.workers = (LeaderboardEngine(store), LeaderboardEngine(store))

    async def execute(self, *command: str | bytes | int) -> Any:
        [reply] = await self.store.call(read(0, "test", command), self.deadline())
        return reply

    async def set(self, unix_us: int) -> None:
        await self.execute("DEL", "clock")
        await self.execute("RPUSH", "clock", *divmod(unix_us, 1_000_000))

    async def space(self, **board: object) -> Namespace:
        where = {"time_zone": "Europe/Berlin"} if "period" in board else {}
        config = BoardConfig.model_validate({**where, **board})
        settings = Settings(namespace_defaults=NamespaceConfig(boards={"b": config}))
        namespaces = NamespaceEngine(self.store, self.store, settings)
        return await namespaces.resolve(f"timed{next(_numbers)}", self.deadline())

    async def submit(self, space: Namespace, member: str, score: float, worker: int = 0) -> int:
        """When the period began that it was counted in (Unix us)."""
        scores = await self.workers[worker].submit(
            space, "b", [ScoreEntry(member, score, {})], ScorePolicy.INCREMENT, "", self.deadline()
        )
        assert scores.span is not None
        return scores.span.start_us

    async def members(
        self, space: Namespace, ago: int = 0, at_us: int | None = None, worker: int = 0
    ) -> dict[str, float]:
        page = await self.workers[worker].list_by_rank(
            space, "b", 1, 100, self.deadline(), which=WhichPeriod(ago, at_us)
        )
        return {one.member: one.score for one in page.entries}

    async def kept(self, space: Namespace) -> list[int]:
        described = await self.workers[0].describe(space, "b", [], self.deadline())
        return list(described.kept_us)

    async def expire_ms(self, space: Namespace, start_us: int) -> list[int]:
        """Of the keys of a period (Unix ms); -1: never, -2: they are not there."""
        tag, start = space.partitions[0].tag, b"%d" % start_us
        return [
            await self.execute("PEXPIRETIME", key(tag, "b", start))
            for key in (keys.scores, keys.members)
        ]


@pytest.fixture(scope="module")
def _turned() -> Iterator[None]:
    """Scripts that read the key `clock` instead of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, script in vars(scripts).items():
            if isinstance(script, Script):
                source = script.source.replace(b"call('TIME')", b"call('LRANGE', 'clock', 0, 1)")
                digest = sha1(source, usedforsecurity=False).hexdigest()
                patch.setattr(scripts, name, Script(source, digest))
        yield


@pytest.fixture
def clock(state: Store, deadline: Deadline, _turned: None) -> Clock:
    return Clock(state, deadline)


@pytest.mark.parametrize(
    ("period", "before", "boundary", "after"),
    [
        (Period.HOUR, (2027, 1, 5, 9), (2027, 1, 5, 10), (2027, 1, 5, 11)),
        (Period.DAY, (2027, 3, 28), (2027, 3, 29), (2027, 3, 30)),  # it has 23 hours
        (Period.DAY, (2027, 10, 31), (2027, 11, 1), (2027, 11, 2)),  # 25 hours
        (Period.WEEK, (2027, 3, 22), (2027, 3, 29), (2027, 4, 5)),
        (Period.MONTH, (2027, 10, 1), (2027, 11, 1), (2027, 12, 1)),
        (Period.YEAR, (2027, 1, 1), (2028, 1, 1), (2029, 1, 1)),
    ],
)
async def test_a_period_ends_to_the_microsecond(
    clock: Clock,
    period: Period,
    before: tuple[int, ...],
    boundary: tuple[int, ...],
    after: tuple[int, ...],
) -> None:
    space = await clock.space(period=period)
    began, changes = berlin(*before), berlin(*boundary)
    await clock.set(began)
    assert await clock.submit(space, "first", 1) == began
    await clock.set(changes - 1)
    assert await clock.submit(space, "last", 1, worker=1) == began
    await clock.set(changes)
    assert await clock.submit(space, "new", 1) == changes
    assert await clock.members(space) == {"new": 1}
    assert await clock.members(space, ago=1, worker=1) == {"first": 1, "last": 1}
    await clock.set(berlin(*after) - 1)
    assert await clock.members(space) == {"new": 1}
    await clock.set(berlin(*after))
    assert await clock.members(space, worker=1) == {}
    assert await clock.members(space, ago=1) == {"new": 1}
    assert await clock.members(space, ago=2) == {"first": 1, "last": 1}


async def test_an_hour_that_comes_twice_is_two_periods(clock: Clock) -> None:
    space = await clock.space(period="hour")
    first, second = berlin(2027, 10, 31, 2), berlin(2027, 10, 31, 2, fold=1)
    assert second - first == 3600 * SECOND
    await clock.set(first + 60 * SECOND)
    assert await clock.submit(space, "a", 1) == first
    await clock.set(second + 60 * SECOND)
    assert await clock.submit(space, "a", 1) == second
    assert await clock.members(space) == {"a": 1}


async def test_periods_that_are_over_stay_readable_for_the_retention(clock: Clock) -> None:
    space = await clock.space(period="day", retention="3d")
    days = [berlin(2027, 6, day) for day in range(1, 8)]
    for number, day in enumerate(days[:2]):
        await clock.set(day)
        await clock.submit(space, f"m{number}", number)
    assert await clock.expire_ms(space, days[1]) == [-1, -1]  # it is the newest, and must not go
    assert await clock.expire_ms(space, days[0]) == [(days[1] + 3 * 86400 * SECOND) // 1000] * 2
    assert await clock.kept(space) == [days[1], days[0]]
    assert await clock.members(space, at_us=days[0] + 5 * SECOND) == {"m0": 0}
    await clock.set(days[4])  # the retention of the first is over
    assert await clock.kept(space) == [days[1]]
    await clock.submit(space, "m4", 4)
    assert await clock.kept(space) == [days[4], days[1]]
    place = keys.board(space.partitions[0].tag, "b")
    fields = await clock.execute("HKEYS", place)
    assert b"p%d" % days[0] not in fields


async def test_an_end_without_retention_deletes(clock: Clock) -> None:
    space = await clock.space(period="day", retention="0s")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    long_ago = int((today - timedelta(days=400)).timestamp()) * SECOND
    await clock.set(long_ago)
    began = await clock.submit(space, "a", 1)
    await clock.set(long_ago + 2 * 86400 * SECOND)
    await clock.submit(space, "b", 1)
    assert await clock.expire_ms(space, began) == [-2, -2]


async def test_nobody_writes_to_it_and_the_newest_period_stays(clock: Clock) -> None:
    space = await clock.space(period="day", retention="1d")
    day = berlin(2027, 6, 1)
    await clock.set(day)
    await clock.submit(space, "a", 1)
    await clock.set(berlin(2029, 6, 1))
    assert await clock.expire_ms(space, day) == [-1, -1]
    assert await clock.members(space) == {}
    assert await clock.kept(space) == [day]


async def test_workers_at_a_boundary_end_the_period_once_and_lose_nothing(clock: Clock) -> None:
    space = await clock.space(period="week")
    boundary = berlin(2027, 3, 29)
    await clock.set(boundary - 1)
    for worker in (0, 1):
        await clock.submit(space, "a", 1, worker)
    await clock.set(boundary)
    starts = await asyncio.gather(
        *(clock.submit(space, "a", 1, number % 2) for number in range(40))
    )
    assert set(starts) == {boundary}
    assert await clock.members(space) == {"a": 40}
    assert await clock.members(space, ago=1) == {"a": 2}


async def test_a_repeat_names_the_period_that_it_was_counted_in(clock: Clock) -> None:
    space, first = await clock.space(period="day"), berlin(2027, 6, 1)
    for day in (1, 2, 9):
        await clock.set(berlin(2027, 6, day))
        scores = await clock.workers[day % 2].submit(
            space, "b", [ScoreEntry("a", 1, {})], ScorePolicy.INCREMENT, "id", clock.deadline()
        )
        assert scores.span is not None
        assert (scores.span.start_us, scores.entries[0].score) == (first, 1)


async def test_a_clock_that_steps_back_finds_the_former_period_again(clock: Clock) -> None:
    space = await clock.space(period="day")
    former, newest = berlin(2027, 6, 1), berlin(2027, 6, 2)
    await clock.set(newest - 1)
    await clock.submit(space, "a", 1)
    await clock.set(newest)
    await clock.submit(space, "a", 10)
    await clock.set(newest - 5 * SECOND)
    assert await clock.submit(space, "a", 1) == former
    assert await clock.expire_ms(space, former) == [-1, -1]
    await clock.set(newest + SECOND)
    assert await clock.submit(space, "a", 10) == newest
    assert await clock.expire_ms(space, newest) == [-1, -1]
    assert await clock.members(space) == {"a": 20}
    assert await clock.members(space, ago=1) == {"a": 2}


async def test_another_period_in_the_configuration_ends_the_former(clock: Clock) -> None:
    weekly, day = await clock.space(period="week"), berlin(2027, 6, 9)
    await clock.set(day)
    week = await clock.submit(weekly, "a", 1)
    config = BoardConfig(period=Period.MONTH, time_zone="Europe/Berlin")
    settings = Settings(namespace_defaults=NamespaceConfig(boards={"b": config}))
    namespaces = NamespaceEngine(clock.store, clock.store, settings)
    monthly = await namespaces.resolve(weekly.name, clock.deadline())
    assert await clock.submit(monthly, "b", 1) == berlin(2027, 6, 1)
    assert await clock.members(monthly) == {"b": 1}
    assert await clock.kept(monthly) == [berlin(2027, 6, 1)]  # no month begins as the week did
    ends = week + 7 * 86400 * SECOND + 31 * 86400 * SECOND
    assert await clock.expire_ms(monthly, week) == [ends // 1000] * 2
    assert await clock.submit(weekly, "a", 1) == week  # which goes on
    assert await clock.members(weekly) == {"a": 2}


async def test_a_period_that_a_shorter_one_takes_the_place_of_is_kept_from_its_end(
    clock: Clock,
) -> None:
    daily, day = await clock.space(period="day"), berlin(2027, 6, 9)
    await clock.set(day + 11 * 3600 * SECOND)
    await clock.submit(daily, "a", 1)
    config = BoardConfig.model_validate(
        {"period": "hour", "time_zone": "Europe/Berlin", "retention": "2h"}
    )
    settings = Settings(namespace_defaults=NamespaceConfig(boards={"b": config}))
    namespaces = NamespaceEngine(clock.store, clock.store, settings)
    hourly = await namespaces.resolve(daily.name, clock.deadline())
    await clock.submit(hourly, "b", 1)
    ends = day + (24 + 2) * 3600 * SECOND
    assert await clock.expire_ms(daily, day) == [ends // 1000] * 2
    assert await clock.members(daily) == {"a": 1}


async def test_a_longer_period_that_begins_at_the_same_moment_is_kept_from_its_end(
    clock: Clock,
) -> None:
    daily, first = await clock.space(period="day", retention="7d"), berlin(2027, 11, 1)
    await clock.set(first + 5 * SECOND)
    await clock.submit(daily, "a", 1)
    config = BoardConfig.model_validate(
        {"period": "month", "time_zone": "Europe/Berlin", "retention": "7d"}
    )
    settings = Settings(namespace_defaults=NamespaceConfig(boards={"b": config}))
    namespaces = NamespaceEngine(clock.store, clock.store, settings)
    monthly = await namespaces.resolve(daily.name, clock.deadline())
    await clock.set(berlin(2027, 11, 20))
    await clock.submit(monthly, "a", 1)
    await clock.set(berlin(2027, 12, 1))
    await clock.submit(monthly, "b", 1)
    assert await clock.expire_ms(monthly, first) == [berlin(2027, 12, 8) // 1000] * 2
    assert await clock.members(monthly, ago=1) == {"a": 2}


async def test_a_repeat_names_its_period_whatever_the_configuration_says_by_then(
    clock: Clock,
) -> None:
    space = await clock.space()
    submit = [ScoreEntry("a", 1, {})], ScorePolicy.INCREMENT, "id"
    first = await clock.workers[0].submit(space, "b", *submit, clock.deadline())
    assert first.span is None
    settings = Settings(
        namespace_defaults=NamespaceConfig(boards={"b": BoardConfig(period=Period.DAY)})
    )
    namespaces = NamespaceEngine(clock.store, clock.store, settings)
    daily = await namespaces.resolve(space.name, clock.deadline())
    await clock.set(berlin(2027, 11, 1))
    assert await clock.workers[1].submit(daily, "b", *submit, clock.deadline()) == first


async def test_a_member_is_removed_from_a_period_that_is_over(clock: Clock) -> None:
    space = await clock.space(period="day")
    await clock.set(berlin(2027, 6, 1))
    await clock.submit(space, "cheat", 9)
    await clock.submit(space, "a", 1)
    await clock.set(berlin(2027, 6, 2))
    await clock.submit(space, "cheat", 9)
    removed = await clock.workers[0].remove(
        space, "b", ["cheat"], clock.deadline(), which=WhichPeriod(ago=1)
    )
    assert removed.entries == [True]
    assert removed.span is not None
    assert removed.span.start_us == berlin(2027, 6, 1)
    assert await clock.members(space, ago=1) == {"a": 1}
    assert await clock.members(space) == {"cheat": 9}


async def test_a_board_is_deleted_with_its_periods(clock: Clock) -> None:
    space = await clock.space(period="day")
    days = [berlin(2027, 6, day) for day in (1, 2, 3)]
    for day in days:
        await clock.set(day)
        await clock.submit(space, "a", 1)
    assert await clock.workers[0].delete(space, "b", clock.deadline())
    for day in days:
        assert await clock.expire_ms(space, day) == [-2, -2]
    assert await clock.kept(space) == []
    assert not await clock.workers[1].delete(space, "b", clock.deadline())


async def test_a_board_without_periods_has_none_to_choose_from(clock: Clock) -> None:
    space = await clock.space()
    for which, path in ((WhichPeriod(ago=1), "periods_ago"), (WhichPeriod(at_us=0), "at")):
        with pytest.raises(InvalidFields, match=path):
            await clock.workers[0].describe(space, "b", [], clock.deadline(), which=which)
