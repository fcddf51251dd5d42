"""What channels do, for Prometheus: counted in plain integers, which go there once a second, since
one by one they would cost a message more than its way."""

from prometheus_client import Counter, Gauge

from pantler_server.engines.pubsub.model import GapReason

FLUSH_INTERVAL_S = 1.0

SUBSCRIBERS = Gauge("pantler_subscribers", "Subscriptions under way", multiprocess_mode="livesum")
_PUBLISHED = Counter("pantler_channel_messages_published", "Calls of Publish that succeeded")
_GIVEN = Counter("pantler_channel_messages_given", "Messages put to subscribers, each one to each")
_GAPS = Counter(
    "pantler_channel_gaps", "Gaps that subscribers were told of, by reason", ("reason",)
)


class _Counts:
    published = 0
    given = 0


_counts = _Counts()


def count_published() -> None:
    _counts.published += 1


def count_given(times: int) -> None:
    _counts.given += times


def count_gaps(reason: GapReason, times: int) -> None:
    _GAPS.labels(reason.value).inc(times)


def flush() -> None:
    """Hands on to Prometheus what was counted."""
    _PUBLISHED.inc(_counts.published)
    _GIVEN.inc(_counts.given)
    _counts.published = _counts.given = 0
