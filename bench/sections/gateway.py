"""The HTTP gateway side by side with the least that the same stack can do."""

import statistics
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from pantler.v1 import cache_pb2, cache_pb2_grpc
from redis import Redis

from bench.load import Page, pages_per_second
from bench.report import Line, rounds
from bench.servers import KEYS, LOAD_CPU, NAMESPACE, bare_http, filled_server
from bench.serving import Serving

ROUNDS = 9
SECONDS = 2
LARGE = "large"
LARGE_BYTES = 100_000
TAGGED = "tagged"
CONFIG = {
    "namespaces": {
        NAMESPACE: {"http": {}},
        TAGGED: {
            "http": {"max_age": "60s", "stale_while_revalidate": "30s"},
            "cdn": {"targets": ["varnish"]},
        },
    },
    "cdn_targets": {"varnish": {"varnish": {"servers": ["http://127.0.0.1:6081"]}}},
}


@contextmanager
def _serving() -> Iterator[Serving]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(str(CONFIG))
        file.flush()
        with filled_server("--config", file.name) as serving:
            value = b"x" * LARGE_BYTES
            with grpc.insecure_channel(serving.address) as channel:
                cache = cache_pb2_grpc.CacheServiceStub(channel)
                cache.Set(cache_pb2.SetRequest(namespace=NAMESPACE, key=LARGE, value=value))
                cache.Set(
                    cache_pb2.SetRequest(
                        namespace=TAGGED, key=KEYS[0], value=b"x" * 100, tags=["prices", "shop:7"]
                    )
                )
            with Redis(unix_socket_path=serving.redis_socket) as redis:
                redis.set(LARGE, value)
            yield serving


def gateway() -> Iterator[Line]:
    """A GET that hits, through the whole worker with metrics, against a bare aiohttp handler; with
    two tags in a namespace with a CDN; and answered with 304, against 200."""
    with _serving() as serving, bare_http(serving.redis_socket) as bare:

        def ours(namespace: str, key: str, *, conditional: bool = False) -> Page:
            url = f"http://{serving.http_address}/v1/{namespace}/{key}"
            if not conditional:
                return Page(url)
            with urllib.request.urlopen(url) as response:
                return Page(url, f"if-none-match: {response.headers['ETag']}")

        bare_small, bare_large = (
            Page(f"http://{bare}/v1/{NAMESPACE}/{key}") for key in (KEYS[0], LARGE)
        )
        small, large = ours(NAMESPACE, KEYS[0]), ours(NAMESPACE, LARGE)
        for what, one, other, wanted in (
            ("a bare aiohttp handler", small, bare_small, ">= 0.8"),
            ("a bare aiohttp handler, 100 KB", large, bare_large, ">= 0.8"),
            (
                "a bare aiohttp handler, with tags and a CDN",
                ours(TAGGED, KEYS[0]),
                bare_small,
                ">= 0.8",
            ),
            ("200: 304", ours(NAMESPACE, KEYS[0], conditional=True), small, "> 1"),
            ("200: 304, 100 KB", ours(NAMESPACE, LARGE, conditional=True), large, "> 1"),
        ):
            yield _compared(what, one, other, wanted)


def _compared(what: str, one: Page, other: Page, wanted: str) -> Line:
    rates = [
        [pages_per_second(page, SECONDS, LOAD_CPU) for page in (one, other)]
        for _ in rounds(ROUNDS, what)
    ]
    first, second = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(first / second for first, second in rates)
    return Line(
        f"GET through the gateway, against {what}",
        f"{first:,.0f}/s",
        f"{second:,.0f}/s",
        f"{ratio:.2f}",
        wanted,
    )
