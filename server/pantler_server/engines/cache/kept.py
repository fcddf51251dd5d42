"""The packed form of what the first level keeps, one string: a million of them take little, and
nothing of the garbage collector's time.

    offset  bytes  field (little endian)
    0       24     what it holds by: the number of the connection that vouches for it, its
                   partition's newest mark of those that cover all entries, and the generation
    24      8      the newest mark of a label; -1 if the entry has none; for a miss how often
                   Redis had told of the partition's marks
    32      n      the entry as Redis has it (entry.py); for a miss an empty header, and the fill
                   token
"""

from struct import Struct

from pantler_server.engines.cache import entry
from pantler_server.engines.cache.model import Hit, Miss, MissReason

KEPT = Struct("<24sq4sQ16xQQQ")
"""What it holds by, label mark; how the entry begins, its version, created, expiry and ttl."""
MISS = bytes(4)
"""How a miss begins, as no entry does."""
_BY = Struct("<QQ8s")
_I64 = Struct("<q")
_ENTRY_AT = _BY.size + _I64.size


def pack_by(number: int, newest_mark: int, generation: bytes) -> bytes:
    return _BY.pack(number, newest_mark, generation)


def pack_hit(by: bytes, label_mark: int, raw: bytes) -> bytes:
    """An entry that was found fresh, and the newest mark of a label as of then."""
    return b"".join((by, _I64.pack(label_mark if entry.has_labels(raw) else -1), raw))


def pack_miss(by: bytes, epoch: int, token: str) -> bytes:
    """That there is no entry."""
    return KEPT.pack(by, epoch, MISS, 0, 0, 0, 0) + token.encode()


def read_hit(packed: bytes) -> Hit:
    raw = packed[_ENTRY_AT:]
    header = entry.read_header(raw)
    labels = entry.read_labels(raw)
    return Hit(
        raw[header.header_bytes :],
        header.version,
        header.created_us,
        header.expires_us,
        labels.content_type,
        labels.tags,
    )


def read_miss(packed: bytes) -> Miss:
    return Miss(MissReason.UNKNOWN, packed[KEPT.size :].decode())
