"""Between the messages of Purge and GetPurge and the CDN engine's models, checking on the way
in."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from pantler.v1 import cdn_pb2

from pantler_server.core.errors import FieldViolation
from pantler_server.engines.cdn.purge_model import Purge, Purged, PurgeState, PurgeStatus
from pantler_server.engines.cdn.tag import wire_tag
from pantler_server.engines.cdn.url import wire_url
from pantler_server.servicers import convert, validate

MAX_URL_BYTES = 2048  # as cdn.proto says
MAX_PURGE_ID_BYTES = 128

_STATES = {
    PurgeState.PENDING: cdn_pb2.PURGE_STATE_PENDING,
    PurgeState.DONE: cdn_pb2.PURGE_STATE_DONE,
    PurgeState.FAILED: cdn_pb2.PURGE_STATE_FAILED,
}
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_AUTHORITY = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")


def purge_of(request: cdn_pb2.PurgeRequest) -> Purge:
    violations: validate.Violations = []
    validate.text(request.target, validate.MAX_ID_BYTES, "target", violations)
    request_id = validate.request_id(request.request_id, violations)
    what = request.WhichOneof("what")
    if what is None:
        violations.append(FieldViolation("what", "must be one of urls, tags and all"))
    elif what == "urls":
        _check_urls(request.urls.urls, violations)
    elif what == "all" and not request.all:
        violations.append(FieldViolation("all", "must be true"))
    validate.refuse(violations)
    tags: Sequence[str] = ()
    if what == "tags":
        tags = validate.some_labels(request.tags.tags, validate.MAX_BATCH_ITEMS, "tags.tags")
    return Purge(
        request.target,
        tuple(map(wire_url, request.urls.urls)),
        tuple(map(wire_tag, tags)),
        what == "all",
        request.soft,
        request_id,
    )


def purge_id_of(request: cdn_pb2.GetPurgeRequest) -> str:
    violations: validate.Violations = []
    if not request.purge_id:
        violations.append(FieldViolation("purge_id", "must not be empty"))
    validate.text(request.purge_id, MAX_PURGE_ID_BYTES, "purge_id", violations)
    validate.refuse(violations)
    return request.purge_id


def purge_response(purged: Purged) -> cdn_pb2.PurgeResponse:
    return cdn_pb2.PurgeResponse(purge_id=purged.purge_id, duplicate=purged.duplicate)


def get_purge_response(status: PurgeStatus) -> cdn_pb2.GetPurgeResponse:
    response = cdn_pb2.GetPurgeResponse(create_time=convert.timestamp(status.created_ms * 1000))
    for one in status.receipts:
        response.receipts.add(
            target=one.target,
            state=_STATES[one.state],
            attempts=one.attempts,
            last_error=one.last_error,
            finish_time=convert.timestamp(one.finished_ms * 1000),
        )
    return response


def _check_urls(urls: Sequence[str], violations: validate.Violations) -> None:
    if validate.batch_size(len(urls), "urls.urls", violations):
        for index, one in enumerate(urls):
            if (rule := _url_rule(one)) is not None:
                violations.append(FieldViolation(f"urls.urls[{index}]", rule))


def _url_rule(url: str) -> str | None:
    """What is wrong with a URL; None if nothing is."""
    if len(url.encode()) > MAX_URL_BYTES:
        return f"must be at most {MAX_URL_BYTES} bytes"
    if not _VISIBLE_ASCII.fullmatch(url):
        return "must be printable ASCII without spaces: encode the rest as %XX"
    if "\\" in url:
        return "must have no backslash: encode it as %5C"
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port, or an IPv6 address
        is_whole = False
    if is_whole and "@" in parts.netloc:
        return "must have no user and no password"
    if not is_whole or not _AUTHORITY.fullmatch(parts.netloc):
        return "must be absolute, as https://shop.example/prices"
    return None
