"""Connections of the HTTP port: what a caller may take up, and answers to what is no HTTP.

aiohttp by itself waits for ever for a response to be taken, and an hour for a request.
"""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from pantler_server.edge.responses import refusal

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of what callers of one worker take up."""

    idle_s: float = 75.0  # proxies close idle connections after 60 s, and should be the first to
    """From a connection's start or its last response until the next request's head is whole."""
    stalled_s: float = 30.0  # a phone in a tunnel is back by then
    """How long nothing of a response may be taken."""
    connections: int = 10_000  # at some 10 KB each
    """At a time; fewer if the process may have fewer than twice as many files open."""


class Server(web.Server):
    """Accepts connections within limits."""

    def __init__(
        self,
        respond: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits = limits or Limits()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        half = limits.connections if files == resource.RLIM_INFINITY else files // 2
        self.most = min(limits.connections, half)
        self.open = 0
        super().__init__(
            respond,
            access_log=None,
            keepalive_timeout=limits.idle_s,
            auto_decompress=False,  # bodies are thrown away
        )

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    """Answers what is no HTTP, or is too large, as all else is answered, and logs none of it."""

    __slots__ = ("_server", "_unsent", "_watch")

    def __init__(self, server: Server, **options: object) -> None:
        super().__init__(server, **options)  # type: ignore[arg-type]
        self._server = server
        self._unsent = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._server.open += 1
        if self._server.open > self._server.most:
            connection.abort()
            return
        # So that `pause_writing` tells of all that is not sent at once, and no request is answered,
        # and no connection closed, before it is.
        connection.set_write_buffer_limits(high=0)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.open -= 1
        self._unwatch()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            self._watch_unsent(self.transport)

    def resume_writing(self) -> None:
        self._unwatch()
        super().resume_writing()

    def _watch_unsent(self, transport: asyncio.Transport) -> None:
        self._unsent = transport.get_write_buffer_size()
        self._watch = self._loop.call_later(
            self._server.limits.stalled_s, self._check_unsent, transport
        )

    def _check_unsent(self, transport: asyncio.Transport) -> None:
        if transport.get_write_buffer_size() < self._unsent:
            self._watch_unsent(transport)
        else:
            transport.abort()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def log_exception(self, *args: object, **options: object) -> None:
        """aiohttp found an exception: that the body of a request is malformed is none of ours."""
        exc = options.get("exc_info")
        if not isinstance(exc, web.RequestPayloadError | HttpProcessingError):
            log.error("defect", method="HTTP", exc_info=exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            log.error("defect", method="HTTP", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a response has begun that could not be finished")
        response = (
            refusal(status, "ERROR_REASON_INTERNAL", "a defect in Pantler; the log has it")
            if status >= 500
            else malformed()
        )
        response.force_close()
        return response


def malformed() -> web.Response:
    """The answer to what is no request."""
    return refusal(400, "BAD_REQUEST", "the request is malformed, or too large")
