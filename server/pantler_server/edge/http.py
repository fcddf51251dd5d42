"""The HTTP side port: metrics, liveness and readiness."""

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from pantler_server.engines.health.engine import HealthEngine


class HttpHost:
    """Serves `/metrics`, `/healthz` and `/readyz`. Several processes may serve the same port."""

    def __init__(self, host: str, port: int, health: HealthEngine) -> None:
        self._host = host
        self._port = port
        self._health = health
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)

    async def start(self) -> None:
        """Opens the port. Raises OSError if it is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, reuse_port=True).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        """Of all workers of this machine, added up."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _healthz(self, request: web.Request) -> web.Response:
        """The process lives: restart it if this does not answer."""
        return web.json_response({"live": True})

    async def _readyz(self, request: web.Request) -> web.Response:
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
