"""The HTTP side port: the gateway, metrics, liveness and readiness."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from pantler_server.core import background
from pantler_server.edge.connections import Server, malformed
from pantler_server.edge.gateway import ALLOWED, Gateway
from pantler_server.edge.responses import refusal
from pantler_server.edge.target import PREFIX
from pantler_server.engines.health.engine import HealthEngine

METRICS_INTERVAL_S = 0.5  # well below any interval at which Prometheus scrapes
_VERSIONS = (HttpVersion11, HttpVersion10)
_HOST = re.compile(r"[\w.~%!$&'()*+,;=:\[\]-]*", re.ASCII)
SHUTDOWN_TIMEOUT_S = 2.0  # for responses under way; less than a worker has to close


class HttpHost:
    """Serves the gateway under `/v1/`, and `/metrics`, `/healthz` and `/readyz`. Several processes
    may serve the same port.

    It dispatches by itself, since aiohttp's router would cost each request a fifth of its time.
    """

    def __init__(self, host: str, port: int, health: HealthEngine, gateway: Gateway) -> None:
        self._host = host
        self._port = port
        self._health = health
        self._gateway = gateway
        self._pages: dict[str, Callable[[], Awaitable[web.Response]]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        self._runner = web.ServerRunner(
            Server(self._respond),
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )
        self._metrics_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the port. Raises OSError if it is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, reuse_port=True).start()
        self._metrics_task = background.start(self._keep_flushing_metrics(), "http metrics")

    async def stop(self) -> None:
        await self._runner.cleanup()
        if self._metrics_task is not None:
            await background.stop((self._metrics_task,))
        self._gateway.metrics.flush()

    async def _keep_flushing_metrics(self) -> None:
        while True:
            await asyncio.sleep(METRICS_INTERVAL_S)
            self._gateway.metrics.flush()

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        response = await self._response(request)
        # Nobody reads a body, and what follows it is not to be taken for a request. What follows an
        # upgrade that is offered, and not taken, aiohttp would swallow.
        if request.body_exists or hdrs.UPGRADE in request.headers:
            response.force_close()
        return response

    async def _response(self, request: web.BaseRequest) -> web.Response:
        path = request.raw_path
        if not path.startswith("/") and path != "*":
            path = _origin_form(path)
        if not path or request.version not in _VERSIONS or not _has_host(request):
            response = malformed()
            response.force_close()
            return response
        if path.startswith(PREFIX):
            return await self._gateway.respond(request, path)
        page = self._pages.get(path.partition("?")[0])
        if page is None:
            return refusal(404, "NOT_FOUND", "there is nothing here; entries are under /v1/")
        if request.method not in ("GET", "HEAD"):
            return refusal(405, "METHOD_NOT_ALLOWED", f"only {ALLOWED}", {"Allow": ALLOWED})
        return await page()

    async def _metrics(self) -> web.Response:
        """Of all workers of this machine, added up."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _healthz(self) -> web.Response:
        """The process lives: restart it if this does not answer."""
        return web.json_response({"live": True})

    async def _readyz(self) -> web.Response:
        """This worker takes calls: send it none while this is not 200. An origin that can't be used
        is told of, and does not count: what is cached and other namespaces work."""
        report = self._health.report()
        stores = {
            store.role: {"available": store.available, "detail": store.detail}
            for store in report.stores
        }
        origins = {
            origin.namespace: {"available": origin.available, "detail": origin.detail}
            for origin in report.origins
        }
        return web.json_response(
            {
                "ready": report.ready,
                "stores": stores,
                "origins": origins,
                "warming": report.warming,
            },
            status=200 if report.ready else 503,
        )


def _has_host(request: web.BaseRequest) -> bool:
    """Whether it has one Host, as RFC 9112 section 3.2 demands; of HTTP/1.0, at most one."""
    lines = request.headers.getall(hdrs.HOST, ())
    if len(lines) != 1:
        return not lines and request.version == HttpVersion10
    return _HOST.fullmatch(lines[0]) is not None


def _origin_form(target: str) -> str:
    """The path and query of `http://host/path?query`, which is as good as the two alone (RFC 9112
    section 3.2.2); empty for anything else."""
    scheme, _, rest = target.partition("://")
    host, _, path = rest.partition("/")
    return "/" + path if scheme.lower() in ("http", "https") and host else ""
