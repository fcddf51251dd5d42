"""Between the messages of CdnService and the CDN engine's models, checking on the way in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from pantler.v1 import cdn_pb2

from pantler_server.core.cdn_config import HEADER_NAME, TEN_YEARS
from pantler_server.core.errors import FieldViolation
from pantler_server.engines.cdn import headers
from pantler_server.engines.cdn.freshness import MAX_CONDITION_BYTES
from pantler_server.engines.cdn.model import CachePolicy
from pantler_server.engines.cdn.tag import wire_tag
from pantler_server.servicers import validate

MAX_VARY = 16  # as cdn.proto says, like those below
MAX_ETAG_BYTES = 1024
_MAX_SECONDS = TEN_YEARS // timedelta(seconds=1)
_LAST_SECOND = 253_402_300_799  # of the year 9999

_HEADER_NAME = re.compile(HEADER_NAME)
_LIFETIMES = ("max_age", "s_maxage", "cdn_max_age")
_GRACES = ("stale_while_revalidate", "stale_if_error")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What BuildHeaders is to tell."""

    policy: CachePolicy | None
    namespace: str
    """Whose policy is taken if there is none; may be empty."""
    etag: str
    """As it is sent; empty for none."""
    last_modified_s: float | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What CheckFreshness is asked. None for a field that did not come."""

    if_none_match: str | None
    if_modified_since: str | None
    etag: str
    last_modified_s: int | None


def wanted(request: cdn_pb2.BuildHeadersRequest) -> Wanted:
    violations: validate.Violations = []
    policy = None
    if request.HasField("policy"):
        policy = _policy(request.policy, violations)
        if request.namespace:
            rule = "must be empty with a policy, which is taken in its place"
            violations.append(FieldViolation("namespace", rule))
    elif request.namespace:
        validate.namespace(request.namespace)
    match request.WhichOneof("validator"):
        case "content":
            etag = headers.content_etag(request.content, weak=request.weak)
        case "etag":
            etag = _etag(request.etag, violations, weak=request.weak)
        case None:
            etag = ""
            if request.weak:
                violations.append(FieldViolation("weak", "is of no use without an ETag"))
    last_modified_s = None
    if request.HasField("last_modified"):
        last_modified_s = _moment_s(request.last_modified, violations)
    tags = validate.labels(request.tags, validate.MAX_TAG_BYTES, "tags", violations)
    if headers.tag_bytes([wire_tag(tag) for tag in tags]) > headers.MAX_TAG_HEADER_BYTES:
        rule = f"must be at most {headers.MAX_TAG_HEADER_BYTES} bytes together, as they are sent"
        violations.append(FieldViolation("tags", rule))
    validate.refuse(violations)
    return Wanted(policy, request.namespace, etag, last_modified_s, tags)


def headers_response(made: Mapping[str, str]) -> cdn_pb2.BuildHeadersResponse:
    return cdn_pb2.BuildHeadersResponse(headers=made)


def conditions(request: cdn_pb2.CheckFreshnessRequest) -> Conditions:
    violations: validate.Violations = []
    for path in ("if_none_match", "if_modified_since"):
        if len(getattr(request, path).encode()) > MAX_CONDITION_BYTES:
            rule = f"must be at most {MAX_CONDITION_BYTES} bytes"
            violations.append(FieldViolation(path, rule))
    etag = _etag(request.etag, violations) if request.etag else ""
    last_modified_s = None
    if request.HasField("last_modified"):
        last_modified_s = _moment_s(request.last_modified, violations)
    validate.refuse(violations)
    return Conditions(
        request.if_none_match or None, request.if_modified_since or None, etag, last_modified_s
    )


def _policy(message: cdn_pb2.CachePolicy, violations: validate.Violations) -> CachePolicy:
    private = message.visibility == cdn_pb2.CACHE_VISIBILITY_PRIVATE
    if message.visibility not in cdn_pb2.CacheVisibility.values():
        violations.append(FieldViolation("policy.visibility", "must be PUBLIC or PRIVATE"))
    seconds = {name: _seconds(message, name, violations) for name in (*_LIFETIMES, *_GRACES)}
    if private:
        for name in ("s_maxage", "cdn_max_age"):
            if seconds[name] is not None:
                rule = "is for those who may not keep it: visibility is PRIVATE"
                violations.append(FieldViolation(f"policy.{name}", rule))
    if message.no_store:
        said = [name for name, value in seconds.items() if value is not None]
        said += [name for name in ("immutable", "must_revalidate") if getattr(message, name)]
        for name in said:
            violations.append(FieldViolation(f"policy.{name}", "is of no use with no_store"))
    vary = tuple(message.vary)
    if len(vary) > MAX_VARY:
        violations.append(FieldViolation("policy.vary", f"must be at most {MAX_VARY}"))
        vary = ()
    for index, name in enumerate(vary):
        if _HEADER_NAME.fullmatch(name) is None:
            rule = "must be the name of a header, up to 128 bytes"
            violations.append(FieldViolation(f"policy.vary[{index}]", rule))
    return CachePolicy(
        private=private,
        max_age_s=seconds["max_age"],
        s_maxage_s=seconds["s_maxage"],
        cdn_max_age_s=seconds["cdn_max_age"],
        immutable=message.immutable,
        must_revalidate=message.must_revalidate,
        stale_while_revalidate_s=seconds["stale_while_revalidate"],
        stale_if_error_s=seconds["stale_if_error"],
        no_store=message.no_store,
        vary=vary,
    )


def _seconds(
    message: cdn_pb2.CachePolicy, name: str, violations: validate.Violations
) -> int | None:
    """A part of one is left out. None if the field is unset."""
    if not message.HasField(name):
        return None
    duration = getattr(message, name)
    if duration.seconds < 0 or duration.nanos < 0:
        violations.append(FieldViolation(f"policy.{name}", "must not be negative"))
    elif duration.seconds + duration.nanos / 1e9 > _MAX_SECONDS:
        violations.append(FieldViolation(f"policy.{name}", "must be at most 10 years"))
    return int(duration.seconds)


def _etag(said: str, violations: validate.Violations, *, weak: bool = False) -> str:
    if len(said.encode()) > MAX_ETAG_BYTES:
        violations.append(FieldViolation("etag", f"must be at most {MAX_ETAG_BYTES} bytes"))
        return ""
    try:
        return headers.etag_of(said, weak=weak)
    except ValueError as exc:
        violations.append(FieldViolation("etag", str(exc)))
        return ""


def _moment_s(moment: Timestamp, violations: validate.Violations) -> int:
    """Whole seconds of Unix time: HTTP knows no others."""
    if not 0 <= moment.seconds <= _LAST_SECOND or not 0 <= moment.nanos < 1_000_000_000:
        rule = "must be a time from 1970 to 9999"
        violations.append(FieldViolation("last_modified", rule))
    return moment.seconds
