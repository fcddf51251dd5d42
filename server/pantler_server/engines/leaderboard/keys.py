"""Where boards live in Redis (role `state`). All that is of a board shares a slot."""

from pantler_server.core import keyspace
from pantler_server.store import answers


def board(tag: bytes, name: str) -> bytes:
    """`s{ns:p}BOARD`, a hash: `order` (h: the highest score is best, l: the lowest), `seq` (how
    many scores were reached so far), `newest` and `ends` (start and end of the newest
    period, Unix us; 0 of a board without periods), `pSTART` for each older period: when that
    expires (Unix ms). No expiry."""
    return keyspace.named(tag, name)


def scores(tag: bytes, name: str, start: bytes) -> bytes:
    """`b{ns:p}START:BOARD`, a sorted set: who is on the board in a period, best first. A member is
    the number of its score (6 bytes, big-endian: scores are numbered as they are reached, so that
    of equal ones the first ranks first) and its name; its score is negative where the highest is
    best. Without expiry while the period is the newest; then by the end of its retention."""
    return b"b%b%b:%b" % (tag, start, name.encode())


def members(tag: bytes, name: str, start: bytes) -> bytes:
    """`a{ns:p}START:BOARD`, a hash by the members' names: score (8 bytes, little-endian double),
    its number as in `scores` (6 bytes), and attributes (JSON, or nothing). Expires as `scores`."""
    return b"a%b%b:%b" % (tag, start, name.encode())


def answer(tag: bytes, name: str, request_id: str) -> bytes:
    """As `keyspace.answer`, to a submit."""
    return keyspace.answer(tag, answers.digest("board", name, request_id))
