"""One get at a time: how long a caller waits who has nobody to share a message with."""

from asyncio import Runner
from collections.abc import Iterator
from functools import partial

import grpc.aio
from pantler import AsyncClient
from pantler.v1 import cache_pb2
from pantler_server.worker_process import GRPC_EXPERIMENTS

from bench.rates import Rate, Scale, Turn, from_coroutines, interleaved, median, ratio
from bench.report import Line
from bench.servers import KEYS, NAMESPACE, bare_server
from bench.serving import Serving

PANTLER = "Pantler"
BARE = "a bare grpc.aio echo"
TUNED = f"{BARE} with our gRPC settings"


def client_latency(serving: Serving, scale: Scale, loop: Runner) -> Iterator[Line]:
    """Against an echo: as grpc.aio comes, and with the settings of Pantler's workers."""
    with (
        bare_server(serving.redis_socket, "") as bare,
        bare_server(serving.redis_socket, GRPC_EXPERIMENTS) as tuned,
    ):
        servers = {BARE: bare, TUNED: tuned}
        rates = loop.run(_one_at_a_time(serving.address, servers, scale))
    for name in servers:
        yield Line(
            f"One get at a time, against {name}: p50",
            f"{median(rates[PANTLER]).p50_ms:.2f} ms",
            f"{median(rates[name]).p50_ms:.2f} ms",
            f"{ratio(rates[name], rates[PANTLER]):.2f}",
            "<= 1.3" if name == BARE else "",
        )


async def _one_at_a_time(
    address: str, servers: dict[str, str], scale: Scale
) -> dict[str, list[Rate]]:
    async with (
        AsyncClient(address) as client,
        grpc.aio.insecure_channel(servers[BARE]) as bare,
        grpc.aio.insecure_channel(servers[TUNED]) as tuned,
    ):
        turns: dict[str, Turn] = {
            PANTLER: partial(from_coroutines, partial(client.get, NAMESPACE), KEYS, 1),
            BARE: _echoes(bare),
            TUNED: _echoes(tuned),
        }
        return await interleaved(turns, scale, "clients: one at a time")


def _echoes(channel: grpc.aio.Channel) -> Turn:
    echo = channel.unary_unary(
        "/bench.Bare/Echo",
        request_serializer=cache_pb2.GetRequest.SerializeToString,
        response_deserializer=cache_pb2.GetRequest.FromString,
    )
    requests = [cache_pb2.GetRequest(namespace=NAMESPACE, key=key) for key in KEYS]
    return partial(from_coroutines, echo, requests, 1)
