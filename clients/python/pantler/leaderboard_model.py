"""What leaderboards are asked with, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ScorePolicy = Literal["set", "best", "increment"]
BoardOrder = Literal["highest", "lowest"]


@dataclass(frozen=True, slots=True)
class ScoreEntry:
    """A score to be submitted."""

    member: str
    score: float
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What else is to be known of the member, as a name to be shown. Those given take the place of
    all that were there; none leaves these. With "best" they count only if the score does."""


@dataclass(frozen=True, slots=True)
class BoardPeriod:
    """A period of a board, in UTC."""

    start_time: datetime
    end_time: datetime
    """When it is over, and the next begins."""


@dataclass(frozen=True, slots=True)
class SubmittedScore:
    """What became of a score."""

    member: str
    score: float
    """What the member has now."""
    rank: int | None
    """From 1; None if the board is full, and all that are on it are better."""
    previous_rank: int | None
    """None if the member was not on the board."""
    changed: bool
    """Whether its score is another than before, or it is new."""


@dataclass(frozen=True, slots=True)
class SubmittedScores:
    """What a `submit_scores` came to."""

    entries: tuple[SubmittedScore, ...]
    """One for each that was submitted, in their order."""
    period: BoardPeriod | None
    """In which they were counted; None if the board has no periods."""


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """A member on a board."""

    member: str
    score: float
    rank: int
    """From 1."""
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MemberRank:
    """A member that was asked for, on the board and among all that were."""

    member: str
    score: float
    rank: int
    """On the board, from 1."""
    group_rank: int
    """Among those that were asked for, from 1."""
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MemberRanks:
    """What a `get_ranks` found."""

    entries: dict[str, MemberRank]
    """Those of the members that are on the board, best first."""
    count: int
    """How many members the board has."""
    period: BoardPeriod | None
    """What was read; None if the board has no periods."""


@dataclass(frozen=True, slots=True)
class BoardPage:
    """Some members of a board."""

    entries: tuple[BoardEntry, ...]
    """Best first, with their ranks on the whole board."""
    count: int
    """As in MemberRanks."""
    period: BoardPeriod | None
    """As in MemberRanks."""


@dataclass(frozen=True, slots=True)
class ScorePage(BoardPage):
    """What a `list_by_score` found."""

    matched: int
    """How many members have such scores, listed or not."""


@dataclass(frozen=True, slots=True)
class Board:
    """A board as a whole."""

    count: int
    """How many members it has; 0 if nothing was submitted."""
    best: BoardEntry | None
    worst: BoardEntry | None
    percentiles: dict[float, float]
    """The score of each percentile that was asked for: that of 90 is better than, or as good as,
    those of 90 % of the members. Empty if there are none."""
    order: BoardOrder
    """Which scores are best. A board keeps the order that it began with."""
    period: BoardPeriod | None
    """As in MemberRanks."""
    kept_periods: tuple[datetime, ...]
    """When each period began that can be read, newest first; none if the board has no periods."""
