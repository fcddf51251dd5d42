"""The codec `pantler.codecs.MSGPACK`."""

from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from pantler.codecs import Codec


class _Msgpack:
    content_type = "application/msgpack"

    def encode(self, value: Any) -> bytes:
        data: bytes = msgpack.packb(value, datetime=True)
        return data

    def decode(self, data: bytes) -> Any:
        return msgpack.unpackb(data, timestamp=3, strict_map_key=False)


MSGPACK: "Codec[Any]" = _Msgpack()
"""As JSON, and bytes, infinities, NaN, keys that are numbers or bytes, and times with a zone, which
come back in UTC."""
