"""`pantler board top --watch`."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from pantler_server.cli.board_entry import caption, line, page_as_json, table
from pantler_server.cli.call import print_line
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from pantler.v1 import leaderboard_pb2

    Pages = Iterator[leaderboard_pb2.ListByRankResponse]


def watch_page(pages: "Pages", json: bool) -> None:
    """Shows how a page changes, until Ctrl-C."""
    try:
        if json:
            for page in pages:
                print_line(page_as_json(page))
        elif sys.stdout.isatty():
            _show_table(pages)
        else:
            _print_changes(pages)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _print_changes(pages: "Pages") -> None:
    """A line for each member whose rank or score is another than at the last look, with the rank
    that it had then; one without rank and score for who is not listed any more."""
    before: dict[str, tuple[int, float]] = {}
    for page in pages:
        now = {one.member: (one.rank, one.score) for one in page.entries}
        for member, (rank, score) in now.items():
            if before.get(member) != (rank, score):
                print(line(rank, member, score, before[member][0] if member in before else 0))
        for member, (rank, _) in before.items():
            if member not in now:
                print(line(0, member, 0, rank))
        sys.stdout.flush()
        before = now


def _show_table(pages: "Pages") -> None:
    from rich.console import Console
    from rich.live import Live

    before: dict[str, int] | None = None
    with Live(console=Console(), auto_refresh=False) as live:
        for page in pages:
            known = {one.member: one.rank for one in page.entries} if before is None else before
            moves = [_moved(known.get(one.member, 0), one.rank) for one in page.entries]
            live.update(table(page.entries, caption(page), "", moves), refresh=True)
            before = {one.member: one.rank for one in page.entries}


def _moved(before: int, now: int) -> str:
    """As markup."""
    if not before:
        return "[cyan]new[/]"
    if now < before:
        return f"[green]▲ {before - now}[/]"
    return f"[red]▼ {now - before}[/]" if now > before else ""
