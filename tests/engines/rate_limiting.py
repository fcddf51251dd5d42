"""What the tests of rate limits have in common."""

from itertools import count

from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check

LONG_MS = 3_600_000  # no test sees its end
LONG = {algorithm: Rule(algorithm, 10, LONG_MS) for algorithm in Algorithm}
"""Ten an hour: nothing comes back while a test lasts."""

_subjects = count()


def a_subject() -> str:
    """One that no other test uses."""
    return f"user:{next(_subjects)}"


def a_check(rule: Rule, cost: int = 1) -> Check:
    """Of a subject that no other test uses."""
    return Check(Limit(rule), a_subject(), cost)


def costing(check: Check, cost: int) -> Check:
    """The same, of another cost."""
    return Check(check.limit, check.subject, cost)
