"""Which board, period and ranks a command is about."""

from typing import Annotated, Any

import typer

Board = Annotated[str, typer.Argument(help="The board.")]
Members = Annotated[list[str], typer.Argument(help="The members.", metavar="MEMBER...")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many to list at the most.")]
SharedRanks = Annotated[
    bool,
    typer.Option(
        "--shared-ranks",
        help="Give members with the same score the same rank: 1, 2, 2, 4 (default: who reached "
        "the score first ranks higher).",
    ),
]
PeriodsAgo = Annotated[
    int,
    typer.Option(
        min=0,
        max=1000,
        help="Of a board that begins anew with each day, week or month: how many of these ago. 1 "
        "is yesterday, last week or last month.",
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        help="The day, week or month of such a board that a time falls into: 2026-01-31T12:00:00Z.",
        show_default=False,
    ),
]


def which_period(periods_ago: int, at: str | None) -> dict[str, Any]:
    """The fields of a request."""
    from google.protobuf.timestamp_pb2 import Timestamp

    if at is None:
        return {"periods_ago": periods_ago}
    if periods_ago:
        raise typer.BadParameter("give --periods-ago or --at, not both")
    time = Timestamp()
    try:
        time.FromJsonString(at)
    except ValueError:
        wrong = f"{at!r} is not a time such as 2026-01-31T12:00:00Z"
        raise typer.BadParameter(wrong, param_hint="--at") from None
    return {"at": time}


def which_ranks(periods_ago: int, at: str | None, shared_ranks: bool) -> dict[str, Any]:
    """As `which_period`, and how those with the same score rank."""
    mode = "RANK_MODE_COMPETITION" if shared_ranks else "RANK_MODE_ORDINAL"
    return {"rank_mode": mode, **which_period(periods_ago, at)}
