"""Requests and responses of ListHotKeys, to and from what the engine takes and gives."""

from collections.abc import Iterable

from pantler.v1 import admin_pb2

from pantler_server.engines.cache.hot_keys.model import HotKey
from pantler_server.servicers import validate

DEFAULT_LIMIT = 100  # as admin.proto says


def limit(request: admin_pb2.ListHotKeysRequest) -> int:
    """How many keys to give at most. Raises InvalidFields."""
    violations: validate.Violations = []
    wanted = request.limit or DEFAULT_LIMIT
    validate.limit(wanted, violations)
    validate.refuse(violations)
    return wanted


def response(found: Iterable[HotKey]) -> admin_pb2.ListHotKeysResponse:
    return admin_pb2.ListHotKeysResponse(
        keys=[
            admin_pb2.HotKey(key=one.key, reads_per_second=one.reads_per_second, hot=one.hot)
            for one in found
        ]
    )
