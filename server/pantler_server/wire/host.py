"""The gRPC server of a worker: Pantler's services, health and reflection on one shared port."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.wire.gate import Gate
from pantler_server.wire.methods import Method

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

METRICS_INTERVAL_S = 0.5  # well below any interval at which Prometheus scrapes
KEEPALIVE_MIN_MS = 10_000  # clients may ping this often; gRPC's default of 5 min breaks their calls


class GrpcHost:
    """Serves servicers on `settings.listen`. Several processes may serve the same port."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = grpc.aio.server(
            options=_options(settings), maximum_concurrent_rpcs=settings.max_concurrent_calls
        )
        self._gate = Gate()
        self._methods: list[Method] = []
        self._handlers: dict[str, Handler] = {}
        self._metrics_task: asyncio.Task[None] | None = None
        self._names: list[str] = []
        self._health = health.aio.HealthServicer()

    def add(self, service: ServiceDescriptor, servicer: object) -> None:
        """Registers a servicer: it has a method for each RPC, by the RPC's name."""
        methods = {
            method.name: Method(method, getattr(servicer, method.name), self._settings, self._gate)
            for method in service.methods
        }
        for name, method in methods.items():
            self._handlers[f"/{service.full_name}/{name}"] = method.handler()
        self._methods.extend(methods.values())
        self._names.append(service.full_name)

    async def start(self) -> None:
        """Opens the port. Raises OSError if it is taken."""
        self._server.add_generic_rpc_handlers((_ByName(self._handlers),))
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*self._names, health_name, reflection.SERVICE_NAME), self._server
        )
        address = self._settings.listen
        try:
            self._server.add_insecure_port(address)
        except RuntimeError:
            raise OSError(f"can't listen on {address}") from None
        await self._server.start()
        self._metrics_task = background.start(self._keep_flushing_metrics(), "rpc metrics")

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration, as far as it needs no restart."""
        for method in self._methods:
            method.apply(settings)

    async def set_ready(self, ready: bool) -> None:
        """What the health service answers, for the server and for each service."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if ready
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def drain(self, timeout_s: float) -> None:
        """Takes no more calls, and gives those under way this long to finish."""
        await self._gate.close()
        await self._server.stop(timeout_s)
        if self._metrics_task is not None:
            await background.stop((self._metrics_task,))
        self._flush_metrics()

    async def _keep_flushing_metrics(self) -> None:
        while True:
            await asyncio.sleep(METRICS_INTERVAL_S)
            self._flush_metrics()

    def _flush_metrics(self) -> None:
        for method in self._methods:
            method.flush_metrics()


class _ByName(grpc.GenericRpcHandler):
    """The handlers of all services: grpc asks one after the other, and looks up each call here at
    once."""

    def __init__(self, handlers: "Mapping[str, Handler]") -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        return self._handlers.get(handler_call_details.method)


def _options(settings: Settings) -> Sequence[tuple[str, Any]]:
    age_ms = int(settings.max_connection_age.total_seconds() * 1000)
    return (
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # gRPC cancels calls at random from 1,000 on that it has not handed out yet, as when many
        # miss a key at once; the bound on calls is `maximum_concurrent_rpcs`, which says so.
        ("grpc.server.max_pending_requests", settings.max_concurrent_calls),
        ("grpc.server.max_pending_requests_hard_limit", settings.max_concurrent_calls),
        ("grpc.max_connection_age_ms", age_ms),
        ("grpc.max_connection_age_grace_ms", int(settings.drain_timeout.total_seconds() * 1000)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_MIN_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    )
