"""Results of CacheService/Exchange, as bytes: those of messages one behind the other are those of
one message with the results of all."""

from collections.abc import Sequence

from google.protobuf.message import Message
from pantler.v1 import cache_pb2

from pantler_server.core.errors import ServiceError
from pantler_server.engines.cache.model import Hit, Miss
from pantler_server.servicers.convert import get_response
from pantler_server.servicers.status import status_of

CLOSING = cache_pb2.ExchangeResponse(closing=True).SerializeToString()
HITS_BYTES = 1 << 20  # of the values of hits that are one result, about


def results_of_gets(
    first_id: int, indexes: Sequence[int], found: Sequence[Hit | Miss | ServiceError], count: int
) -> list[bytes]:
    """Those of some keys of an operation that did not fail, by their positions; of how many keys
    the operation is, tells when positions can be left out."""
    packed, plain, size = [], [], 0
    for index, one in zip(indexes, found, strict=True):
        if isinstance(one, Hit):
            value, version, created_us, expires_us, content_type, tags, _, token, _ = one
            if not (content_type or tags or token):
                plain.append((index, value, version, created_us, expires_us))
                size += len(value)
                if size > HITS_BYTES:
                    packed.append(_hits(first_id, plain))
                    plain, size = [], 0
                continue
        elif isinstance(one, ServiceError):
            continue
        packed.append(result(first_id + index, "get", get_response(one)))
    if plain:
        packed.append(_hits(first_id, plain, is_all=len(plain) == count))
    return packed


def _hits(
    first_id: int, plain: Sequence[tuple[int, bytes, int, int, int]], *, is_all: bool = False
) -> bytes:
    message = cache_pb2.ExchangeResponse()
    hits = message.results.add(id=first_id).hits
    indexes, values, versions, created_us, expires_us = zip(*plain, strict=True)
    if not is_all:
        hits.indexes.extend(indexes)
    hits.values.extend(values)
    hits.versions.extend(versions)
    hits.create_times_us.extend(created_us)
    hits.expire_times_us.extend(expires_us)
    return message.SerializeToString()


def result(operation_id: int, operation: str, response: Message) -> bytes:
    """That of an operation whose RPC gave a response."""
    message = cache_pb2.ExchangeResponse()
    added = message.results.add(id=operation_id)
    getattr(added, operation).CopyFrom(response)
    return message.SerializeToString()


def error_result(operation_id: int, error: ServiceError, request_id: str = "") -> bytes:
    """That of an operation that failed."""
    message = cache_pb2.ExchangeResponse()
    message.results.add(id=operation_id).error.CopyFrom(status_of(error, request_id))
    return message.SerializeToString()
