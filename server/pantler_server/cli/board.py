"""`pantler board`: leaderboards. Here is what changes them, and what tells of one as a whole."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.board_entry import (
    entry_as_json,
    nobody,
    number,
    period_as_json,
    period_said,
    printable,
)
from pantler_server.cli.board_list import around, ranks, scores, top
from pantler_server.cli.board_options import At, Board, Members, PeriodsAgo, which_period
from pantler_server.cli.cache import Namespace
from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Json,
    RequestId,
    Timeout,
    channel,
    print_json,
    seconds,
)
from pantler_server.cli.confirm import Yes, confirm
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from pantler.v1 import leaderboard_pb2


class Policy(StrEnum):
    """What becomes of a score that is there."""

    SET = "set"
    BEST = "best"
    INCREMENT = "increment"


board_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Rank members (players, teams, sellers) by their scores.\n\n"
    "A board begins with its first submit. The server's configuration may say that the lowest "
    "scores are best, how many members are kept, and that a board begins anew with each hour, day, "
    "week, month or year.\n\n"
    "Lists are tables on a terminal. To a pipe or a file goes a line for each member: its rank, "
    "name and score, with tabs between.",
)


def submit(
    namespace: Namespace,
    board: Board,
    scores: Annotated[
        list[str],
        typer.Argument(help="Members and their scores: ada=990.", metavar="MEMBER=SCORE..."),
    ],
    policy: Annotated[
        Policy,
        typer.Option(
            help="What becomes of a score that a member has: set replaces it, best keeps the "
            "better of both, increment adds to it."
        ),
    ] = Policy.SET,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            help="What else is to be known of the member, and is listed with it: name=Ada. Those "
            "given take the place of all that were there. May be given several times.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Submit scores, all or none, and print the ranks that come of them.

    For example, `pantler board submit games arcade ada=990 bob=870 --policy best`.
    """
    from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

    entries = _entries(scores, attribute or [])
    with channel(address) as opened:
        request = leaderboard_pb2.SubmitScoresRequest(
            namespace=namespace,
            board=board,
            entries=entries,
            policy=f"SCORE_POLICY_{policy.upper()}",
            request_id=request_id,
        )
        answer = leaderboard_pb2_grpc.LeaderboardServiceStub(opened).SubmitScores(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        submitted = [
            {
                "member": one.member,
                "score": one.score,
                "rank": one.rank or None,
                "previous_rank": one.previous_rank or None,
                "changed": one.changed,
            }
            for one in answer.entries
        ]
        print_json({"entries": submitted, "period": period_as_json(answer)})
        return
    for one in answer.entries:
        print(f"{printable(one.member)}: {number(one.score)}, {_rank(one)}")


def show(
    namespace: Namespace,
    board: Board,
    percentile: Annotated[
        list[float],
        typer.Option(
            min=0,
            max=100,
            help="A percentile: 90 prints the score that is better than, or as good as, those of "
            "90 % of the members. May be given several times.",
        ),
    ] = [50, 90, 99],  # noqa: B006  # typer copies it
    periods_ago: PeriodsAgo = 0,
    at: At = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Describe a board: how many members it has, the best, the worst, and what lies between.

    If nobody is on it, the exit code is 1.
    """
    from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

    with channel(address) as opened:
        request = leaderboard_pb2.GetBoardRequest(
            namespace=namespace,
            board=board,
            percentiles=percentile,
            **which_period(periods_ago, at),
        )
        answer = leaderboard_pb2_grpc.LeaderboardServiceStub(opened).GetBoard(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json(_board_as_json(answer))
    else:
        for name, fact in _facts(answer):
            print(f"{name:<16}{fact}")
    if not answer.count:
        raise typer.Exit(ExitCode.MISS)


def remove(
    namespace: Namespace,
    board: Board,
    members: Members,
    periods_ago: PeriodsAgo = 0,
    at: At = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Take members off a board.

    Who was not on it is no error. If nobody was, the exit code is 1.
    """
    from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

    with channel(address) as opened:
        request = leaderboard_pb2.RemoveMembersRequest(
            namespace=namespace, board=board, members=members, **which_period(periods_ago, at)
        )
        answer = leaderboard_pb2_grpc.LeaderboardServiceStub(opened).RemoveMembers(
            request, timeout=seconds(timeout, "--timeout")
        )
    removed = list(zip(members, answer.removed, strict=True))
    if json:
        print_json([{"member": member, "removed": was_there} for member, was_there in removed])
    else:
        for member, was_there in removed:
            print(f"{printable(member)}: {'removed' if was_there else 'not there'}")
    if not any(answer.removed):
        raise typer.Exit(ExitCode.MISS)


def delete(
    namespace: Namespace,
    board: Board,
    yes: Yes = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Delete a board with all its periods.

    If there is none, the exit code is 1.
    """
    from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

    confirm(f"deletes the board {board!r} of {namespace!r} with all its periods", yes)
    with channel(address) as opened:
        request = leaderboard_pb2.DeleteBoardRequest(namespace=namespace, board=board)
        answer = leaderboard_pb2_grpc.LeaderboardServiceStub(opened).DeleteBoard(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"deleted": answer.deleted})
    elif answer.deleted:
        print("deleted")
    if not answer.deleted:
        nobody(f"no board {board!r} in {namespace!r}", json)


for _command in (submit, top, ranks, around, scores, show, remove, delete):
    board_app.command()(_command)


def _entries(scores: Sequence[str], attributes: Sequence[str]) -> list[dict[str, Any]]:
    """The fields of ScoreEntries."""
    if attributes and len(scores) > 1:
        raise typer.BadParameter("is for one member at a time", param_hint="--attribute")
    entries: list[dict[str, Any]] = []
    for one in scores:
        member, _, score = one.rpartition("=")  # a member may contain one too
        try:
            entries.append({"member": member, "score": float(score)})
        except ValueError:
            wrong = f"{one!r} is not MEMBER=SCORE, such as ada=990"
            raise typer.BadParameter(wrong, param_hint="MEMBER=SCORE") from None
    for one in attributes:
        name, equals, value = one.partition("=")
        if not equals:
            wrong = f"{one!r} is not NAME=VALUE, such as name=Ada"
            raise typer.BadParameter(wrong, param_hint="--attribute")
        entries[0].setdefault("attributes", {})[name] = value
    return entries


def _rank(one: "leaderboard_pb2.SubmittedScore") -> str:
    if not one.rank:
        return "not on the board, which is full of better ones"
    if not one.previous_rank:
        return f"rank {one.rank}, new"
    if one.previous_rank != one.rank:
        return f"rank {one.rank}, before {one.previous_rank}"
    return f"rank {one.rank}, as before"


def _facts(answer: "leaderboard_pb2.GetBoardResponse") -> list[tuple[str, str]]:
    facts = [("members", str(answer.count)), ("best score is", _order(answer))]
    for place in ("best", "worst"):
        if answer.HasField(place):
            entry = getattr(answer, place)
            facts.append((place, f"{number(entry.score)} {printable(entry.member)}"))
    facts += [
        (f"percentile {number(one.percentile)}", number(one.score)) for one in answer.percentiles
    ]
    if period := period_said(answer):
        facts.append(("period", period))
    if kept := answer.kept_periods:
        facts.append(("periods kept", f"{len(kept)}, the oldest from {kept[-1].ToJsonString()}"))
    return facts


def _board_as_json(answer: "leaderboard_pb2.GetBoardResponse") -> dict[str, Any]:
    return {
        "count": answer.count,
        "order": _order(answer),
        "best": entry_as_json(answer.best) if answer.HasField("best") else None,
        "worst": entry_as_json(answer.worst) if answer.HasField("worst") else None,
        "percentiles": [
            {"percentile": one.percentile, "score": one.score} for one in answer.percentiles
        ],
        "period": period_as_json(answer),
        "kept_periods": [start.ToJsonString() for start in answer.kept_periods],
    }


def _order(answer: "leaderboard_pb2.GetBoardResponse") -> str:
    """As the configuration has it."""
    from pantler.v1 import sort_order_pb2

    return "lowest" if answer.order == sort_order_pb2.SORT_ORDER_ASCENDING else "highest"
