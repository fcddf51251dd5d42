"""The packed form of an entry, one Redis string: a header and the value.

    offset  bytes  field (little endian)
    0       1      format: 0xC1, a byte that begins no UTF-8 text, so that foreign data shows
    1       1      length of the content type
    2       2      length of the whole header, where the value begins
    4       8      version
    12      8      generation of the partition when the entry was stored
    20      8      began: the partition's sequence when the fill began
    28      8      created, Unix ms
    36      8      hard expiry, Unix ms
    44      n      content type

set.lua writes it, since Redis's clock and the partition's marks go into it; this file reads it.
"""

from struct import Struct

from pantler_server.core.errors import WrongKind
from pantler_server.engines.cache.model import Entry, MissReason

FORMAT = 0xC1
HEADER = Struct("<xBHQ8s8xQQ")  # without the format, which is read first, and `began`
_VERSION = Struct("<Q")


def pack_version(version: int) -> bytes:
    """A version as it stands in the header."""
    return _VERSION.pack(version)


def read(raw: bytes | None, generation: bytes | None, key: str) -> Entry | MissReason:
    """What a reader sees of a stored string, given its partition's present generation.

    Raises WrongKind if the string is not an entry.
    """
    if raw is None:
        return MissReason.UNKNOWN
    if len(raw) < HEADER.size or raw[0] != FORMAT:
        raise WrongKind(key)
    type_bytes, header_bytes, version, stored_in, created_ms, expires_ms = HEADER.unpack_from(raw)
    if stored_in != generation:
        return MissReason.HIDDEN_BY_NAMESPACE
    content_type = raw[HEADER.size : HEADER.size + type_bytes].decode() if type_bytes else ""
    return Entry(raw[header_bytes:], version, created_ms, expires_ms, content_type)
