"""`pantler limit watch`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Timeout,
    channel,
    print_line,
    seconds,
)
from pantler_server.cli.exit_code import ExitCode
from pantler_server.cli.limit_decision import decision_as_json, said, short
from pantler_server.cli.looks import interval_seconds, looks

if TYPE_CHECKING:
    import grpc
    from pantler.v1 import rate_limit_pb2
    from rich.table import Table

    Round = Sequence[rate_limit_pb2.PeekResponse]

BAR_CHARACTERS = 20


def watch(
    subjects: Annotated[
        list[str], typer.Argument(metavar="SUBJECT...", help="Whose permits: user:42.")
    ],
    rule: Annotated[
        str,
        typer.Argument(
            metavar="RULE", help="The name of a rule; `pantler limit rules` lists them."
        ),
    ],
    interval: Annotated[str, typer.Option(help="How often to look: 200ms, 2s.")] = "500ms",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each subject, each time.")
    ] = False,
) -> None:
    """Show how many permits some subjects have left, as that changes, until Ctrl-C.

    Looking takes none. To a pipe or a file goes a line for each change. When the server or its
    Redis goes away it is waited for.
    """
    interval_s = interval_seconds(interval)
    try:
        with channel(address) as opened:
            look = _look(opened, rule, subjects, seconds(timeout, "--timeout"))
            rounds = looks(look, interval_s)
            if json:
                for answers in rounds:
                    for subject, answer in zip(subjects, answers, strict=True):
                        print_line({"subject": subject, **decision_as_json(answer)})
            elif sys.stdout.isatty():
                _show_table(subjects, rounds, _capacity(opened, rule))
            else:
                _print_changes(subjects, rounds)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _look(
    opened: "grpc.Channel", rule: str, subjects: Sequence[str], timeout_s: float
) -> "Callable[[], Round]":
    """What asks how it stands with the subjects now."""
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    stub = rate_limit_pb2_grpc.RateLimitServiceStub(opened)
    requests = [rate_limit_pb2.PeekRequest(subject=one, rule_name=rule) for one in subjects]

    def look() -> "Round":
        calls = [stub.Peek.future(request, timeout=timeout_s) for request in requests]
        return [call.result() for call in calls]

    return look


def _capacity(opened: "grpc.Channel", rule: str) -> int:
    """The permits of a subject that has taken none; 0 if there is no such rule."""
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    stub = rate_limit_pb2_grpc.RateLimitServiceStub(opened)
    answer = stub.ListRules(rate_limit_pb2.ListRulesRequest())
    return next((one.rule.burst or one.rule.limit for one in answer.rules if one.name == rule), 0)


def _print_changes(subjects: Sequence[str], rounds: "Iterator[Round]") -> None:
    """A line where something was taken or came back. Subjects are given by `repr`, so that they
    can't steer a terminal."""
    before: dict[str, tuple[bool, int]] = {}
    for answers in rounds:
        for subject, answer in zip(subjects, answers, strict=True):
            now = answer.allowed, answer.remaining
            if before.get(subject) != now:
                before[subject] = now
                print(f"{subject!r}: {said(answer)}", flush=True)


def _show_table(subjects: Sequence[str], rounds: "Iterator[Round]", capacity: int) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False) as live:
        for answers in rounds:
            live.update(_table(subjects, answers, capacity), refresh=True)


def _table(subjects: Sequence[str], answers: "Round", capacity: int) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Column, Table
    from rich.text import Text

    subject_column = Column("subject", overflow="fold")
    table = Table(subject_column, "", "left", "", "try again in", "all back in", box=None)
    for subject, answer in zip(subjects, answers, strict=True):
        waits = answer.retry_after, answer.reset_after
        full = max(capacity, answer.remaining)  # it may have been configured anew
        table.add_row(
            Text(repr(subject)),
            Text("allowed", "green") if answer.allowed else Text("denied", "red"),
            ProgressBar(full, answer.remaining, BAR_CHARACTERS, complete_style="green"),
            f"{answer.remaining} of {full}",
            *(short(one) if one.ToMicroseconds() else "" for one in waits),
        )
    return table
