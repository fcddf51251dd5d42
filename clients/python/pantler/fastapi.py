"""Pantler in FastAPI and Starlette: the app's client, and a cache of responses.

    app = FastAPI(lifespan=pantler_lifespan("127.0.0.1:50051"))
    app.router.route_class = CachedRoute  # of routers: APIRouter(route_class=CachedRoute)

    @app.get("/users/{user_id}")
    @ResponseCache("pages", ttl=timedelta(minutes=5), tags=["user:{user_id}"])
    async def user(user_id: int) -> User: ...

    @app.put("/users/{user_id}")
    async def rename(user_id: int, name: str, client: PantlerClient) -> None:
        ...
        await client.invalidate_tags("pages", [f"user:{user_id}"])

In Starlette `get_client` gives a request the client, and `ResponseCache.endpoint` caches.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from inspect import iscoroutinefunction
from operator import itemgetter
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Depends
from fastapi.routing import APIRoute, request_response
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Message

from pantler.arguments import checked_ttl
from pantler.batch import listed
from pantler.client import AsyncClient
from pantler.errors import DeadlineExceeded, PantlerError, Unavailable
from pantler.key_template import MAX_TAG_BYTES, KeyTemplate
from pantler.stored_response import UNKEPT, StoredResponse, may_be_kept

AWAY_S = 1.0  # for which nothing is asked of a Pantler that was away: requests would wait for it
UNKEPT_TTL = timedelta(seconds=5)  # for which it is known that a response must not be kept
MAX_BODY_BYTES = 1 << 20
_MARK = "__pantler_response_cache__"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

log = logging.getLogger("pantler")


def pantler_lifespan(
    address: str = "127.0.0.1:50051", *, timeout: timedelta = timedelta(seconds=5)
) -> Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """The lifespan of an app with a client.

        @asynccontextmanager
        async def lifespan(app):
            async with pantler_lifespan(address)(app) as state:
                yield {**state, "database": ...}

    is one of your own: it enters this one, and yields what it gives.
    """

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncClient(address, timeout=timeout) as client:
            yield {"pantler": client}

    return lifespan


async def get_client(connection: HTTPConnection) -> AsyncClient:
    """The app's client, as a dependency, or of a request in Starlette."""
    client = connection.scope.get("state", {}).get("pantler")
    if not isinstance(client, AsyncClient):
        raise RuntimeError("the app has no client: give it lifespan=pantler_lifespan(address)")
    return client


PantlerClient = Annotated[AsyncClient, Depends(get_client)]
"""The type of a parameter that FastAPI gives the app's client for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Policy:
    namespace: str
    ttl: timedelta | None
    tags: tuple[KeyTemplate, ...]
    vary: tuple[str, ...]
    cache_control: str
    authorized: bool
    statuses: frozenset[int]
    max_body_bytes: int


class ResponseCache:
    """Keeps what a route answers to GET and HEAD, for all who ask for the same path and query, in
    whatever order its names stand. Of those who miss it at once, on all machines, one computes
    it; what it raises, an HTTPException say, is raised for those too that waited when it began. If
    Pantler is away, all compute.

    A hit is answered before the route's dependencies run: don't cache what they guard.

    `tags` are templates of path parameters, as "user:{user_id}", by the rules of
    `Namespace.cached`; a request whose path has no such parameter raises ValueError. `vary`:
    headers of the request of which the response depends. `cache_control` is for responses that have
    none; by default browsers ask each time, and get 304 if nothing has changed. `authorized`:
    whether requests with Authorization are answered from the cache too; unless it is in `vary`, all
    get the same. `statuses`: those of errors that are kept, if they are returned, not raised.

    Not kept is what has Set-Cookie, `Cache-Control: private` or `no-store`, a Vary on more than
    `vary`, more than `max_body_bytes`, or is streamed. The Cache-Control of requests is passed
    over: who asks does not decide how often an answer is computed.
    """

    def __init__(
        self,
        namespace: str,
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        vary: Iterable[str] = (),
        cache_control: str = "no-cache",
        authorized: bool = False,
        statuses: Iterable[int] = (),
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._policy = _Policy(
            namespace=namespace,
            ttl=checked_ttl(ttl),
            tags=tuple(KeyTemplate(tag, "the path", MAX_TAG_BYTES) for tag in listed(tags)),
            vary=tuple(sorted(name.lower() for name in vary)),
            cache_control=cache_control,
            authorized=authorized,
            statuses=frozenset(statuses),
            max_body_bytes=max_body_bytes,
        )
        self._away_until = 0.0

    def __call__(self, endpoint: Endpoint) -> Endpoint:
        """Marks an endpoint for `CachedRoute`."""
        setattr(endpoint, _MARK, self)
        return endpoint

    def endpoint(self, function: Callable[[Request], Any]) -> Handler:
        """Caches an endpoint of Starlette: Route("/", cache.endpoint(home))."""

        @wraps(function)
        async def handle(request: Request) -> Response:
            if iscoroutinefunction(function):
                answer: Response = await function(request)
            else:
                answer = await run_in_threadpool(function, request)
            return answer

        return self.handler(handle)

    def handler(self, compute: Handler) -> Handler:
        """A handler that computes only what is not in the cache."""

        @wraps(compute)
        async def handle(request: Request) -> Response:
            loop = asyncio.get_running_loop()
            policy = self._policy
            asked = request.method in ("GET", "HEAD")
            guarded = "authorization" in request.headers and not policy.authorized
            if not asked or guarded or loop.time() < self._away_until:
                return await compute(request)
            client = await get_client(request)
            answering = _Answering(client, policy, compute, request)
            try:
                return await answering.answer()
            except _EndpointFailed as failed:
                raise failed.error.with_traceback(failed.traceback) from failed.error.__cause__
            except PantlerError as exc:
                if isinstance(exc, Unavailable | DeadlineExceeded):
                    self._away_until = loop.time() + AWAY_S
                log.warning("%s is served uncached: %s", request.url.path, exc)
                return answering.computed or await compute(request)

        return handle


class CachedRoute(APIRoute):
    """The class of routes whose endpoints may have a ResponseCache."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        cache = getattr(self.endpoint, _MARK, None)
        return cache.handler(handler) if isinstance(cache, ResponseCache) else handler


class _EndpointFailed(Exception):
    """What an endpoint raised, for this request or for one that shares it, is none of Pantler's."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.traceback = error.__traceback__  # each request that raises it adds to it


class _Answering:
    """The answer to one request."""

    def __init__(
        self, client: AsyncClient, policy: _Policy, compute: Handler, request: Request
    ) -> None:
        self._client = client
        self._policy = policy
        self._compute = compute
        self._request = request
        self._task = asyncio.current_task()
        self._key = self._key_of(request)
        self._tags: list[str] = []
        self.computed: Response | None = None
        """What this request has computed, since it was not in the cache."""

    async def answer(self) -> Response:
        policy = self._policy
        self._tags = [self._tag(template) for template in policy.tags]
        value = await self._client.get_or_set(
            policy.namespace, self._key, self._fetch, ttl=policy.ttl, tags=self._tags
        )
        if value != UNKEPT:
            return self._from(StoredResponse.read(value))
        return self.computed or await self._compute(self._request)

    def _key_of(self, request: Request) -> str:
        """A text of its own for each path, query and headers, which stay readable in part."""
        query = sorted(parse_qsl(request.url.query, keep_blank_values=True), key=itemgetter(0))
        headers = [request.headers.getlist(name) for name in self._policy.vary]
        path = request.url.path
        digest = hashlib.sha256(json.dumps([path, query, headers]).encode()).hexdigest()
        return f"{path[:100]}#{digest[:40]}"

    def _tag(self, template: KeyTemplate) -> str:
        """Raises ValueError if the path has no such parameter. Only a request tells: when a route
        is made, the prefix that its router is included with is not known yet."""
        template.check(self._request.path_params)
        return template(self._request.path_params)

    async def _fetch(self) -> bytes:
        if asyncio.current_task() is not self._task:
            return await self._refreshed()
        # To HEAD the endpoint might answer without the body, which is kept for GET.
        scope = {**self._request.scope, "method": "GET"}
        try:
            self.computed = await self._compute(Request(scope, self._request.receive))
        except Exception as exc:
            raise _EndpointFailed(exc) from exc
        value = self._kept(self.computed)
        if value == UNKEPT:
            # Its ttl is its own. The Set ends the lease, so the fill with this value is refused.
            await self._client.set(
                self._policy.namespace, self._key, UNKEPT, ttl=UNKEPT_TTL, tags=self._tags
            )
        return value

    async def _refreshed(self) -> bytes:
        """For a refresh in the background, when the request that it is of may be over. Raises
        RuntimeError if nothing came of it that may be kept, so that the stale response stays."""
        kept: list[bytes] = []

        async def compute(request: Request) -> Response:
            kept.append(self._kept(await self._compute(request)))
            return Response()

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(_: Message) -> None:
            pass

        scope = {**self._request.scope, "method": "GET"}
        await request_response(compute)(scope, receive, send)
        if kept in ([], [UNKEPT]):  # empty where the app answers to what the endpoint raised
            raise RuntimeError(f"{self._request.url.path} gave nothing that may be kept")
        return kept[0]

    def _kept(self, response: Response) -> bytes:
        """What of a response is stored."""
        body = getattr(response, "body", None)  # one that is streamed has none
        policy, headers = self._policy, response.headers.items()
        if (
            type(body) is not bytes
            or len(body) > policy.max_body_bytes
            or not may_be_kept(response.status_code, headers, policy.statuses, policy.vary)
        ):
            return UNKEPT
        stored = [(name, value) for name, value in headers if name != "vary"]
        if "cache-control" not in response.headers:
            stored.append(("cache-control", policy.cache_control))
        if policy.vary:
            stored.append(("vary", ", ".join(policy.vary)))
        return StoredResponse.of(response.status_code, stored, body).written()

    def _from(self, stored: StoredResponse) -> Response:
        matches = stored.matches(self._request.headers.get("if-none-match"))
        response = Response(b"" if matches else stored.body, 304 if matches else stored.status)
        headers = stored.headers_of_304() if matches else stored.headers
        if matches or self.computed is None:
            headers = (*headers, ("age", str(stored.age_s)))
        response.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]
        if self.computed is not None:
            response.background = self.computed.background
        return response
