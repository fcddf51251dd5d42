"""How commands call a server: the common options, the channel, and errors as one line each."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.exit_code import ExitCode
from pantler_server.core.duration import parse_duration

if TYPE_CHECKING:
    import grpc

Address = Annotated[
    str, typer.Option("--address", "-a", envvar="PANTLER_ADDRESS", help="The server, host:port.")
]
Timeout = Annotated[
    str,
    typer.Option("--timeout", envvar="PANTLER_TIMEOUT", help="How long to wait: 500ms, 5s, 1m."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_TIMEOUT = "5s"


@contextmanager
def channel(address: str) -> "Iterator[grpc.Channel]":
    """A channel for one command; a call that fails ends the program with its exit code."""
    import grpc

    with grpc.insecure_channel(address) as opened:
        try:
            yield opened
        except grpc.RpcError as exc:
            _fail(exc, address)


def seconds(duration: str, option: str) -> float:
    """A duration option in seconds; a wrong one is wrong usage."""
    try:
        return parse_duration(duration).total_seconds()
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint=option) from None


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _fail(exc: Any, address: str) -> None:
    import grpc

    code, details = exc.code(), exc.details() or ""
    exit_code = {
        grpc.StatusCode.INVALID_ARGUMENT: ExitCode.USAGE,
        grpc.StatusCode.UNAVAILABLE: ExitCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED: ExitCode.UNAVAILABLE,
    }.get(code, ExitCode.FAILED)
    said_by_pantler = any(
        key == "grpc-status-details-bin" for key, _ in exc.trailing_metadata() or ()
    )
    if code is grpc.StatusCode.UNAVAILABLE and not said_by_pantler:
        details = f"can't reach {address}: is `pantler serve` running there?"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"no answer from {address} in time; --timeout allows more"
    print(f"pantler: {details}", file=sys.stderr)
    raise typer.Exit(exit_code)
