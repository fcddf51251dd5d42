"""The HTTP gateway: `GET|HEAD /v1/NAMESPACE/KEY` for browsers, CDNs and proxies.

It answers as an origin does that knows how old its content is: with Age, a strong ETag and
Last-Modified, so that a client that has the newest gets 304 (RFC 9110 section 13), and with how
long the response may be kept, never past its entry. It never creates a namespace.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

import structlog
from aiohttp import hdrs, web
from werkzeug.http import quote_etag

from pantler_server.core import errors
from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.namespace import Namespace, Namespaces
from pantler_server.edge.responses import SERVER, ResponseMetrics, refusal
from pantler_server.edge.target import BadTarget, target_of
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.model import Miss
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.engines.cdn import freshness
from pantler_server.engines.cdn.entry_headers import EntryHeaders, last_modified
from pantler_server.engines.cdn.headers import content_etag
from pantler_server.servicers.status import reason_of

RETRY_AFTER_S = 1  # in whole seconds it can't be said sooner; a link reconnects within 500 ms
ALLOWED = "GET, HEAD"
_OCTETS = "application/octet-stream"
_JSON = "application/json"

_STATUSES: dict[type[errors.ServiceError], int] = {
    errors.InvalidFields: 400,
    errors.NamespaceUnknown: 404,
    errors.NoHttp: 404,
    errors.NoOrigin: 404,
    errors.TooManyNamespaces: 503,
    errors.WrongKind: 500,
    errors.OriginNotReady: 502,
    errors.OriginUnavailable: 503,
    errors.OriginOutcomeUnknown: 503,
    errors.StoreError: 503,
    errors.ShuttingDown: 503,
    errors.DeadlinePassed: 504,
}
"""What an error is to who asked, by the nearest of its classes; all others are defects."""

log = structlog.get_logger(__name__)


class _Content(NamedTuple):
    """What a response is made of."""

    body: bytes
    content_type: str
    etag: str
    modified_s: int
    """Unix time; 0 if it is not known."""
    headers: Mapping[str, str]
    """Those that a 304 has too, but for the ETag."""


class _Served(NamedTuple):
    """A namespace that is served."""

    space: Namespace
    headers: EntryHeaders


class Gateway:
    """Serves the namespaces whose configuration has `http`."""

    def __init__(
        self,
        cache: CacheEngine,
        records: RecordEngine,
        namespaces: Namespaces,
        settings: Settings,
    ) -> None:
        self._cache = cache
        self._records = records
        self._namespaces = namespaces
        self._loop = asyncio.get_running_loop()
        self.metrics = ResponseMetrics()
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration."""
        self._settings = settings
        self._deadline_s = settings.default_deadline.total_seconds()
        self._served: dict[str, _Served] = {}

    async def respond(self, request: web.BaseRequest, raw_path: str) -> web.Response:
        """The response to any request whose path begins with /v1/."""
        began = self._loop.time()
        deadline = began + self._deadline_s
        try:
            response = await self._respond(request, raw_path, deadline)
        except Exception as exc:  # noqa: BLE001 - every error becomes a response
            response = self._refused(exc, deadline)
        self.metrics.count(response.status, self._loop.time() - began)
        return response

    async def _respond(
        self, request: web.BaseRequest, raw_path: str, deadline: float
    ) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return refusal(
                405,
                "METHOD_NOT_ALLOWED",
                f"only {ALLOWED} are answered here: write with CacheService",
                {"Allow": ALLOWED},
            )
        name, key = target_of(raw_path)
        served = self._served.get(name)
        if served is None:
            served = await self._find(name, deadline)
            if served is None:  # it has not been used yet
                return _not_found(key, _headers(name, self._settings.namespace(name)))
        if served.space.config.origin is None:
            content = await self._entry(served, key, deadline)
        else:
            content = await self._record(served, key, deadline)
        if content is None:
            return _not_found(key, served.headers)
        return _response(request, content)

    async def _find(self, name: str, deadline: float) -> _Served | None:
        """A namespace that is served; None if it would have to be created. Raises NamespaceUnknown,
        NoHttp, and the StoreErrors."""
        settings = self._settings
        if settings.strict_namespaces and name not in settings.namespaces:
            raise errors.NamespaceUnknown(name)
        if settings.namespace(name).http is None:
            raise errors.NoHttp(name)
        space = await self._namespaces.find(name, deadline)
        if space is None:
            return None
        served = _Served(space, _headers(name, space.config))
        if settings is self._settings:  # else a reload came in between
            self._served[name] = served
        return served

    async def _entry(self, served: _Served, key: str, deadline: float) -> _Content | None:
        found = await self._cache.get(served.space, key, deadline, accept_stale=True)
        if isinstance(found, Miss):
            return None
        value, version, created_us, expires_us, content_type, tags, stale, _, _ = found
        now_us = time.time_ns() // 1000
        return _Content(
            value,
            content_type or _OCTETS,
            quote_etag(f"{version:x}"),
            min(created_us, now_us) // 1_000_000,
            served.headers.of_entry(key, created_us, expires_us, tags, now_us, stale=stale),
        )

    async def _record(self, served: _Served, key: str, deadline: float) -> _Content | None:
        found = await self._records.get(served.space, key, deadline)
        if not found.value:
            return None
        if not found.version:  # it is not cached: it may be out of date already
            etag = content_etag(found.value)
            return _Content(found.value, _JSON, etag, 0, served.headers.unkept())
        now_us = time.time_ns() // 1000
        return _Content(
            found.value,
            _JSON,
            quote_etag(f"{found.version:x}"),
            min(found.created_us, now_us) // 1_000_000,
            served.headers.of_entry(
                key, found.created_us, found.expires_us, found.tags, now_us, stale=found.stale
            ),
        )

    def _refused(self, exc: Exception, deadline: float) -> web.Response:
        """The response that says what went wrong."""
        if isinstance(exc, BadTarget):
            return refusal(400, "BAD_PATH", str(exc))
        if isinstance(exc, TimeoutError) or (
            isinstance(exc, errors.StoreError | errors.OriginUnavailable)
            and self._loop.time() >= deadline
        ):
            exc = errors.DeadlinePassed("the deadline passed before there was an answer")
        if isinstance(exc, errors.ServiceError):
            status = next((_STATUSES[one] for one in type(exc).__mro__ if one in _STATUSES), 0)
            if status:
                retry = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
                return refusal(status, reason_of(exc), exc.message, retry)
        log.error("defect", method="GET /v1/", exc_info=exc)
        defect = errors.InternalError("a defect in Pantler; the log has it")
        return refusal(500, reason_of(defect), defect.message)


def _headers(name: str, config: NamespaceConfig) -> EntryHeaders:
    if config.http is None:
        raise errors.NoHttp(name)
    return EntryHeaders(name, config.http, tagged=config.cdn is not None)


def _response(request: web.BaseRequest, content: _Content) -> web.Response:
    """200; or 304 or 412, if the client's conditions say so."""
    body, content_type, etag, modified_s, headers = content
    asked = request.headers
    if hdrs.IF_MATCH in asked or hdrs.IF_UNMODIFIED_SINCE in asked:
        match, since = _fields(request, hdrs.IF_MATCH, hdrs.IF_UNMODIFIED_SINCE)
        if freshness.precondition_failed(match, since, etag, modified_s or None):
            return refusal(412, "PRECONDITION_FAILED", "it is not what the conditions name")
    if _has_newest(request, etag, modified_s):
        # What section 15.4.5 demands, and what renews a kept response: its age and its tags.
        return web.Response(status=304, headers={**headers, "ETag": etag, "Server": SERVER})
    told = {
        **headers,
        "ETag": etag,
        "Content-Type": content_type,
        "X-Content-Type-Options": "nosniff",
        "Server": SERVER,
    }
    if modified_s:
        told["Last-Modified"] = last_modified(modified_s)
    return web.Response(body=body, headers=told)


def _has_newest(request: web.BaseRequest, etag: str, modified_s: int) -> bool:
    asked = request.headers
    if hdrs.IF_NONE_MATCH not in asked and hdrs.IF_MODIFIED_SINCE not in asked:
        return False
    if asked.get(hdrs.IF_NONE_MATCH) == etag:  # as nearly all ask; other lines change nothing
        return True
    match, since = _fields(request, hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE)
    return freshness.not_modified(match, since, etag, modified_s or None)


def _fields(request: web.BaseRequest, *names: str) -> tuple[str | None, ...]:
    """Fields that may come in several lines, section 5.3; None for one that did not come. Raises
    InvalidFields for one that is too large."""
    found = (request.headers.getall(name, None) for name in names)
    fields = tuple(None if lines is None else ", ".join(lines) for lines in found)
    for name, field in zip(names, fields, strict=True):
        if field is not None and len(field) > freshness.MAX_CONDITION_BYTES:
            rule = f"must be at most {freshness.MAX_CONDITION_BYTES} bytes, in all its lines"
            raise errors.InvalidFields([errors.FieldViolation(name, rule)])
    return fields


def _not_found(key: str, headers: EntryHeaders) -> web.Response:
    return refusal(404, "NOT_FOUND", "there is no entry of this key", headers.not_found(key))
