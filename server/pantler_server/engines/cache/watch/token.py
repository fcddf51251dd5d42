"""Resume tokens: how far a watch had come, in each partition of its namespaces.

A token is good for the deployment that gave it and for the same namespaces. Whether what came after
it is still known, the namespaces' histories show.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from pantler_server.engines.cache.watch.history import Position

_FORM = b"\x01"
DEPLOYMENT_BYTES = 8
_DIGEST_BYTES = 8
_NUMBER_BYTES = 8
_CHECK_BYTES = 4
_LAST_SHIFT = 63  # of a number
_MAX_PARTITIONS = 1024  # as core/config.py allows
MAX_NAMESPACES = 100
_MAX_BYTES = MAX_NAMESPACES * (64 + 20 + 10 * _MAX_PARTITIONS)
_MAX_CHARACTERS = _MAX_BYTES * 4 // 3


class Part(NamedTuple):
    """What a token says of one namespace."""

    digest: bytes
    """Of the primaries and generations of its partitions."""
    numbers: tuple[int, ...]
    """Of the newest event that was told of each partition."""


class Token(NamedTuple):
    """A token that was read."""

    deployment: bytes
    parts: dict[str, Part]
    """By the namespaces' names."""


def digest(positions: Iterable[Position]) -> bytes:
    """What must be the same for the numbers to mean the same."""
    hashed = blake2b(digest_size=_DIGEST_BYTES)
    for primary, generation, _ in positions:
        hashed.update(primary + generation)
    return hashed.digest()


def pack(name: str, positions: Sequence[Position]) -> bytes:
    """A namespace's part of a token. Numbers of one namespace lie close together, so that all but
    the smallest take few bytes."""
    encoded = name.encode()
    least = min(position.number for position in positions)
    packed = bytearray((len(encoded),))
    packed += encoded
    packed += digest(positions)
    packed += least.to_bytes(_NUMBER_BYTES, "little")
    _put(packed, len(positions))
    for position in positions:
        _put(packed, position.number - least)
    return bytes(packed)


def write(deployment: bytes, parts: Iterable[bytes]) -> str:
    body = _FORM + deployment + b"".join(parts)
    check = crc32(body).to_bytes(_CHECK_BYTES, "little")
    return urlsafe_b64encode(body + check).rstrip(b"=").decode()


def read(text: str) -> Token | None:
    """None if it is no token. Takes time in proportion to a bounded length, whatever it is."""
    if len(text) > _MAX_CHARACTERS:
        return None
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (Error, ValueError):
        return None
    body = raw[:-_CHECK_BYTES]
    check = crc32(body).to_bytes(_CHECK_BYTES, "little")
    if body[:1] != _FORM or raw[-_CHECK_BYTES:] != check:
        return None
    at = 1 + DEPLOYMENT_BYTES
    parts: dict[str, Part] = {}
    try:
        while at < len(body):
            name_end = at + 1 + body[at]
            digest_end = name_end + _DIGEST_BYTES
            numbers_at = digest_end + _NUMBER_BYTES
            least = int.from_bytes(body[digest_end:numbers_at], "little")
            count, numbers_at = _take(body, numbers_at)
            if count > min(_MAX_PARTITIONS, len(body) - numbers_at):
                return None
            numbers: list[int] = []
            for _ in range(count):
                more, numbers_at = _take(body, numbers_at)
                numbers.append(least + more)
            parts[body[at + 1 : name_end].decode()] = Part(
                body[name_end:digest_end], tuple(numbers)
            )
            at = numbers_at
    except (IndexError, ValueError):
        return None
    return Token(body[1 : 1 + DEPLOYMENT_BYTES], parts)


def _put(packed: bytearray, number: int) -> None:
    while number > 0x7F:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)


def _take(body: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next begins. Raises IndexError, and ValueError if it is too long."""
    number = 0
    for shift in range(0, _LAST_SHIFT + 1, 7):
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("no number of a token is so long")
