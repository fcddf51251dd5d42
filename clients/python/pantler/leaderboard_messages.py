"""Between the models of leaderboards and the messages of LeaderboardService."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pantler.leaderboard_model import (
    Board,
    BoardEntry,
    BoardPeriod,
    MemberRank,
    MemberRanks,
    ScoreEntry,
    ScorePolicy,
    SubmittedScore,
    SubmittedScores,
)
from pantler.v1 import leaderboard_pb2, sort_order_pb2

_POLICIES: dict[ScorePolicy, leaderboard_pb2.ScorePolicy] = {
    "set": leaderboard_pb2.SCORE_POLICY_SET,
    "best": leaderboard_pb2.SCORE_POLICY_BEST,
    "increment": leaderboard_pb2.SCORE_POLICY_INCREMENT,
}

_HasPeriod = (
    leaderboard_pb2.SubmitScoresResponse
    | leaderboard_pb2.GetRanksResponse
    | leaderboard_pb2.ListByRankResponse
    | leaderboard_pb2.ListByScoreResponse
    | leaderboard_pb2.ListAroundResponse
    | leaderboard_pb2.GetBoardResponse
)


def score_entries(
    scores: Mapping[str, float] | Iterable[ScoreEntry],
) -> list[leaderboard_pb2.ScoreEntry]:
    if isinstance(scores, Mapping):
        scores = [ScoreEntry(member, score) for member, score in scores.items()]
    return [
        leaderboard_pb2.ScoreEntry(
            member=one.member, score=one.score, attributes=dict(one.attributes)
        )
        for one in scores
    ]


def policy_number(policy: ScorePolicy) -> leaderboard_pb2.ScorePolicy:
    if policy not in _POLICIES:
        raise ValueError(f"policy must be one of {', '.join(_POLICIES)}, not {policy!r}")
    return _POLICIES[policy]


def which_period(periods_ago: int, at: datetime | None) -> dict[str, Any]:
    """The fields of a request that say which period it is about."""
    if at is None:
        return {"periods_ago": periods_ago}
    if periods_ago:
        raise TypeError("give one of periods_ago and at, not both")
    if at.utcoffset() is None:
        raise ValueError("at has no time zone: datetime.now(UTC), say, has one")
    return {"at": at}


def which_ranks(periods_ago: int, at: datetime | None, *, shared: bool) -> dict[str, Any]:
    """As `which_period`, and how those with the same score rank."""
    mode = leaderboard_pb2.RANK_MODE_COMPETITION if shared else leaderboard_pb2.RANK_MODE_ORDINAL
    return {"rank_mode": mode, **which_period(periods_ago, at)}


def submitted(message: leaderboard_pb2.SubmitScoresResponse) -> SubmittedScores:
    entries = tuple(
        SubmittedScore(
            member=one.member,
            score=one.score,
            rank=one.rank or None,
            previous_rank=one.previous_rank or None,
            changed=one.changed,
        )
        for one in message.entries
    )
    return SubmittedScores(entries, _period(message))


def member_ranks(message: leaderboard_pb2.GetRanksResponse) -> MemberRanks:
    found = sorted((one for one in message.entries if one.found), key=lambda one: one.group_rank)
    entries = {
        one.member: MemberRank(
            member=one.member,
            score=one.score,
            rank=one.rank,
            group_rank=one.group_rank,
            attributes=dict(one.attributes),
        )
        for one in found
    }
    return MemberRanks(entries, message.count, _period(message))


def page(
    message: leaderboard_pb2.ListByRankResponse
    | leaderboard_pb2.ListByScoreResponse
    | leaderboard_pb2.ListAroundResponse,
) -> tuple[tuple[BoardEntry, ...], int, BoardPeriod | None]:
    """What pages have in common."""
    return tuple(map(_entry, message.entries)), message.count, _period(message)


def board(message: leaderboard_pb2.GetBoardResponse) -> Board:
    lowest_first = message.order == sort_order_pb2.SORT_ORDER_ASCENDING
    return Board(
        count=message.count,
        best=_entry(message.best) if message.HasField("best") else None,
        worst=_entry(message.worst) if message.HasField("worst") else None,
        percentiles={one.percentile: one.score for one in message.percentiles},
        order="lowest" if lowest_first else "highest",
        period=_period(message),
        kept_periods=tuple(start.ToDatetime(UTC) for start in message.kept_periods),
    )


def _entry(message: leaderboard_pb2.BoardEntry) -> BoardEntry:
    return BoardEntry(message.member, message.score, message.rank, dict(message.attributes))


def _period(message: _HasPeriod) -> BoardPeriod | None:
    if not message.HasField("period"):
        return None
    period = message.period
    return BoardPeriod(period.start_time.ToDatetime(UTC), period.end_time.ToDatetime(UTC))
