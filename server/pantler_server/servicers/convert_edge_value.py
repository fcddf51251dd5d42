"""Between the messages of edge values and the edge value engine, checking on the way in what the
vendor would refuse."""

import re
from itertools import chain
from math import isfinite

from google.protobuf.duration_pb2 import Duration
from pantler.v1 import cdn_pb2

from pantler_server import record_struct
from pantler_server.cdns.target import EdgeValue
from pantler_server.core import canonical_json
from pantler_server.core.cdn_config import TEN_YEARS
from pantler_server.core.errors import FieldViolation
from pantler_server.core.record import MAX_DEPTH
from pantler_server.servicers import validate

MAX_TARGET_BYTES = 128
MAX_VALUE_BYTES = 25 << 20
MIN_TTL_S = 60
MAX_TTL_S = int(TEN_YEARS.total_seconds())
MAX_METADATA_BYTES = 1024
_HALF = re.compile("[\ud800-\udfff]")  # of a character

_Named = cdn_pb2.PutEdgeValueRequest | cdn_pb2.GetEdgeValueRequest | cdn_pb2.DeleteEdgeValueRequest


def put(request: cdn_pb2.PutEdgeValueRequest) -> tuple[int | None, dict[str, object] | None]:
    """The ttl (s) and the metadata, None each if unset."""
    violations: validate.Violations = []
    _check(request, violations)
    validate.value(request.value, MAX_VALUE_BYTES, "value", violations)
    ttl_s = _ttl_s(request.ttl, violations) if request.HasField("ttl") else None
    metadata = _metadata(request, violations) if request.HasField("metadata") else None
    validate.refuse(violations)
    return ttl_s, metadata


def check(request: cdn_pb2.GetEdgeValueRequest | cdn_pb2.DeleteEdgeValueRequest) -> None:
    violations: validate.Violations = []
    _check(request, violations)
    validate.refuse(violations)


def get_response(found: EdgeValue | None) -> cdn_pb2.GetEdgeValueResponse:
    response = cdn_pb2.GetEdgeValueResponse()
    if found is None:
        return response
    response.value.value = found.value
    if found.expires_s is not None:
        response.value.expire_time.FromSeconds(found.expires_s)
    if found.metadata is not None and _can_be_told(found.metadata, MAX_DEPTH):
        record_struct.fill(response.value.metadata, canonical_json.normal(found.metadata))
    return response


def _check(request: _Named, violations: validate.Violations) -> None:
    if not request.target:
        violations.append(FieldViolation("target", "must not be empty"))
    validate.text(request.target, MAX_TARGET_BYTES, "target", violations)
    validate.key(request.key, "key", violations)
    if request.key in (".", ".."):
        violations.append(FieldViolation("key", "must not be . or .."))


def _ttl_s(ttl: Duration, violations: validate.Violations) -> int:
    """Part of a second counts as a whole."""
    ttl_s = ttl.seconds + (ttl.nanos > 0)
    if not MIN_TTL_S <= ttl_s <= MAX_TTL_S or ttl.nanos < 0:
        violations.append(FieldViolation("ttl", f"must be {MIN_TTL_S} s to 10 years"))
    return ttl_s


def _metadata(
    request: cdn_pb2.PutEdgeValueRequest, violations: validate.Violations
) -> dict[str, object]:
    before = len(violations)
    metadata: dict[str, object] = record_struct.read(request.metadata, "metadata", violations)
    if len(violations) == before:
        size = len(canonical_json.encode(metadata))
        if size > MAX_METADATA_BYTES:
            rule = f"must be at most {MAX_METADATA_BYTES} bytes as JSON, not {size}"
            violations.append(FieldViolation("metadata", rule))
    return metadata


def _can_be_told(value: object, depth: int) -> bool:
    """Whether its numbers are finite, its texts are Unicode, and it has at most that many levels:
    others may put what no message can hold."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, str):
        return not _HALF.search(value)
    if not isinstance(value, dict | list):
        return True
    items = chain(value, value.values()) if isinstance(value, dict) else value
    return depth > 0 and all(_can_be_told(item, depth - 1) for item in items)
