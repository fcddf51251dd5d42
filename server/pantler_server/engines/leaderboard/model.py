"""What the leaderboard engine takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pantler_server.core.board_config import BoardOrder
from pantler_server.core.calendar import Span

NO_ATTRIBUTES: Mapping[str, str] = {}


class ScorePolicy(StrEnum):
    """What becomes of the score that a member has."""

    SET = "set"
    BEST = "best"
    INCREMENT = "increment"


class ScoreEntry(NamedTuple):
    """A score to be submitted. No attributes: those that are there stay."""

    member: str
    score: float
    attributes: Mapping[str, str]


class Submitted(NamedTuple):
    """What became of a score."""

    score: float
    rank: int
    """From 1; 0 if it is not among those that the board keeps."""
    previous_rank: int
    """0 if it was not on the board."""
    changed: int
    """1 if the score is another than before, or new; else 0."""


class Ranked(NamedTuple):
    """A member on a board."""

    member: str
    score: float
    rank: int
    attributes: Mapping[str, str]


class MemberRank(NamedTuple):
    """A member that was asked for, and is on the board."""

    ranked: Ranked
    group_rank: int
    """Among all that were asked for."""


@dataclass(frozen=True, slots=True)
class WhichPeriod:
    """Which period of a board is meant; by default the one that is under way."""

    ago: int = 0
    """So many before it."""
    at_us: int | None = None
    """The one at this time (Unix us), whatever `ago` says."""


THIS_PERIOD = WhichPeriod()


@dataclass(frozen=True, slots=True)
class Scores:
    """What a submit came to."""

    entries: Sequence[Submitted]
    """In the order of those submitted."""
    span: Span | None
    """The period; None if the board has none."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """How members rank."""

    entries: Sequence[MemberRank | None]
    """In the order asked; None for who is not on the board."""
    count: int
    span: Span | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some members, best first."""

    entries: Sequence[Ranked]
    count: int
    """How many are on the board."""
    span: Span | None
    matched: int = 0
    """How many have scores within the bounds, where there are bounds."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Whether members were on the board, in the order asked."""

    entries: Sequence[bool]
    span: Span | None


@dataclass(frozen=True, slots=True)
class Description:
    """A board as a whole."""

    count: int
    best: Ranked | None
    worst: Ranked | None
    percentiles: Sequence[float]
    """The scores, in the order asked; none if there are no members."""
    order: BoardOrder
    span: Span | None
    kept_us: Sequence[int] = field(default=())
    """When each period began that is kept (Unix us), newest first."""
