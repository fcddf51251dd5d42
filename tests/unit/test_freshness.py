"""Conditional requests against what RFC 9110 says of them, case by case, each with its section."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.engines.cdn import freshness
from werkzeug.http import http_date

CHANGED_S = int(datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp())
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"


class Case(NamedTuple):
    """Of a response that has the ETag `"a"` and the time above, if nothing else is said."""

    section: str
    what: str
    if_none_match: str | None = None
    if_modified_since: str | None = None
    etag: str = '"a"'
    changed_s: int | None = CHANGED_S
    not_modified: bool = False


CASES = [
    Case("13.2.1", "without a condition there is nothing to evaluate"),
    # If-None-Match
    Case("13.1.2", "the same tag", '"a"', not_modified=True),
    Case("13.1.2", "another tag", '"b"'),
    Case("13.1.2", "one of a list", '"b", "a", "c"', not_modified=True),
    Case("13.1.2", "none of a list", '"b", "c"'),
    Case("13.1.2", "`*` has whatever there is", "*", not_modified=True),
    Case("13.1.2", "`*` also has what has no tag", "*", etag="", not_modified=True),
    Case("5.5", "spaces around a field are not part of it", " * ", not_modified=True),
    Case("5.6.1.2", "an empty element of a list counts for nothing", ',, "a",', not_modified=True),
    Case("5.6.1.2", "spaces and tabs around elements", '"b"\t ,\t"a" ', not_modified=True),
    Case("8.8.3", "a quoted asterisk is a tag", '"*"'),
    Case("8.8.3", "… like any other", '"*"', etag='"*"', not_modified=True),
    Case("8.8.3", "a comma may be in a tag", '"a,b"'),
    Case("8.8.3", "… and does not end it", '"b", "a,b"', etag='"a,b"', not_modified=True),
    Case("8.8.3", "a backslash is nothing special", r'"a\b"', etag=r'"a\b"', not_modified=True),
    Case("8.8.3", "the empty tag", '""', etag='""', not_modified=True),
    Case("8.8.3", "… is not another", '""'),
    Case("8.8.3", "tags differ in case", '"A"'),
    Case("8.8.3", "a response without a tag matches none", '"a"', etag=""),
    # Weak comparison: the table of section 8.8.3.2
    Case("8.8.3.2", "W/1 and W/1", 'W/"1"', etag='W/"1"', not_modified=True),
    Case("8.8.3.2", "W/1 and W/2", 'W/"1"', etag='W/"2"'),
    Case("8.8.3.2", "W/1 and 1", 'W/"1"', etag='"1"', not_modified=True),
    Case("8.8.3.2", "1 and W/1", '"1"', etag='W/"1"', not_modified=True),
    Case("8.8.3.2", "1 and 1", '"1"', etag='"1"', not_modified=True),
    Case("13.1.2", "a weak one in a list", '"b", W/"a"', not_modified=True),
    # If-Modified-Since
    Case("13.1.3", "changed at that time", if_modified_since=SAME, not_modified=True),
    Case("13.1.3", "changed before", if_modified_since=LATER, not_modified=True),
    Case("13.1.3", "changed since", if_modified_since=EARLIER),
    Case("13.1.3", "what is no date is ignored", if_modified_since="yesterday"),
    Case("13.1.3", "so is an empty field", if_modified_since=""),
    Case("13.1.3", "so is a list of dates", if_modified_since=f"{LATER}, {LATER}"),
    Case("13.1.3", "no time of change is known", if_modified_since=LATER, changed_s=None),
    # Both: the order of section 13.2.2
    Case("13.2.2", "the tag decides: it differs", '"b"', LATER),
    Case("13.2.2", "the tag decides: it is the same", '"a"', EARLIER, not_modified=True),
    Case("13.1.3", "the date is ignored also where the list is empty", "", LATER),
    # Dates: section 5.6.7
    Case("5.6.7", "IMF-fixdate", if_modified_since=SAME, not_modified=True),
    Case(
        "5.6.7",
        "RFC 850",
        if_modified_since="Sunday, 06-Nov-94 08:49:37 GMT",
        not_modified=True,
    ),
    Case("5.6.7", "… earlier", if_modified_since="Sunday, 06-Nov-94 08:49:36 GMT"),
    Case("5.6.7", "asctime", if_modified_since="Sun Nov  6 08:49:37 1994", not_modified=True),
    Case("5.6.7", "… earlier", if_modified_since="Sun Nov  6 08:49:36 1994"),
    Case(
        "5.6.7",
        "asctime with a day of two digits",
        if_modified_since="Wed Nov 16 08:49:37 1994",
        not_modified=True,
    ),
    Case("5.5", "spaces around a date", if_modified_since=f" {SAME}\t", not_modified=True),
    Case(
        "5.6.7",
        "a leap second",
        if_modified_since="Sat, 31 Dec 2016 23:59:60 GMT",
        changed_s=int(datetime(2017, 1, 1, tzinfo=UTC).timestamp()),
        not_modified=True,
    ),
    Case("5.6.7", "no zone but GMT", if_modified_since="Mon, 07 Nov 1994 08:49:37 +0100"),
    Case("5.6.7", "nor UTC", if_modified_since="Mon, 07 Nov 1994 08:49:37 UTC"),
    Case("5.6.7", "no date that there is not", if_modified_since="Thu, 31 Nov 1994 08:49:37 GMT"),
    Case("5.6.7", "nor time", if_modified_since="Mon, 07 Nov 1994 24:49:37 GMT"),
    Case("5.6.7", "a year has four digits", if_modified_since="Mon, 07 Nov 94 08:49:37 GMT"),
    Case("5.6.7", "and is what it says", if_modified_since="Sun, 07 Nov 0095 08:49:37 GMT"),
    Case("5.6.7", "names are written as they are", if_modified_since=LATER.lower()),
    Case("5.6.7", "digits are those of ASCII", if_modified_since=LATER.replace("4", "٤")),
    Case("5.6.7", "no ISO 8601", if_modified_since="1994-11-07T08:49:37Z"),
    Case("5.6.7", "no number of seconds", if_modified_since="900000000"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section} {case.what}")
def test_a_condition_is_evaluated_as_its_section_says(case: Case) -> None:
    asked = case.if_none_match, case.if_modified_since, case.etag, case.changed_s
    assert freshness.not_modified(*asked) is case.not_modified


FAILED = [
    Case("13.2.1", "without a condition nothing fails"),
    # `not_modified` stands for a 412 here, and the fields for If-Match and If-Unmodified-Since.
    Case("13.1.1", "the same tag", '"a"'),
    Case("13.1.1", "one of a list", '"b", "a"'),
    Case("13.1.1", "`*` has whatever there is", " *", etag=""),
    Case("13.1.1", "another tag", '"b"', not_modified=True),
    Case("13.1.1", "an empty list", "", not_modified=True),
    Case("13.1.1", "what has no tag matches none", '"a"', etag="", not_modified=True),
    Case("8.8.3.2", "W/1 and W/1", 'W/"1"', etag='W/"1"', not_modified=True),
    Case("8.8.3.2", "W/1 and 1", 'W/"1"', etag='"1"', not_modified=True),
    Case("8.8.3.2", "1 and W/1", '"1"', etag='W/"1"', not_modified=True),
    Case("8.8.3.2", "1 and 1", '"1"', etag='"1"'),
    Case("8.8.3", "the empty tag", '""', etag='""'),
    Case("13.1.4", "changed at that time", if_modified_since=SAME),
    Case("13.1.4", "changed before", if_modified_since=LATER),
    Case("13.1.4", "changed since", if_modified_since=EARLIER, not_modified=True),
    Case("13.1.4", "what is no date is ignored", if_modified_since="yesterday"),
    Case("13.1.4", "no time of change is known", if_modified_since=EARLIER, changed_s=None),
    Case("13.2.2", "the tag decides: it is the same", '"a"', EARLIER),
    Case("13.2.2", "the tag decides: it differs", '"b"', LATER, not_modified=True),
]


@pytest.mark.parametrize("case", FAILED, ids=lambda case: f"{case.section} {case.what}")
def test_a_precondition_fails_as_its_section_says(case: Case) -> None:
    asked = case.if_none_match, case.if_modified_since, case.etag, case.changed_s
    assert freshness.precondition_failed(*asked) is case.not_modified


@pytest.mark.parametrize(
    ("ahead", "as_is"),
    [(timedelta(days=-1), True), (timedelta(days=1), False), (timedelta(days=366 * 10), False)],
)
def test_a_year_of_two_digits_is_at_most_50_years_ahead(ahead: timedelta, as_is: bool) -> None:
    """Section 5.6.7: one that appears to be more than 50 years ahead is of the past."""
    now = datetime.now(UTC)
    in_50_years = now.replace(year=now.year + 50, day=min(now.day, 28)) + ahead
    if in_50_years.day != now.day and now.day > 28:
        in_50_years = in_50_years.replace(day=28)
    written = in_50_years.strftime("%A, %d-%b-%y %H:%M:%S GMT")
    meant = in_50_years if as_is else in_50_years.replace(year=in_50_years.year - 100)
    assert freshness.http_date_s(written) == int(meant.timestamp())


def test_a_year_of_two_digits_that_has_just_begun_is_this_one() -> None:
    now = datetime.now(UTC)
    written = now.strftime("%A, %d-%b-%y %H:%M:%S GMT")
    assert freshness.http_date_s(written) == int(now.timestamp())


@given(st.integers(0, 253_402_300_799))
def test_a_date_that_is_told_is_understood(moment_s: int) -> None:
    assert freshness.http_date_s(http_date(moment_s)) == moment_s
    written = datetime.fromtimestamp(moment_s, UTC)
    assert freshness.http_date_s(f"{written:%a %b} {written.day:2} {written:%H:%M:%S %Y}") == (
        moment_s
    )


@given(st.text(), st.text())
def test_whatever_comes_is_answered(if_none_match: str, if_modified_since: str) -> None:
    freshness.not_modified(if_none_match, None, '"a"', CHANGED_S)
    freshness.not_modified(None, if_modified_since, '"a"', CHANGED_S)
