"""Between the messages of WatchInvalidations and the watch engine, checking on the way in."""

from functools import lru_cache
from typing import NamedTuple

from pantler.v1 import invalidation_pb2

from pantler_server.core.errors import FieldViolation
from pantler_server.engines.cache.watch import token
from pantler_server.engines.cache.watch.model import Change, Kind, Told
from pantler_server.engines.cache.watch.token import Token
from pantler_server.servicers import validate
from pantler_server.servicers.convert import timestamp

# A token has some 214 characters for one of 64 partitions, 3,631 for one of 1,024, and every
# message has all of it.
MAX_NAMESPACES = token.MAX_NAMESPACES


class Watch(NamedTuple):
    """What a request asks for."""

    namespaces: tuple[str, ...]
    resume: Token | None
    heartbeat_s: float


def watch_of(request: invalidation_pb2.WatchInvalidationsRequest) -> Watch:
    names = validate.namespaces(request.namespaces, MAX_NAMESPACES)
    violations: validate.Violations = []
    heartbeat_s = validate.heartbeat_s(request, violations)
    resume = None
    if request.resume_token:
        resume = token.read(request.resume_token)
        if resume is None:
            rule = "must be a token that a watch gave"
            violations.append(FieldViolation("resume_token", rule))
    validate.refuse(violations)
    return Watch(names, resume, heartbeat_s)


def watch_response(told: Told) -> invalidation_pb2.WatchInvalidationsResponse:
    # A heartbeat is each watcher's own, and would only push out what others still need.
    return _shared_response(told) if told.changes else _response(told)


@lru_cache(maxsize=16)
def _shared_response(told: Told) -> invalidation_pb2.WatchInvalidationsResponse:
    """Made once for all who are told the same at about the same time."""
    return _response(told)


def _response(told: Told) -> invalidation_pb2.WatchInvalidationsResponse:
    response = invalidation_pb2.WatchInvalidationsResponse(
        gaps=told.gaps, resume_token=told.token, with_writes=told.with_writes
    )
    for change in told.changes:
        _fill(response.events.add(), change)
    return response


def _fill(event: invalidation_pb2.InvalidationEvent, change: Change) -> None:
    event.namespace = change.namespace
    if change.kind is not Kind.WRITE:
        event.mode = (
            invalidation_pb2.INVALIDATION_MODE_SOFT
            if change.soft
            else invalidation_pb2.INVALIDATION_MODE_HARD
        )
    match change.kind:
        case Kind.KEY:
            event.key = change.name
        case Kind.TAG:
            event.tag = change.name
        case Kind.DEPENDENCY:
            event.dependency = change.name
        case Kind.NAMESPACE:
            event.all = True
        case Kind.AGE:
            before = timestamp(change.before_us)
            assert before is not None  # no time before 1970 is taken
            event.created_before.CopyFrom(before)
        case Kind.PATTERN:
            event.pattern = change.name
        case Kind.WRITE:
            event.written_key = change.name
