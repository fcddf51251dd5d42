"""Whether a conditional GET or HEAD is answered with 304 Not Modified, or 412 Precondition Failed,
by RFC 9110 section 13.

werkzeug parses the fields. Where it is not what the RFC says, that is mended here: `*` with spaces
around, the empty tag `""`, years of two digits, leap seconds, and dates that are none of the three
formats, which are to be passed over.
"""

import re
from datetime import UTC, datetime, timedelta

from werkzeug.http import parse_date, parse_etags, unquote_etag

MAX_CONDITION_BYTES = 16_384  # of a field: more is no browser's, and would take ms to parse
_OWS = " \t"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_SHORT_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_TIME = r"\d\d:\d\d:\d\d"
_IMF = re.compile(rf"{_SHORT_DAY}, \d\d {_MONTH} \d{{4}} {_TIME} GMT", re.ASCII)
_RFC_850 = re.compile(rf"{_LONG_DAY}, \d\d-{_MONTH}-(\d\d) {_TIME} GMT", re.ASCII)
_ASCTIME = re.compile(rf"{_SHORT_DAY} {_MONTH} (?:\d\d| \d) {_TIME} \d{{4}}", re.ASCII)
_LEAP_SECOND = re.compile(r"(?<=:\d\d):60\b", re.ASCII)
_MOST_YEARS_AHEAD = 50  # of a year of two digits, RFC 9110 section 5.6.7


def not_modified(
    if_none_match: str | None,
    if_modified_since: str | None,
    etag: str,
    last_modified_s: int | None,
) -> bool:
    """For a response that there is, with its ETag as it is sent, '' if it has none, and the Unix
    time of its last change, None if that is not known. None for a field that did not come."""
    if if_none_match is not None:  # then the other is ignored, section 13.1.3
        return matches(if_none_match, etag)
    if if_modified_since is None or last_modified_s is None:
        return False
    since_s = http_date_s(if_modified_since)
    return since_s is not None and last_modified_s <= since_s


def precondition_failed(
    if_match: str | None,
    if_unmodified_since: str | None,
    etag: str,
    last_modified_s: int | None,
) -> bool:
    """As `not_modified`, of the two conditions that come before (section 13.2.2): whether the
    answer is 412."""
    if if_match is not None:
        field = if_match.strip(_OWS)
        if field == "*":
            return False
        opaque, weak = unquote_etag(etag) if etag else ("", True)
        # Strong comparison, section 8.8.3.2: a weak tag is like no other.
        return weak or (opaque or None) not in parse_etags(field).as_set()
    if if_unmodified_since is None or last_modified_s is None:
        return False
    since_s = http_date_s(if_unmodified_since)
    return since_s is not None and last_modified_s > since_s


def matches(if_none_match: str, etag: str) -> bool:
    """Whether the tag is in the list, by weak comparison (section 8.8.3.2); `*` has every
    response."""
    field = if_none_match.strip(_OWS)
    if field == "*":
        return True
    if not etag:
        return False
    # Weak comparison is that of the opaque parts. werkzeug gives None for that of `""`.
    opaque = unquote_etag(etag)[0] or None
    return opaque in parse_etags(field).as_set(include_weak=True)


def http_date_s(text: str) -> int | None:
    """The Unix time of an HTTP date in any of its three formats (section 5.6.7); None if it is
    none."""
    text, leap_seconds = _LEAP_SECOND.subn(":59", text.strip(_OWS))
    old = _RFC_850.fullmatch(text)
    if old is None and not (_IMF.fullmatch(text) or _ASCTIME.fullmatch(text)):
        return None
    if old is not None:
        text = _with_whole_year(text, old)
    moment = parse_date(text)
    # The parser takes a year like 0094 for 1994.
    if moment is None or str(moment.year).zfill(4) not in text:
        return None
    return int(moment.timestamp()) + leap_seconds


def _with_whole_year(text: str, old: "re.Match[str]") -> str:
    """Of the years that end with these digits it is the last that is not more than 50 years ahead:
    compared by the moment, and not by the year alone."""
    now = datetime.now(UTC)
    begin, end = old.span(1)
    century = now.year // 100 * 100
    for years in (100, 0):
        whole = f"{text[:begin]}{century + years + int(old[1])}{text[end:]}"
        moment = parse_date(whole.replace("-", " "))
        if moment is not None and moment <= _years_later(now):
            return whole
    return f"{text[:begin]}{century - 100 + int(old[1])}{text[end:]}"


def _years_later(now: datetime) -> datetime:
    try:
        return now.replace(year=now.year + _MOST_YEARS_AHEAD)
    except ValueError:  # 29 February
        return now.replace(year=now.year + _MOST_YEARS_AHEAD, day=28) + timedelta(days=1)
