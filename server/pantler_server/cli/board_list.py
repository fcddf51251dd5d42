"""`pantler board top`, `ranks`, `around` and `scores`: who ranks where."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pantler_server.cli.board_entry import (
    NOTHING,
    caption,
    entry_as_json,
    line,
    nobody,
    page_as_json,
    period_as_json,
    print_page,
    table,
)
from pantler_server.cli.board_options import (
    At,
    Board,
    Limit,
    Members,
    PeriodsAgo,
    SharedRanks,
    which_ranks,
)
from pantler_server.cli.board_watch import watch_page
from pantler_server.cli.cache import Namespace
from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Json,
    Timeout,
    channel,
    print_json,
    seconds,
)
from pantler_server.cli.looks import interval_seconds, looks

if TYPE_CHECKING:
    from pantler.v1 import leaderboard_pb2

    from pantler_server.cli.board_entry import Page

MAX_RANK = (1 << 31) - 1  # that a request can name


def top(
    namespace: Namespace,
    board: Board,
    limit: Limit = 10,
    start: Annotated[int, typer.Option(min=1, max=MAX_RANK, help="The rank to begin with.")] = 1,
    shared_ranks: SharedRanks = False,
    periods_ago: PeriodsAgo = 0,
    at: At = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on until Ctrl-C, and show who moved up or down since the last look. To a pipe "
            "or a file goes a line for each change, with the rank before at its end; with --json a "
            "line for each look.",
        ),
    ] = False,
    interval: Annotated[
        str, typer.Option(help="With --watch, how often to look: 200ms, 2s.")
    ] = "1s",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List the best members of a board, or those from a rank on.

    If there is nobody, the exit code is 1.
    """
    from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

    interval_s, timeout_s = interval_seconds(interval), seconds(timeout, "--timeout")
    with channel(address) as opened:
        request = leaderboard_pb2.ListByRankRequest(
            namespace=namespace,
            board=board,
            start_rank=start,
            limit=limit,
            **which_ranks(periods_ago, at, shared_ranks),
        )
        stub = leaderboard_pb2_grpc.LeaderboardServiceStub(opened)

        def look() -> "leaderboard_pb2.ListByRankResponse":
            answer: leaderboard_pb2.ListByRankResponse = stub.ListByRank(request, timeout=timeout_s)
            return answer

        if watch:
            watch_page(looks(look, interval_s), json)
            return
        answer = look()
    _end(answer, f"nobody has such a rank on board {board!r} in {namespace!r}", json)


def ranks(
    namespace: Namespace,
    board: Board,
    members: Members,
    shared_ranks: SharedRanks = False,
    periods_ago: PeriodsAgo = 0,
    at: At = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Say how members rank on a board and, as friends, among themselves.

    The best of them comes first, who is not on the board last. Lines for scripts end with the rank
    among friends. If nobody is on the board, the exit code is 1.
    """
    from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

    with channel(address) as opened:
        request = leaderboard_pb2.GetRanksRequest(
            namespace=namespace,
            board=board,
            members=dict.fromkeys(members),
            **which_ranks(periods_ago, at, shared_ranks),
        )
        answer = leaderboard_pb2_grpc.LeaderboardServiceStub(opened).GetRanks(
            request, timeout=seconds(timeout, "--timeout")
        )
    entries = sorted(answer.entries, key=lambda one: (not one.found, one.group_rank))
    if json:
        print_json(
            {
                "entries": [
                    {
                        **entry_as_json(one),
                        **({} if one.found else {"rank": None, "score": None}),
                        "group_rank": one.group_rank or None,
                    }
                    for one in entries
                ],
                "count": answer.count,
                "period": period_as_json(answer),
            }
        )
    elif sys.stdout.isatty():
        from rich.console import Console

        among_them = [str(one.group_rank or NOTHING) for one in entries]
        Console().print(table(entries, caption(answer), "among them", among_them))
    else:
        for one in entries:
            print(line(one.rank, one.member, one.score, one.group_rank))
    if not any(one.found for one in entries):
        nobody(f"none of them is on board {board!r} in {namespace!r}", json)


def around(
    namespace: Namespace,
    board: Board,
    member: Annotated[str, typer.Argument(help="The member.")],
    limit: Limit = 11,
    shared_ranks: SharedRanks = False,
    periods_ago: PeriodsAgo = 0,
    at: At = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List a member amid those who rank next to it.

    If it is not on the board, the exit code is 1.
    """
    from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

    with channel(address) as opened:
        request = leaderboard_pb2.ListAroundRequest(
            namespace=namespace,
            board=board,
            member=member,
            limit=limit,
            **which_ranks(periods_ago, at, shared_ranks),
        )
        answer = leaderboard_pb2_grpc.LeaderboardServiceStub(opened).ListAround(
            request, timeout=seconds(timeout, "--timeout")
        )
    _end(answer, f"{member!r} is not on board {board!r} in {namespace!r}", json)


def scores(
    namespace: Namespace,
    board: Board,
    min: Annotated[  # noqa: A002  # the option --min
        float | None, typer.Option(help="The lowest score.", show_default=False)
    ] = None,
    max: Annotated[  # noqa: A002
        float | None, typer.Option(help="The highest score.", show_default=False)
    ] = None,
    limit: Limit = 10,
    shared_ranks: SharedRanks = False,
    periods_ago: PeriodsAgo = 0,
    at: At = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List the members with scores from --min to --max, best first.

    If there is nobody, the exit code is 1.
    """
    from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

    with channel(address) as opened:
        request = leaderboard_pb2.ListByScoreRequest(
            namespace=namespace,
            board=board,
            min=min,
            max=max,
            limit=limit,
            **which_ranks(periods_ago, at, shared_ranks),
        )
        answer = leaderboard_pb2_grpc.LeaderboardServiceStub(opened).ListByScore(
            request, timeout=seconds(timeout, "--timeout")
        )
    _end(answer, f"nobody has such a score on board {board!r} in {namespace!r}", json)


def _end(answer: "Page", nobody_there: str, json: bool) -> None:
    """Prints a page, and ends if it is empty."""
    if json:
        print_json(page_as_json(answer))
    elif answer.entries:
        print_page(answer)
    if not answer.entries:
        nobody(nobody_there, json)
