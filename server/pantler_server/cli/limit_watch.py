"""`pantler limit watch`."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    import grpc
    from pantler.v1 import rate_limit_pb2
    from rich.table import Table

    Round = Sequence[rate_limit_pb2.PeekResponse]

MIN_INTERVAL_S = 0.05  # more often than a person can see
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
    interval_s = seconds(interval, "--interval")
    if interval_s < MIN_INTERVAL_S:
        raise typer.BadParameter("must be at least 50ms", param_hint="--interval")
    try:
        with channel(address) as opened:
            rounds = _rounds(opened, rule, subjects, interval_s, seconds(timeout, "--timeout"))
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


def _rounds(
    opened: "grpc.Channel",
    rule: str,
    subjects: Sequence[str],
    interval_s: float,
    timeout_s: float,
) -> "Iterator[Round]":
    """What holds for the subjects, again and again. Raises what the first round fails with, and
    what trying again does not help against."""
    import grpc
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    stub = rate_limit_pb2_grpc.RateLimitServiceStub(opened)
    requests = [rate_limit_pb2.PeekRequest(subject=one, rule_name=rule) for one in subjects]
    passing = (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
    begun = away = False
    while True:
        calls = [stub.Peek.future(request, timeout=timeout_s) for request in requests]
        try:
            answers = [call.result() for call in calls]
        except grpc.RpcError as exc:
            failed: Any = exc
            if not begun or failed.code() not in passing:
                raise
            if not away:
                print("pantler: the server went away; waiting for it", file=sys.stderr)
            away = True
        else:
            begun, away = True, False
            yield answers
        time.sleep(interval_s)


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
