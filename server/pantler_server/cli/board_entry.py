"""How members of boards are printed: as a table for people, as lines and JSON for scripts."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from pantler.v1 import leaderboard_pb2
    from rich.console import Group

    Page = (
        leaderboard_pb2.ListByRankResponse
        | leaderboard_pb2.ListByScoreResponse
        | leaderboard_pb2.ListAroundResponse
    )
    Entry = leaderboard_pb2.BoardEntry | leaderboard_pb2.MemberRank
    HasPeriod = (
        Page
        | leaderboard_pb2.SubmitScoresResponse
        | leaderboard_pb2.GetRanksResponse
        | leaderboard_pb2.GetBoardResponse
    )

NOTHING = "-"  # where there is no rank or score


def printable(text: str) -> str:
    """A text that can't steer a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def number(score: float) -> str:
    """All digits of a score, and no more."""
    return repr(score).removesuffix(".0")


def line(rank: int, member: str, score: float, *more: int) -> str:
    """A line for scripts: fields with tabs between, which no member contains."""
    shown = number(score) if rank else NOTHING
    return "\t".join([str(rank or NOTHING), member, shown, *(str(one or NOTHING) for one in more)])


def print_page(answer: "Page") -> None:
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(table(answer.entries, caption(answer)))
    else:
        for one in answer.entries:
            print(line(one.rank, one.member, one.score))


def table(
    entries: "Sequence[Entry]", caption: str, title: str = "", first: Sequence[str] = ()
) -> "Group":
    """With a line below. `first` is what stands before the rank of each, under its title."""
    from rich.console import Group
    from rich.table import Column, Table
    from rich.text import Text

    described = any(one.attributes for one in entries)
    shown = Table(
        *(Column(name, justify="right") for name in ([title, "rank"] if first else ["rank"])),
        Column("member", overflow="fold"),  # a long one is still shown as a whole
        Column("score", justify="right"),
        *([Column("attributes", overflow="fold")] if described else []),
        box=None,
    )
    for index, one in enumerate(entries):
        attributes = ", ".join(f"{name}={one.attributes[name]}" for name in sorted(one.attributes))
        shown.add_row(
            *first[index : index + 1],
            str(one.rank or NOTHING),
            Text(printable(one.member)),  # Text: a member is no markup
            number(one.score) if one.rank else NOTHING,
            *([Text(printable(attributes))] if described else []),
        )
    return Group(shown, Text(f" {caption}", "dim"))  # a caption of the table would be as narrow


def caption(answer: "Page | leaderboard_pb2.GetRanksResponse") -> str:
    """How many there are in all, and in which period."""
    from pantler.v1 import leaderboard_pb2

    said = f"members: {answer.count}"
    if isinstance(answer, leaderboard_pb2.ListByScoreResponse):
        said = f"with such scores: {answer.matched}, {said}"
    return f"{said}, {period}" if (period := period_said(answer)) else said


def period_said(answer: "HasPeriod") -> str:
    """Empty if the board has no periods."""
    if not answer.HasField("period"):
        return ""
    period = answer.period
    return f"{period.start_time.ToJsonString()} to {period.end_time.ToJsonString()}"


def page_as_json(answer: "Page") -> dict[str, Any]:
    from pantler.v1 import leaderboard_pb2

    entries = [entry_as_json(one) for one in answer.entries]
    page = {"entries": entries, "count": answer.count, "period": period_as_json(answer)}
    if isinstance(answer, leaderboard_pb2.ListByScoreResponse):
        page["matched"] = answer.matched
    return page


def entry_as_json(entry: "Entry") -> dict[str, Any]:
    return {
        "rank": entry.rank,
        "member": entry.member,
        "score": entry.score,
        "attributes": dict(entry.attributes),
    }


def period_as_json(answer: "HasPeriod") -> dict[str, str] | None:
    """None if the board has no periods."""
    if not answer.HasField("period"):
        return None
    period = answer.period
    return {
        "start_time": period.start_time.ToJsonString(),
        "end_time": period.end_time.ToJsonString(),
    }


def nobody(said: str, json: bool) -> NoReturn:
    """Ends a command that found nobody."""
    if not json:
        print(f"pantler: {said}", file=sys.stderr)
    raise typer.Exit(ExitCode.MISS)
