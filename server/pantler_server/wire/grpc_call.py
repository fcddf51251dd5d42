"""A `Call` that came over grpc.aio. Everything but the deadline is looked up only when asked
for."""

from collections.abc import Mapping
from uuid import uuid4

import grpc.aio

from pantler_server.core.call import Call, answer_by

Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcCall(Call):
    """The call of one grpc.aio context."""

    __slots__ = ("_context", "_metadata", "_request_id")

    def __init__(self, context: Context, now: float, default_deadline_s: float) -> None:
        remaining_s: float | None = context.time_remaining()
        if remaining_s is None:
            remaining_s = default_deadline_s
        self.deadline = answer_by(now, remaining_s)
        self._context = context
        self._metadata: Mapping[str, str | bytes] | None = None
        self._request_id = ""

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        if self._metadata is None:
            self._metadata = dict(self._context.invocation_metadata() or ())
        return self._metadata

    @property
    def peer(self) -> str:
        return self._context.peer()

    @property
    def request_id(self) -> str:
        if not self._request_id:
            given = self.metadata.get("x-request-id", "")
            self._request_id = str(given)[:128] or uuid4().hex
        return self._request_id
