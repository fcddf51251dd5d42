"""Between the messages of CacheService and what the client gives back."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from pantler.errors import PantlerError, from_status
from pantler.model import Description, Entry, SetResult
from pantler.v1 import cache_pb2


def entry_of(hit: cache_pb2.Hit) -> Entry:
    message = hit.entry
    created, expires = message.create_time, message.expire_time
    # Past the constructor, which takes as long as all the rest.
    return tuple.__new__(
        Entry,
        (
            message.value,
            message.version,
            created.seconds * 1_000_000 + created.nanos // 1000,
            expires.seconds * 1_000_000 + expires.nanos // 1000,
            message.content_type,
            tuple(message.tags),
            hit.stale,
        ),
    )


def found(outcome: cache_pb2.BatchGetOutcome) -> Entry | PantlerError | None:
    if outcome.HasField("error"):
        return from_status(outcome.error)
    return entry_of(outcome.hit) if outcome.HasField("hit") else None


def set_result(message: cache_pb2.SetResponse | cache_pb2.BatchSetOutcome) -> SetResult:
    stored = message.outcome == cache_pb2.SET_OUTCOME_STORED
    return SetResult(
        stored=stored,
        version=message.version,
        expire_time=message.expire_time.ToDatetime(UTC) if stored else None,
        visible=message.visible,
    )


def description(message: cache_pb2.DescribeResponse) -> Description:
    reason = message.miss_reason
    known = reason in cache_pb2.MissReason.values()  # not to all clients of a newer server
    name = cache_pb2.MissReason.Name(reason) if known else str(reason)

    def time(field: str) -> datetime | None:
        value: Timestamp = getattr(message, field)
        return value.ToDatetime(UTC) if message.HasField(field) else None

    return Description(
        found=message.found,
        stale=message.stale,
        miss_reason=None if message.found else name.removeprefix("MISS_REASON_"),
        miss_time=time("miss_time"),
        miss_cause=message.miss_cause,
        version=message.version,
        create_time=time("create_time"),
        expire_time=time("expire_time"),
        drop_time=time("drop_time"),
        ttl=message.ttl.ToTimedelta() if message.HasField("ttl") else None,
        sliding=message.sliding,
        value_bytes=message.value_bytes,
        content_type=message.content_type,
        tags=tuple(message.tags),
        depends_on=tuple(message.depends_on),
        lease_expire_time=time("lease_expire_time"),
    )
