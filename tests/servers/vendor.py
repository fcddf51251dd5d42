"""What the stand-ins for CDN vendors have in common: a server of a test's own, which fails when it
is told to, and writes down every request that is not as the vendor documents."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.servers.valkey import free_port

MAX_BODY_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class Purge:
    """What a request purged."""

    urls: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    everything: bool = False
    soft: bool = False
    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class _Failure:
    status: int
    retry_after: str
    done: bool


class VendorError(Exception):
    """What a request is answered with instead."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class VendorServer(ABC):
    """Started by `async with`, in the test's own process. At the end it raises AssertionError if
    any request was not as documented (`violations`), unless the test has emptied that list.

    - `api` is its address, and `target` what stands under a name in `cdn_targets`.
    - `purges` has what was purged, in order; `requests` counts all requests, `limited` those that
      were too many.
    - `fail(500)` lets the next request fail, `fail(429, times=3, retry_after="2")` the next three;
      with `done=True` it has done what it was asked for all the same.
      `forgive()` ends that.
    - `goes_on.clear()` lets requests hang before they are looked at, until `goes_on.set()`.
    - Set `token` to another, and the one in the configuration is wrong.
    - `stop()` and `start()` in between: it is away, and comes back on the same port.
    - `rate` and `bucket`: how many requests it takes in a second, and at once; None: any number.
    """

    def __init__(self, *, rate: float | None = None, bucket: int = 1) -> None:
        self.port = free_port()
        self.token = "token-of-the-stand-in"
        self.purges: list[Purge] = []
        self.violations: list[str] = []
        self.requests = 0
        self.limited = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.entered = asyncio.Event()
        """Set by each request."""
        self.rate = rate
        self.bucket = bucket
        self._failures: deque[_Failure] = deque()
        self._tokens, self._filled_at = float(bucket), time.monotonic()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: object, *error: object) -> None:
        self.goes_on.set()
        await self.stop()
        if kind is None:
            assert not self.violations, self.violations

    async def start(self) -> None:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """At once: requests under way are cut."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def target(self) -> dict[str, Any]:
        """One of `cdn_targets`."""

    def fail(
        self, status: int, *, times: int = 1, retry_after: str = "", done: bool = False
    ) -> None:
        self._failures.extend([_Failure(status, retry_after, done)] * times)

    def forgive(self) -> None:
        """No request fails any more."""
        self._failures.clear()

    @property
    def purged_tags(self) -> list[str]:
        return [tag for purge in self.purges for tag in purge.tags]

    @property
    def purged_urls(self) -> list[str]:
        return [url for purge in self.purges for url in purge.urls]

    @abstractmethod
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Raises VendorError."""

    @abstractmethod
    def _error(self, error: VendorError, retry_after: str) -> web.Response: ...

    def _violation(self, request: web.Request, what: str, status: int = 400) -> VendorError:
        """Of the documented API; to be raised."""
        self.violations.append(f"{request.method} {request.raw_path}: {what}")
        return VendorError(status, 1000, what)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.entered.set()
        await self.goes_on.wait()
        failure = self._failures.popleft() if self._failures else None
        try:
            if failure is not None and not failure.done:
                raise VendorError(failure.status, 0, "it was told to fail")
            self._take()
            response = await self._handle(request)
            if failure is not None:
                raise VendorError(failure.status, 0, "it was told to fail")
            return response
        except VendorError as error:
            said = failure.retry_after if failure is not None else ""
            if error.status == 429 and not said and self.rate:
                said = str(max(1, round((1 - self._tokens) / self.rate)))
            return self._error(error, said)

    def _take(self) -> None:
        """One request from the bucket."""
        if self.rate is None:
            return
        now = time.monotonic()
        self._tokens = min(self.bucket, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
        if self._tokens < 1:
            self.limited += 1
            raise VendorError(429, 971, "Please wait and consider throttling your request speed")
        self._tokens -= 1
