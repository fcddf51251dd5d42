"""Periods of the calendar, with their changes of clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pantler_server.core.calendar import Period, earlier_span, span_at, time_zone

HALF = "Australia/Lord_Howe"  # clocks change by half an hour
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",  # half an hour off
    HALF,
    "America/Sao_Paulo",  # had no midnight where its summer time began
    "Pacific/Apia",  # left out a day
]
TIMES = st.integers(946_684_800_000_000, 2_000_000_000_000_000)  # 2000 to 2033


def unix_us(zone: str, year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    moment = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone))
    return int(moment.timestamp()) * 1_000_000


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("period", Period)
def test_each_time_is_in_one_span_and_spans_meet(period: Period, zone: str) -> None:
    @settings(max_examples=30)  # for each period and zone
    @given(TIMES)
    def run(now: int) -> None:
        span = span_at(period, time_zone(zone), now)
        assert span.start_us <= now < span.end_us
        for inside in (span.start_us, span.end_us - 1):
            assert span_at(period, time_zone(zone), inside) == span
        after = span_at(period, time_zone(zone), span.end_us)
        assert after.start_us == span.end_us

    run()


# Not where a day was left out: by the calendar it is one day ago that nobody had. Nor where some
# hours have half: there it is the one that so many times 60 minutes ago was in.
@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone not in ("Pacific/Apia", HALF)])
@pytest.mark.parametrize("period", Period)
def test_so_many_periods_ago_is_so_many_steps_back(period: Period, zone: str) -> None:
    @settings(max_examples=30)  # for each period and zone
    @given(TIMES, st.integers(0, 40))
    def run(now: int, ago: int) -> None:
        span = expected = span_at(period, time_zone(zone), now)
        for _ in range(ago):
            expected = span_at(period, time_zone(zone), expected.start_us - 1)
        assert earlier_span(period, time_zone(zone), span.start_us, ago) == expected

    run()


@pytest.mark.parametrize(
    ("day", "hours"), [((2026, 3, 28), 24), ((2026, 3, 29), 23), ((2026, 10, 25), 25)]
)
def test_a_day_is_as_long_as_its_clocks_say(day: tuple[int, int, int], hours: int) -> None:
    span = span_at(Period.DAY, time_zone("Europe/Berlin"), unix_us("Europe/Berlin", *day, 12))
    assert span.start_us == unix_us("Europe/Berlin", *day)
    assert timedelta(microseconds=span.end_us - span.start_us) == timedelta(hours=hours)


@pytest.mark.parametrize(
    "change", [datetime(2027, 4, 3, 15, tzinfo=UTC), datetime(2027, 10, 2, 15, 30, tzinfo=UTC)]
)
def test_hours_meet_where_clocks_change_by_half_an_hour(change: datetime) -> None:
    zone, changes = time_zone(HALF), int(change.timestamp())
    lengths = set()
    for now in range(changes - 7200, changes + 7200, 60):
        span = span_at(Period.HOUR, zone, now * 1_000_000)
        assert span.start_us <= now * 1_000_000 < span.end_us
        assert span_at(Period.HOUR, zone, span.end_us).start_us == span.end_us
        assert span_at(Period.HOUR, zone, span.start_us - 1).end_us == span.start_us
        lengths.add((span.end_us - span.start_us) // 60_000_000)
    assert lengths == {30, 60}


def test_periods_begin_where_people_say() -> None:
    zone, now = "America/New_York", unix_us("America/New_York", 2026, 11, 26, 10, 20)
    begins: dict[Period, tuple[int, ...]] = {
        Period.HOUR: (2026, 11, 26, 10),
        Period.DAY: (2026, 11, 26),
        Period.WEEK: (2026, 11, 23),
        Period.MONTH: (2026, 11, 1),
        Period.YEAR: (2026, 1, 1),
    }
    for period, begin in begins.items():
        assert span_at(period, time_zone(zone), now).start_us == unix_us(zone, *begin)


@pytest.mark.parametrize("name", ["Mars/Phobos", "Europe", "../etc/passwd", "Europe/Berlin\0", "/"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone such as"):
        time_zone(name)


def test_no_name_is_utc() -> None:
    assert time_zone("").key == "UTC"
