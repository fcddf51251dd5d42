"""The servers that are compared. They have one processor, the load and Redis the other."""

import subprocess
import sys
from collections.abc import Iterator
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
def bare_server(redis_socket: str, experiments: str) -> Iterator[str]:
    """The address of a grpc.aio server that does nothing else, on the processor of the servers."""
    port = 50990 + (experiments == "")
    command = [
        *("taskset", "--cpu-list", str(SERVER_CPU)),
        *(sys.executable, "-m", "bench.bare_server", str(port), redis_socket),
    ]
    env = {"GRPC_EXPERIMENTS": experiments, "GRPC_VERBOSITY": "ERROR"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield f"127.0.0.1:{port}"
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
