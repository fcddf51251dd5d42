"""What Pantler is measured against: grpc.aio servers that do nothing else, and one MGET.

`python -m bench.bare_server PORT REDIS_SOCKET` serves /bench.Bare/Echo, which gives back the bytes
that it got, and /bench.Bare/MultiGet, which parses a BatchGetRequest, does one MGET with redis-py
and answers with a message of the values. It runs on uvloop, as Pantler's workers do.
"""

import sys
from typing import Any

import grpc.aio
import uvloop
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from pantler.v1 import cache_pb2
from redis.asyncio import Redis


def _values_class() -> Any:
    """message Values { repeated bytes values = 1; }"""
    file = descriptor_pb2.FileDescriptorProto(name="bench/values.proto", package="bench")
    field = file.message_type.add(name="Values").field.add(name="values", number=1)
    field.type, field.label = field.TYPE_BYTES, field.LABEL_REPEATED
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("bench.Values"))


async def serve(redis_socket: str) -> None:
    redis = Redis(unix_socket_path=redis_socket, protocol=3)
    values_class = _values_class()

    async def echo(request: bytes, _: object) -> bytes:
        return request

    async def multi_get(request: cache_pb2.BatchGetRequest, _: object) -> object:
        return values_class(values=await redis.mget(list(request.keys)))

    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "MultiGet": grpc.unary_unary_rpc_method_handler(
            multi_get,
            request_deserializer=cache_pb2.BatchGetRequest.FromString,
            response_serializer=values_class.SerializeToString,
        ),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bare", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
