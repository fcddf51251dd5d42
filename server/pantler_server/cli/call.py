"""How commands call a server: the common options, the channel, and errors as one line each."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

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
RequestId = Annotated[
    str,
    typer.Option(
        help="A name for this one call: given again within 10 minutes, nothing more is done, and "
        "the first answer is printed again."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_TIMEOUT = "5s"
PAGE_SIZE = 1000  # of lists: the most that a server gives at once


_CHANNEL_OPTIONS = (
    # gRPC's own bound, 4 MiB, is below what a server may be configured to hold and to answer.
    ("grpc.max_receive_message_length", -1),
    # Of a server that went without a word, commands that wait long hear within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Those that wait for a server to come back see it soon; gRPC's own bound is 2 min.
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


@contextmanager
def channel(address: str) -> "Iterator[grpc.Channel]":
    """A channel for one command, which makes its request and its call under it: an argument that
    can't stand in a request and a call that fails end the program with their exit codes."""
    import grpc

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:  # without a port, gRPC would take 443
        raise typer.BadParameter(f"{address!r} is not host:port", param_hint="--address")
    with grpc.insecure_channel(address, options=_CHANNEL_OPTIONS) as opened:
        try:
            yield opened
        except UnicodeEncodeError as exc:  # bytes of an argument that are not UTF-8
            raise typer.BadParameter(f"{exc.object!r} is not UTF-8") from None
        except grpc.RpcError as exc:
            _fail(exc, address)


def seconds(duration: str, option: str) -> float:
    """A duration option in seconds; a wrong one is wrong usage."""
    try:
        return parse_duration(duration).total_seconds()
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint=option) from None


class _Page(Protocol):
    next_page_token: str


P = TypeVar("P", bound=_Page)


def pages(ask: Callable[[str], P]) -> Iterator[P]:
    """All pages of a list. `ask` makes one call, with the token of the page."""
    token = ""
    while True:
        page = ask(token)
        yield page
        token = page.next_page_token
        if not token:
            return


def print_json(document: Any) -> None:
    """Prints in UTF-8, as JSON is defined, whatever the terminal's encoding."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    sys.stdout.buffer.write(f"{text}\n".encode())
    sys.stdout.buffer.flush()


def print_line(document: Any) -> None:
    """As `print_json`, on one line."""
    sys.stdout.buffer.write(f"{json.dumps(document, ensure_ascii=False)}\n".encode())
    sys.stdout.buffer.flush()


def exit_code(status_code: int) -> ExitCode:
    """What a failure with this code of google.rpc.Code, of a call or of an item, ends with."""
    from google.rpc import code_pb2

    return {
        code_pb2.INVALID_ARGUMENT: ExitCode.USAGE,
        code_pb2.ABORTED: ExitCode.MISS,  # what was held is held no more
        code_pb2.UNAVAILABLE: ExitCode.UNAVAILABLE,
        code_pb2.DEADLINE_EXCEEDED: ExitCode.UNAVAILABLE,
    }.get(status_code, ExitCode.FAILED)


def _fail(exc: Any, address: str) -> None:
    import grpc

    code, details = exc.code(), exc.details() or ""
    said_by_pantler = any(
        key == "grpc-status-details-bin" for key, _ in exc.trailing_metadata() or ()
    )
    if code is grpc.StatusCode.UNAVAILABLE and not said_by_pantler:
        details = f"can't reach {address}: is `pantler serve` running there?"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"no answer from {address} in time; --timeout allows more"
    print(f"pantler: {details}", file=sys.stderr)
    raise typer.Exit(exit_code(code.value[0]))
