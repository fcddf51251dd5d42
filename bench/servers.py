"""The servers that are compared. They have one processor, the load and Redis the other."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc
from pantler.v1 import cache_pb2, cache_pb2_grpc
from redis import Redis

from bench.serving import Serving

SERVER_CPU, LOAD_CPU = 0, 1
NAMESPACE = "bench"
VALUE = b"x" * 100
KEYS = [f"user:{number}" for number in range(100)]
"""The keys that a filled server has."""


@contextmanager
def on_load_cpu() -> Iterator[None]:
    """The load comes from this process, which has the load's processor until the block ends."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CPU})
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


@contextmanager
def bare_server(redis_socket: str, experiments: str) -> Iterator[str]:
    """The address of a grpc.aio server that does nothing else, on the processor of the servers."""
    env = {"GRPC_EXPERIMENTS": experiments, "GRPC_VERBOSITY": "ERROR"}
    with _module("bench.bare_server", redis_socket, env) as address:
        yield address


@contextmanager
def bare_http(redis_socket: str) -> Iterator[str]:
    """The address of an aiohttp server that gives what Redis has, on the processor of the
    servers."""
    with _module("bench.bare_http", redis_socket, {}) as address:
        yield address


@contextmanager
def _module(name: str, redis_socket: str, env: Mapping[str, str]) -> Iterator[str]:
    """The address of one that prints its port."""
    command = [
        *("taskset", "--cpu-list", str(SERVER_CPU)),
        *(sys.executable, "-m", name, redis_socket),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **env})
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def filled_server(*options: str) -> Iterator[Serving]:
    """Pantler on one processor and its Valkey on the other, with the keys that are asked for."""
    with Serving(*options, cpu=SERVER_CPU) as serving:
        serving.valkey.cpu_affinity([LOAD_CPU])
        with grpc.insecure_channel(serving.address) as channel:
            entries = [cache_pb2.BatchSetEntry(key=key, value=VALUE) for key in KEYS]
            request = cache_pb2.BatchSetRequest(namespace=NAMESPACE, entries=entries)
            cache_pb2_grpc.CacheServiceStub(channel).BatchSet(request)
        with Redis(unix_socket_path=serving.redis_socket) as redis:
            redis.mset(dict.fromkeys(KEYS, VALUE))
        yield serving
