"""The scripts of leaderboards, each with its typed call. What they do stands at the top of each
file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct

from pantler_server.core.calendar import Span
from pantler_server.core.duration import MILLISECOND
from pantler_server.engines.leaderboard import keys
from pantler_server.engines.leaderboard.board import Board
from pantler_server.engines.leaderboard.model import (
    NO_ATTRIBUTES,
    Ranked,
    ScoreEntry,
    ScorePolicy,
    Submitted,
    WhichPeriod,
)
from pantler_server.store import answers
from pantler_server.store.request import Argument, Request, Script

_SUBMIT = Script.load(__package__, "submit.lua")
_TURN = Script.load(__package__, "turn.lua")
_GET_RANKS = Script.load(__package__, "get_ranks.lua")
_LIST_BY_RANK = Script.load(__package__, "list_by_rank.lua")
_LIST_BY_SCORE = Script.load(__package__, "list_by_score.lua")
_LIST_AROUND = Script.load(__package__, "list_around.lua")
_REMOVE = Script.load(__package__, "remove.lua")
_DESCRIBE = Script.load(__package__, "describe.lua")
_DELETE = Script.load(__package__, "delete.lua")

_PERIODS = Struct("<QQQ")  # functions/period_keys.lua
_NO_PERIODS = _PERIODS.pack(0, 0, 0)
_SUBMITTED = Struct("<dIIB")  # as submit.lua answers to an entry
_SCORE = Struct("<d")
_RANK = Struct("<I")
_ROW = Struct("<IH")  # functions/page.lua: rank, and length of the member
_SIZE = Struct("<I")
_ATTRIBUTES_AT = 14  # in what the hash of members has: after the score and its number
_NUMBER = slice(8, _ATTRIBUTES_AT)


class Target:
    """A board and a period of it: the keys and the first argument of a script. Where it depends on
    the time which period it is, the script gets two, and takes the right one by Redis's clock."""

    __slots__ = ("_spans", "_starts_us", "board", "keys", "periods")

    def __init__(self, board: Board, which: WhichPeriod, now_us: int) -> None:
        self.board = board
        self.keys: list[Argument] = [board.place]
        self.periods = _NO_PERIODS
        self._spans: tuple[Span, ...] = ()
        self._starts_us: tuple[int, ...] = ()
        """What scripts answer for each of the spans."""
        if which.at_us is not None:
            span = board.span_at(which.at_us)
            self._spans, self._starts_us = ((), ()) if span is None else ((span,), (0,))
        elif under_way := board.spans(now_us):
            # Which one it is of older periods too changes when the one under way ends.
            this, following = under_way
            self.periods = _PERIODS.pack(this.start_us, this.end_us, following.end_us)
            self._starts_us = (this.start_us, following.start_us)
            self._spans = board.before(under_way, which.ago)
        for start in [b"%d" % span.start_us for span in self._spans] or [b"0"]:
            self.keys += board.period_keys(start)

    def span(self, start_us: int) -> Span | None:
        """The period that a script took, by the start that it answered; None if the board has
        none."""
        return self._spans[self._starts_us.index(start_us)] if self._spans else None

    def read(self, script: Script, *arguments: Argument) -> Request:
        """A call of a script that changes nothing."""
        return script.request(
            self.board.slot,
            self.keys,
            (self.periods, *arguments),
            self.board.name,
            repeatable=True,
            writes=False,
        )

    def write(self, script: Script, *arguments: Argument, answer: bytes = b"") -> Request:
        """A call of a script that changes the board. `answer`: the key of the first answer to its
        request id; with it the call may be repeated."""
        return script.request(
            self.board.slot,
            [*self.keys, answer] if answer else self.keys,
            (self.periods, *arguments),
            self.board.name,
            repeatable=bool(answer),
        )


def submit(
    target: Target, entries: Sequence[ScoreEntry], policy: ScorePolicy, request_id: str
) -> Request:
    """The reply is as submit.lua gives it."""
    board = target.board
    said: list[str | bytes] = []
    for member, score, attributes in entries:
        packed = _SCORE.pack(score + 0.0)  # of two zeros that are equal only one is used
        if attributes is not NO_ATTRIBUTES:
            packed += _json(attributes)
        said += (member, packed)
    order, bound, fingerprint, answer = board.config.order[0], board.config.max_members, b"", b""
    if request_id:
        fingerprint = answers.fingerprint(policy, *said)
        answer = keys.answer(board.tag, board.name, request_id)
    return target.write(_SUBMIT, order, policy, bound, fingerprint, *said, answer=answer)


def turn(board: Board, ended: bytes, began: bytes, ends: bytes) -> Request:
    """Of two periods, by their starts; and the end of the second. The reply is as turn.lua gives
    it."""
    retention_ms = board.config.retention // MILLISECOND
    return _TURN.request(
        board.slot,
        [board.place, *board.period_keys(ended), *board.period_keys(began)],
        [ended, began, ends, retention_ms],
        board.name,
        repeatable=True,
    )


def get_ranks(target: Target, members: Sequence[str], *, shared: bool) -> Request:
    """The reply is as get_ranks.lua gives it."""
    return target.read(_GET_RANKS, int(shared), *members)


def list_by_rank(target: Target, start_rank: int, limit: int, *, shared: bool) -> Request:
    return target.read(_LIST_BY_RANK, int(shared), start_rank, limit)


def list_by_score(
    target: Target, least: float, most: float, limit: int, *, shared: bool
) -> Request:
    return target.read(_LIST_BY_SCORE, int(shared), least, most, limit)


def list_around(target: Target, member: str, limit: int, *, shared: bool) -> Request:
    return target.read(_LIST_AROUND, int(shared), member, limit)


def remove(target: Target, members: Sequence[str]) -> Request:
    """The reply is as remove.lua gives it."""
    return target.write(_REMOVE, *members)


def describe(target: Target, percentiles: Sequence[float]) -> Request:
    """The reply is as describe.lua gives it."""
    return target.read(_DESCRIBE, *percentiles)


def delete(board: Board, starts: Sequence[bytes]) -> Request:
    """The reply is as delete.lua gives it."""
    places: list[Argument] = [board.place]
    for start in starts:
        places += board.period_keys(start)
    return _DELETE.request(board.slot, places, starts, board.name)


def submitted(packed: bytes) -> list[Submitted]:
    """What submit.lua answered to the entries."""
    return [Submitted(*one) for one in _SUBMITTED.iter_unpack(packed)]


def page(packed: bytes) -> Iterator[Ranked]:
    """A page as functions/page.lua packs it."""
    at = 0
    while at < len(packed):
        rank, length = _ROW.unpack_from(packed, at)
        at += _ROW.size
        member = packed[at : at + length].decode()
        at += length
        [size] = _SIZE.unpack_from(packed, at)
        at += _SIZE.size
        yield _ranked(member, rank, packed[at : at + size])
        at += size


def rank(member: str, packed: bytes) -> tuple[Ranked, bytes]:
    """What get_ranks.lua answered to a member, with the number of its score: of equal scores the
    lower one ranks first."""
    known = packed[_RANK.size :]
    return _ranked(member, _RANK.unpack_from(packed)[0], known), known[_NUMBER]


def score(packed: bytes) -> float:
    """A percentile of describe.lua."""
    return float(_SCORE.unpack(packed)[0])


def _ranked(member: str, rank: int, known: bytes) -> Ranked:
    attributes = known[_ATTRIBUTES_AT:]
    return Ranked(
        member,
        _SCORE.unpack_from(known)[0],
        rank,
        json.loads(attributes) if attributes else NO_ATTRIBUTES,
    )


def _json(attributes: Mapping[str, str]) -> bytes:
    """In one order, whatever theirs is: a repeat of a call must be the same, to any worker."""
    if not attributes:
        return b""
    said = json.dumps(dict(attributes), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return said.encode()
