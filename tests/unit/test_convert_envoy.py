"""How Envoy is told of a window."""

import pytest
from pantler_server.core.calendar import Period
from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit.envoy import Status, Verdict
from pantler_server.generated.rls_pb2 import RateLimitResponse
from pantler_server.servicers.convert_envoy import response

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(Algorithm.GCRA, 5, 1000), "5 SECOND"),
        (Rule(Algorithm.GCRA, 5, 90_000), "5 90 SECOND"),
        (Rule(Algorithm.GCRA, 5, 3_600_000), "5 HOUR"),
        (Rule(Algorithm.GCRA, 5, 5_400_000), "5 90 MINUTE"),
        (Rule(Algorithm.GCRA, 5, 14 * DAY_MS), "5 2 WEEK"),
        (Rule(Algorithm.GCRA, 5, 31 * DAY_MS), "5 31 DAY"),
        (Rule(Algorithm.GCRA, 5, 90 * DAY_MS), "5 3 MONTH"),
        (Rule(Algorithm.GCRA, 5, 365 * DAY_MS), "5 YEAR"),
        (Rule(Algorithm.GCRA, 5, 1500), "5 UNKNOWN"),
        (Rule(Algorithm.GCRA, 5, 50), "5 UNKNOWN"),
        (Rule(Algorithm.GCRA, 10**12, 1000), f"{2**32 - 1} SECOND"),
        *(
            (Rule(Algorithm.FIXED_WINDOW, 5, calendar=period), f"5 {period.upper()}")
            for period in Period
        ),
    ],
)
def test_a_window_is_told_in_the_longest_unit_that_it_is_made_up_of(
    rule: Rule, expected: str
) -> None:
    [status] = response(Verdict(False, [Status(rule=rule)], None)).statuses
    limit = status.current_limit
    units = f"{limit.unit_multiplier.value} " if limit.HasField("unit_multiplier") else ""
    unit = RateLimitResponse.RateLimit.Unit.Name(limit.unit)
    assert f"{limit.requests_per_unit} {units}{unit}" == expected


def test_time_is_told_in_whole_seconds_so_that_none_comes_too_early() -> None:
    rule = Rule(Algorithm.GCRA, 5, 1000)
    for until_us, seconds in ((0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2)):
        status = Status(over=True, rule=rule, until_us=until_us)
        message = response(Verdict(True, [status], status))
        assert message.statuses[0].duration_until_reset.ToMicroseconds() == seconds * 1_000_000
        headers = {header.key: header.value for header in message.response_headers_to_add}
        assert headers["retry-after"] == str(seconds)
