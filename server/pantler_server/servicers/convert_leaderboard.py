"""Between the messages of LeaderboardService and the leaderboard engine's models, checking on the
way in."""

from collections.abc import Iterable, Sequence
from math import inf, isfinite
from typing import NamedTuple

from pantler.v1 import leaderboard_pb2

from pantler_server.core.calendar import Span
from pantler_server.core.errors import FieldViolation
from pantler_server.engines.leaderboard.model import (
    NO_ATTRIBUTES,
    THIS_PERIOD,
    Description,
    Page,
    Ranked,
    Ranks,
    ScoreEntry,
    ScorePolicy,
    Scores,
    WhichPeriod,
)
from pantler_server.servicers import validate
from pantler_server.servicers.convert import timestamp
from pantler_server.servicers.convert_namespace import SORT_ORDERS

MAX_ATTRIBUTES = 16
MAX_ATTRIBUTE_BYTES = 1024  # of all of a member: a page of 1,000 stays below 2 MiB
MAX_PERCENTILES = 100
MAX_PERIODS_AGO = 1000
END_OF_TIME_S = 253_339_228_800  # the year 9998: the end of a period must be a date too

_POLICIES = {
    leaderboard_pb2.SCORE_POLICY_UNSPECIFIED: ScorePolicy.SET,
    leaderboard_pb2.SCORE_POLICY_SET: ScorePolicy.SET,
    leaderboard_pb2.SCORE_POLICY_BEST: ScorePolicy.BEST,
    leaderboard_pb2.SCORE_POLICY_INCREMENT: ScorePolicy.INCREMENT,
}

_Ranking = (
    leaderboard_pb2.GetRanksRequest
    | leaderboard_pb2.ListByRankRequest
    | leaderboard_pb2.ListByScoreRequest
    | leaderboard_pb2.ListAroundRequest
)
_HasPeriod = _Ranking | leaderboard_pb2.RemoveMembersRequest | leaderboard_pb2.GetBoardRequest
_PageResponse = (
    leaderboard_pb2.ListByRankResponse
    | leaderboard_pb2.ListByScoreResponse
    | leaderboard_pb2.ListAroundResponse
)
_HasSpan = (
    _PageResponse
    | leaderboard_pb2.SubmitScoresResponse
    | leaderboard_pb2.GetRanksResponse
    | leaderboard_pb2.GetBoardResponse
    | leaderboard_pb2.RemoveMembersResponse
)


class View(NamedTuple):
    """How a request wants a board to be read."""

    shared: bool
    """Those with the same score share a rank."""
    which: WhichPeriod


def submit(
    request: leaderboard_pb2.SubmitScoresRequest,
) -> tuple[list[ScoreEntry], ScorePolicy]:
    violations: validate.Violations = []
    validate.key(request.board, "board", violations)
    entries = _entries(request, violations)
    policy = _POLICIES.get(request.policy)
    if policy is None:
        names = ", ".join(leaderboard_pb2.ScorePolicy.keys()[1:])
        violations.append(FieldViolation("policy", f"must be one of {names}"))
    validate.request_id(request.request_id, violations)
    validate.refuse(violations)
    assert policy is not None
    return entries, policy


def ranks(request: leaderboard_pb2.GetRanksRequest) -> View:
    violations: validate.Violations = []
    validate.batch_of_keys(request.members, validate.MAX_BATCH_ITEMS, "members", violations)
    return _view(request, violations)


def by_rank(request: leaderboard_pb2.ListByRankRequest) -> View:
    violations: validate.Violations = []
    if request.start_rank < 1:
        violations.append(FieldViolation("start_rank", "must be at least 1: ranks begin there"))
    validate.limit(request.limit, violations)
    return _view(request, violations)


def by_score(request: leaderboard_pb2.ListByScoreRequest) -> tuple[float, float, View]:
    """With the lowest and the highest score, infinite where there is no bound."""
    violations: validate.Violations = []
    least = request.min if request.HasField("min") else -inf
    most = request.max if request.HasField("max") else inf
    for name, value in (("min", least), ("max", most)):
        if request.HasField(name) and not isfinite(value):
            violations.append(FieldViolation(name, "must be a finite number, or left out"))
    if least > most:
        violations.append(FieldViolation("max", "must not be below min"))
    validate.limit(request.limit, violations)
    return least, most, _view(request, violations)


def around(request: leaderboard_pb2.ListAroundRequest) -> View:
    violations: validate.Violations = []
    validate.key(request.member, "member", violations)
    validate.limit(request.limit, violations)
    return _view(request, violations)


def removal(request: leaderboard_pb2.RemoveMembersRequest) -> WhichPeriod:
    violations: validate.Violations = []
    validate.batch_of_keys(request.members, validate.MAX_BATCH_ITEMS, "members", violations)
    return _period_of_board(request, violations)


def description(request: leaderboard_pb2.GetBoardRequest) -> WhichPeriod:
    violations: validate.Violations = []
    if len(request.percentiles) > MAX_PERCENTILES:
        rule = f"must have at most {MAX_PERCENTILES} items"
        violations.append(FieldViolation("percentiles", rule))
    violations += (
        FieldViolation(f"percentiles[{index}]", "must be 0 to 100")
        for index, one in enumerate(request.percentiles[:MAX_PERCENTILES])
        if not 0 <= one <= 100
    )
    return _period_of_board(request, violations)


def board(request: leaderboard_pb2.DeleteBoardRequest) -> str:
    violations: validate.Violations = []
    validate.key(request.board, "board", violations)
    validate.refuse(violations)
    return request.board


def _entries(
    request: leaderboard_pb2.SubmitScoresRequest, violations: validate.Violations
) -> list[ScoreEntry]:
    if not validate.batch_size(len(request.entries), "entries", violations):
        return []
    found = [
        ScoreEntry(one.member, one.score, one.attributes or NO_ATTRIBUTES)
        for one in request.entries
    ]
    names, scores, _ = zip(*found, strict=True)
    if not validate.are_keys(names):
        for index, name in enumerate(names):
            validate.key(name, f"entries[{index}].member", violations)
    if not all(map(isfinite, scores)):
        violations += (
            FieldViolation(f"entries[{index}].score", "must be a finite number")
            for index, score in enumerate(scores)
            if not isfinite(score)
        )
    for index, one in enumerate(found):
        if one.attributes is not NO_ATTRIBUTES:
            _check_attributes(one, f"entries[{index}].attributes", violations)
    return found


def _view(request: _Ranking, violations: validate.Violations) -> View:
    """Refuses whatever is wrong until here, too."""
    if request.rank_mode not in leaderboard_pb2.RankMode.values():
        names = ", ".join(leaderboard_pb2.RankMode.keys()[1:])
        violations.append(FieldViolation("rank_mode", f"must be one of {names}"))
    shared = request.rank_mode == leaderboard_pb2.RANK_MODE_COMPETITION
    return View(shared, _period_of_board(request, violations))


def _period_of_board(request: _HasPeriod, violations: validate.Violations) -> WhichPeriod:
    """Refuses whatever is wrong until here, too."""
    validate.key(request.board, "board", violations)
    which = _which_period(request, violations)
    validate.refuse(violations)
    return which


def _which_period(request: _HasPeriod, violations: validate.Violations) -> WhichPeriod:
    match request.WhichOneof("period"):
        case "periods_ago":
            if not 0 <= request.periods_ago <= MAX_PERIODS_AGO:
                rule = f"must be 0 to {MAX_PERIODS_AGO}"
                violations.append(FieldViolation("periods_ago", rule))
            return WhichPeriod(ago=request.periods_ago)
        case "at":
            at = request.at
            if not (0 <= at.seconds < END_OF_TIME_S and 0 <= at.nanos < 1_000_000_000):
                violations.append(FieldViolation("at", "must be from 1970 to 9997"))
            return WhichPeriod(at_us=at.seconds * 1_000_000 + at.nanos // 1000)
    return THIS_PERIOD


def submit_response(
    submitted: Iterable[ScoreEntry], scores: Scores
) -> leaderboard_pb2.SubmitScoresResponse:
    response = leaderboard_pb2.SubmitScoresResponse()
    add = response.entries.add
    for entry, one in zip(submitted, scores.entries, strict=True):
        add(
            member=entry.member,
            score=one.score,
            rank=one.rank,
            previous_rank=one.previous_rank,
            changed=bool(one.changed),
        )
    put_span(response, scores.span)
    return response


def ranks_response(names: Sequence[str], ranks: Ranks) -> leaderboard_pb2.GetRanksResponse:
    response = leaderboard_pb2.GetRanksResponse(count=ranks.count)
    for name, one in zip(names, ranks.entries, strict=True):
        if one is None:
            response.entries.add(member=name)
        else:
            response.entries.add(
                member=name,
                found=True,
                score=one.ranked.score,
                rank=one.ranked.rank,
                group_rank=one.group_rank,
                attributes=one.ranked.attributes,
            )
    put_span(response, ranks.span)
    return response


def put_page(response: _PageResponse, page: Page) -> None:
    response.count = page.count
    for one in page.entries:
        _put_ranked(response.entries.add(), one)
    put_span(response, page.span)


def board_response(
    asked: Sequence[float], described: Description
) -> leaderboard_pb2.GetBoardResponse:
    response = leaderboard_pb2.GetBoardResponse(
        count=described.count,
        order=SORT_ORDERS[described.order],
        kept_periods=[message for us in described.kept_us if (message := timestamp(us))],
    )
    if described.best is not None and described.worst is not None:
        _put_ranked(response.best, described.best)
        _put_ranked(response.worst, described.worst)
    for percentile, score in zip(asked, described.percentiles, strict=False):
        response.percentiles.add(percentile=percentile, score=score)
    put_span(response, described.span)
    return response


def _check_attributes(entry: ScoreEntry, path: str, violations: validate.Violations) -> None:
    attributes = entry.attributes
    size = sum(len(name.encode()) + len(value.encode()) for name, value in attributes.items())
    if len(attributes) > MAX_ATTRIBUTES or size > MAX_ATTRIBUTE_BYTES:
        rule = f"must have at most {MAX_ATTRIBUTES}, of {MAX_ATTRIBUTE_BYTES} bytes together"
        violations.append(FieldViolation(path, rule))
    if not all(map(validate.is_key, attributes)):
        rule = "must have names of 1 to 512 bytes of UTF-8 without control characters"
        violations.append(FieldViolation(path, rule))


def _put_ranked(message: leaderboard_pb2.BoardEntry, ranked: Ranked) -> None:
    message.member = ranked.member
    message.score = ranked.score
    message.rank = ranked.rank
    if ranked.attributes:
        message.attributes.update(ranked.attributes)


def put_span(response: _HasSpan, span: Span | None) -> None:
    if span is not None:
        response.period.start_time.FromMicroseconds(span.start_us)
        response.period.end_time.FromMicroseconds(span.end_us)
