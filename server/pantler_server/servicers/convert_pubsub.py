"""Between the messages of PubSubService and the engine's models, checking on the way in."""

from collections.abc import Sequence
from typing import NamedTuple

from pantler.v1 import pubsub_pb2

from pantler_server.core.errors import FieldViolation
from pantler_server.core.glob import Glob, compile_glob
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub.model import Event, Gap, GapReason, Heartbeat, Message
from pantler_server.servicers import validate

MAX_NAMES = 100  # channels of one subscription, and patterns

_REASONS = {
    GapReason.SLOW: pubsub_pb2.GAP_REASON_SLOW,
    GapReason.DISCONNECTED: pubsub_pb2.GAP_REASON_DISCONNECTED,
    GapReason.HISTORY: pubsub_pb2.GAP_REASON_HISTORY,
    GapReason.FAILOVER: pubsub_pb2.GAP_REASON_FAILOVER,
}


class Wanted(NamedTuple):
    """What a request to subscribe asks for."""

    namespace: str
    channels: tuple[str, ...]
    globs: list[Glob]
    resume_after: int | None
    heartbeat_s: float


def message(request: pubsub_pb2.PublishRequest, namespace: Namespace) -> Message:
    """What is to be published, with no sequence yet."""
    violations: validate.Violations = []
    validate.key(request.channel, "channel", violations)
    most = namespace.config.channels.max_payload_bytes
    validate.value(request.payload, most, "payload", violations)
    validate.content_type(request.content_type, "content_type", violations)
    validate.request_id(request.request_id, violations)
    validate.refuse(violations)
    return Message(request.channel, request.payload, request.content_type, 0, 0)


def wanted(request: pubsub_pb2.SubscribeRequest) -> Wanted:
    name = validate.namespace(request.namespace)
    violations: validate.Violations = []
    if not request.channels and not request.patterns:
        rule = "must have at least one item where there are no patterns"
        violations.append(FieldViolation("channels", rule))
    channels = _channels(request.channels, violations)
    globs = _globs(request.patterns, violations)
    heartbeat_s = validate.heartbeat_s(request, violations)
    validate.refuse(violations)
    resume_after = request.resume_after if request.HasField("resume_after") else None
    return Wanted(name, channels, globs, resume_after, heartbeat_s)


def _channels(names: Sequence[str], violations: validate.Violations) -> tuple[str, ...]:
    if not _are_few(names, "channels", violations):
        return ()
    for index, name in enumerate(names):
        validate.key(name, f"channels[{index}]", violations)
    return tuple(dict.fromkeys(names))


def _globs(patterns: Sequence[str], violations: validate.Violations) -> list[Glob]:
    if not _are_few(patterns, "patterns", violations):
        return []
    globs = []
    for index, pattern in enumerate(patterns):
        path = f"patterns[{index}]"
        validate.text(pattern, validate.MAX_KEY_BYTES, path, violations)
        try:
            globs.append(compile_glob(pattern))
        except ValueError as exc:
            violations.append(FieldViolation(path, str(exc)))
    return globs


def _are_few(names: Sequence[str], path: str, violations: validate.Violations) -> bool:
    if len(names) > MAX_NAMES:
        violations.append(FieldViolation(path, f"must have at most {MAX_NAMES} items"))
    return len(names) <= MAX_NAMES


def subscribe_response(event: Event) -> pubsub_pb2.SubscribeResponse:
    """Of a message it is made once, for all who get it."""
    if not isinstance(event, Message):
        return _notice(event)
    if not isinstance(event.response, pubsub_pb2.SubscribeResponse):
        event.response = pubsub_pb2.SubscribeResponse(
            message=pubsub_pb2.ChannelMessage(
                channel=event.channel,
                payload=event.payload,
                content_type=event.content_type,
                sequence=event.sequence,
            )
        )
    return event.response


def _notice(event: Gap | Heartbeat) -> pubsub_pb2.SubscribeResponse:
    if isinstance(event, Gap):
        gap = pubsub_pb2.ChannelGap(reason=_REASONS[event.reason], sequence=event.sequence)
        return pubsub_pb2.SubscribeResponse(gap=gap)
    heartbeat = pubsub_pb2.ChannelHeartbeat(sequence=event.sequence)
    return pubsub_pb2.SubscribeResponse(heartbeat=heartbeat)
