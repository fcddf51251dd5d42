"""Fill tokens: what a read knew of its key, for the fill that begins with it.

A token is opaque to callers and names its key, so that one for another key shows. Packed, in
base64:

    bytes  field (little endian)
    8      beginning of the run id of the primary that was read, zero if it was unknown
    8      generation of the partition, zero if it had none
    8      sequence of the partition
    8      time of issue, Unix us by Redis's clock
    8      version of the entry that was there, 0 if none was
    8      id of the lease, zero if there is none
    1      whether the entry was fresh
    n      the entry's place in Redis: `{namespace:partition}e:key`
    4      CRC-32 of the above, so that garbage shows
"""

from base64 import b64decode
from binascii import Error, b2a_base64
from struct import Struct
from typing import NamedTuple
from zlib import crc32

NONE = bytes(8)
"""No run id, generation or lease."""

_BODY = Struct("<8s8sQQQ8s?")
_CHECK = Struct("<I")


class FillToken(NamedTuple):
    """A token's content."""

    primary: bytes
    generation: bytes
    seq: int
    issued_us: int
    version: int
    lease_id: bytes
    was_fresh: bool
    place: bytes

    def write(self) -> str:
        """The token as callers see it."""
        body = _BODY.pack(*self[:-1]) + self.place
        return b2a_base64(body + _CHECK.pack(crc32(body)), newline=False).decode()

    @property
    def of_lease(self) -> bool:
        """Whether it is the token of a lease."""
        return self.lease_id != NONE

    def key(self) -> tuple[str, str]:
        """The namespace and the key that the token was given for."""
        namespace, _, rest = self.place[1:].decode().partition(":")
        return namespace, rest.partition("}e:")[2]


def read(text: str) -> FillToken | None:
    """None if it is not a token."""
    try:
        raw = b64decode(text, validate=True)
    except (Error, ValueError):
        return None
    body = raw[: -_CHECK.size]
    try:
        body[_BODY.size :].decode()
    except UnicodeDecodeError:
        return None
    if len(body) <= _BODY.size or raw[-_CHECK.size :] != _CHECK.pack(crc32(body)):
        return None
    primary, generation, seq, issued_us, version, lease_id, was_fresh = _BODY.unpack_from(body)
    place = body[_BODY.size :]
    return FillToken(primary, generation, seq, issued_us, version, lease_id, was_fresh, place)
