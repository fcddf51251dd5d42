"""The packed form of an entry, one Redis string: a header and the value.

    offset  bytes  field (little endian)
    0       1      format: 0xC1, a byte that begins no UTF-8 text, so that foreign data shows
    1       1      flags: 1 sliding; made stale 2 by its key, 4 by a cascade
    2       2      length of the whole header, where the value begins
    4       8      version
    12      8      generation of the partition when the entry was stored
    20      8      began: the partition's sequence when the fill began
    28      8      created, Unix us: when the fill began, or when the entry was set without one
    36      8      expiry, Unix us; what follows it is grace, which ends when Redis drops the string
    44      8      ttl, us
    52      n      labels, if there are any: checked, content type, tags, dependencies. `checked` (8
                   bytes) is the sequence at which a Touch saw that nothing hid the entry, 0 before
                   one. The content type is its length (1 byte) and its text; the others are their
                   number (1 byte), then each one's length (2 bytes) and text

set.lua puts Redis's time and the partition's marks into it; the rest is packed here.
"""

import random
from struct import Struct
from typing import NamedTuple

FORMAT = 0xC1
SLIDING = 1
SOFT_BY_KEY = 2
SOFT_BY_CASCADE = 4
HEADER_BYTES = 52
MAX_LABELS = 64  # tags or dependencies: their number is one byte, and the longest fit 64 KiB

PLAIN = bytes((FORMAT, 0, HEADER_BYTES, 0))
"""How an entry begins that has no flags and no labels."""

PLAIN_HEADER = Struct("<4sQ8sQQQQ")
"""What `PLAIN` is compared with; then version, generation, began, created, expiry and ttl."""

HEADER = Struct("<xBHQ8sQQQQ")
"""Of a string that is known to begin with FORMAT; the fields of `Header`."""
_HEAD = Struct("<BBHQ")
_I64 = Struct("<Q")
_I16 = Struct("<H")
_BARE_HEADER_BYTES = HEADER_BYTES + _I64.size + 3  # with labels, of which it has none


class Header(NamedTuple):
    """The fixed part."""

    flags: int
    header_bytes: int
    version: int
    generation: bytes
    began: int
    created_us: int
    expires_us: int
    ttl_us: int


class Labels(NamedTuple):
    """The part of a header that most entries lack."""

    content_type: str
    tags: tuple[str, ...]
    depends_on: tuple[str, ...]


NO_LABELS = Labels("", (), ())


def is_entry(raw: bytes) -> bool:
    """Whether a string is one of ours."""
    return len(raw) >= HEADER_BYTES and raw[0] == FORMAT


def read_header(raw: bytes) -> Header:
    """The fixed part of an entry."""
    return Header(*HEADER.unpack_from(raw))


def raw_version(raw: bytes | None) -> bytes:
    """The version of an entry as it stands in the header; empty if there is no entry."""
    return b"" if raw is None else raw[4:12]


def has_labels(raw: bytes) -> bool:
    """Whether an entry has tags or dependencies."""
    header_bytes = _I16.unpack_from(raw, 2)[0]
    if header_bytes == HEADER_BYTES:
        return False
    return bool(header_bytes - raw[HEADER_BYTES + _I64.size] > _BARE_HEADER_BYTES)


def read_labels(raw: bytes, at: int = HEADER_BYTES) -> Labels:
    """The labels of an entry; with `at` 0, of labels alone."""
    if at and _I16.unpack_from(raw, 2)[0] == HEADER_BYTES:
        return NO_LABELS
    start = at + _I64.size + 1
    end = start + raw[start - 1]
    content_type = raw[start:end].decode()
    tags, end = _unpack_list(raw, end)
    depends_on, end = _unpack_list(raw, end)
    return Labels(content_type, tags, depends_on)


def read_checked(raw: bytes) -> int:
    """Until which sequence it is known that no mark of its labels covers an entry that has some."""
    began: int = _I64.unpack_from(raw, 20)[0]
    checked: int = _I64.unpack_from(raw, HEADER_BYTES)[0]
    return max(began, checked)


def new_version() -> int:
    """63 random bits: positive in every client's language, and never the same twice for one key."""
    return random.getrandbits(63) or 1


def pack_version(version: int) -> bytes:
    """A version as it stands in the header; none (0) is empty."""
    return _I64.pack(version) if version else b""


def pack(
    version: int, ttl_us: int, *, sliding: bool, labels: Labels, value: bytes
) -> tuple[bytes, bytes]:
    """An entry as set.lua takes it: what stands before the generation, and what after the
    expiry."""
    packed = b"" if labels == NO_LABELS else _pack_labels(labels)
    head = _HEAD.pack(FORMAT, SLIDING if sliding else 0, HEADER_BYTES + len(packed), version)
    return head, b"".join((_I64.pack(ttl_us), packed, value))


def _pack_labels(labels: Labels) -> bytes:
    content_type = labels.content_type.encode()
    parts = [bytes(_I64.size), bytes((len(content_type),)), content_type]
    for texts in (labels.tags, labels.depends_on):
        parts.append(bytes((len(texts),)))
        for text in texts:
            encoded = text.encode()
            parts += (_I16.pack(len(encoded)), encoded)
    return b"".join(parts)


def _unpack_list(raw: bytes, at: int) -> tuple[tuple[str, ...], int]:
    texts: list[str] = []
    count = raw[at]
    at += 1
    for _ in range(count):
        start = at + _I16.size
        at = start + _I16.unpack_from(raw, at)[0]
        texts.append(raw[start:at].decode())
    return tuple(texts), at
