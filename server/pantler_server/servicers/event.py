"""Between the messages of PublishEvent and the event engine's models, checking on the way in."""

from typing import Any

from google.protobuf.struct_pb2 import Struct, Value
from pantler.v1 import invalidation_pb2

from pantler_server.core.errors import FieldViolation
from pantler_server.core.event_config import MAX_TYPE_BYTES
from pantler_server.engines.events.model import Event, Published
from pantler_server.servicers import validate

MAX_EVENT_BYTES = 64 << 10  # as invalidation.proto says


def event_of(request: invalidation_pb2.PublishEventRequest) -> Event:
    violations: validate.Violations = []
    if not request.type:
        violations.append(FieldViolation("type", "must not be empty"))
    validate.text(request.type, MAX_TYPE_BYTES, "type", violations)
    validate.text(request.event_id, validate.MAX_ID_BYTES, "event_id", violations)
    size = request.fields.ByteSize()
    if size > MAX_EVENT_BYTES:
        said = f"must be at most {MAX_EVENT_BYTES} bytes, not {size}"
        violations.append(FieldViolation("fields", said))
    validate.refuse(violations)
    return Event(request.type, _plain_object(request.fields), request.event_id)


def publish_response(published: Published) -> invalidation_pb2.PublishEventResponse:
    response = invalidation_pb2.PublishEventResponse(duplicate=published.duplicate)
    for outcome in published.outcomes:
        response.outcomes.add(
            rule=outcome.rule,
            namespace=outcome.namespace,
            mode=(
                invalidation_pb2.INVALIDATION_MODE_SOFT
                if outcome.soft
                else invalidation_pb2.INVALIDATION_MODE_HARD
            ),
            keys=outcome.keys,
            cascaded=outcome.cascaded,
            tags=outcome.tags,
            all=outcome.all,
            purge_ids=outcome.purge_ids,
        )
    return response


def _plain_object(message: Struct) -> dict[str, Any]:
    return {name: _plain(value) for name, value in message.fields.items()}


def _plain(message: Value) -> Any:
    match message.WhichOneof("kind"):
        case "struct_value":
            return _plain_object(message.struct_value)
        case "list_value":
            return [_plain(one) for one in message.list_value.values]
        case None | "null_value":
            return None
        case kind:
            return getattr(message, kind)
