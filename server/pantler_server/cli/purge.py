"""`pantler purge`: has CDNs and proxies forget what they keep."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.board_entry import printable
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
    import grpc
    from pantler.v1 import cdn_pb2

LOOK_EVERY_S = 0.2

Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        help="Forget all pages that were sent with this tag; may be given several times.",
    ),
]
Urls = Annotated[
    list[str] | None,
    typer.Option(
        "--url",
        help="Forget this page, as https://shop.example/prices; may be given several times.",
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="Forget everything.")]
Soft = Annotated[
    bool,
    typer.Option(
        "--soft",
        help="Only make it stale, where the target can do that: visitors may be given it once more "
        "while it is fetched anew.",
    ),
]
TargetName = Annotated[
    str,
    typer.Option(
        help="The name of one target, under `cdn_targets` in the server's configuration. Without "
        "it: all of them."
    ),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait until every target has forgotten or refused, however long that takes. Ctrl-C "
        "ends the wait, not the purge.",
    ),
]

purge_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@purge_app.callback()
def purge(
    context: typer.Context,
    tag: Tags = None,
    url: Urls = None,
    everything: Everything = False,
    soft: Soft = False,
    target: TargetName = "",
    wait: Wait = False,
    yes: Yes = False,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Have CDNs and proxies forget pages that they keep, so that the next visitor gets a new one.

    For example, `pantler purge --tag prices --wait`.

    They are the targets of the server's configuration (`cdn_targets`): Cloudflare, Fastly, Varnish
    and the like. What `pantler invalidate` invalidates is purged by itself where its namespace says
    so (`cdn`).

    It prints the id of the purge, which is on its way then and is not lost, also if the server or a
    target goes away; `pantler purge status ID` tells what became of it. With --wait that is printed
    at the end, and the exit code is 4 if a target failed.
    """
    if context.invoked_subcommand is not None:
        if tag or url or everything:
            raise typer.BadParameter("a purge has no command: leave out the options or the command")
        return
    if sum(map(bool, (tag, url, everything))) != 1:
        if not (tag or url or everything):
            print(context.get_help())
            raise typer.Exit(ExitCode.USAGE)
        raise typer.BadParameter("give one of --tag, --url and --all")
    if everything:
        confirm(f"has {f'target {target!r}' if target else 'every target'} forget everything", yes)
    from pantler.v1 import cdn_pb2, cdn_pb2_grpc

    timeout_s = seconds(timeout, "--timeout")
    with channel(address) as opened:
        request = cdn_pb2.PurgeRequest(target=target, soft=soft, request_id=request_id)
        if tag:
            request.tags.tags.extend(tag)
        elif url:
            request.urls.urls.extend(url)
        else:
            request.all = True
        answer = cdn_pb2_grpc.CdnServiceStub(opened).Purge(request, timeout=timeout_s)
        if not wait:
            _print_begun(answer, json)
            return
        status = _over(opened, answer.purge_id, timeout_s)
    _print_status(answer.purge_id, status, json)


@purge_app.command("status")
def purge_status(
    purge_id: Annotated[
        str, typer.Argument(metavar="ID", help="What the purge, or the invalidation, printed.")
    ],
    wait: Wait = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Tell what became of a purge at each target, for a day.

    If a target failed, the exit code is 4: it refused, and what it said stands beside it, or it did
    not take it for a day.
    """
    from pantler.v1 import cdn_pb2

    timeout_s = seconds(timeout, "--timeout")
    with channel(address) as opened:
        if wait:
            status = _over(opened, purge_id, timeout_s)
        else:
            status = _look(opened, cdn_pb2.GetPurgeRequest(purge_id=purge_id), timeout_s)
    _print_status(purge_id, status, json)


def _look(
    opened: "grpc.Channel", request: "cdn_pb2.GetPurgeRequest", timeout_s: float
) -> "cdn_pb2.GetPurgeResponse":
    from pantler.v1 import cdn_pb2_grpc

    answer: cdn_pb2.GetPurgeResponse = cdn_pb2_grpc.CdnServiceStub(opened).GetPurge(
        request, timeout=timeout_s
    )
    return answer


def _over(opened: "grpc.Channel", purge_id: str, timeout_s: float) -> "cdn_pb2.GetPurgeResponse":
    """Once no target has it still to do. A server that is away is asked until it is back."""
    import grpc
    from pantler.v1 import cdn_pb2

    request = cdn_pb2.GetPurgeRequest(purge_id=purge_id)
    away = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    is_told = False
    try:
        while True:
            try:
                status = _look(opened, request, timeout_s)
            except grpc.RpcError as exc:
                if exc.code() not in away:
                    print(f"pantler: purge {purge_id}:", file=sys.stderr)
                    raise
                if not is_told:
                    is_told = True
                    print(
                        "pantler: the server does not answer, and is asked again", file=sys.stderr
                    )
            else:
                if all(one.state != cdn_pb2.PURGE_STATE_PENDING for one in status.receipts):
                    return status
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        print(f"pantler: it goes on: `pantler purge status {purge_id}`", file=sys.stderr)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _print_begun(answer: "cdn_pb2.PurgeResponse", json: bool) -> None:
    if json:
        print_json({"purge_id": answer.purge_id, "duplicate": answer.duplicate})
        return
    print(answer.purge_id)
    if sys.stdout.isatty():
        print(f"on its way: `pantler purge status {answer.purge_id}`", file=sys.stderr)


def _print_status(purge_id: str, status: "cdn_pb2.GetPurgeResponse", json: bool) -> None:
    from pantler.v1 import cdn_pb2

    if json:
        document = {
            "purge_id": purge_id,
            "create_time": status.create_time.ToJsonString(),
            "receipts": list(map(_as_json, status.receipts)),
        }
        print_json(document)
    elif sys.stdout.isatty():
        _print_table(status)
    else:
        for one in status.receipts:
            print("\t".join(_row(one)))
    if any(one.state == cdn_pb2.PURGE_STATE_FAILED for one in status.receipts):
        raise typer.Exit(ExitCode.FAILED)


def _row(receipt: "cdn_pb2.PurgeReceipt") -> tuple[str, str, str, str]:
    """Target, state, how often it was tried, and what it said."""
    said = printable(receipt.last_error)
    return receipt.target, _state(receipt).lower(), str(receipt.attempts), said


def _print_table(status: "cdn_pb2.GetPurgeResponse") -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    colours = {"done": "green", "failed": "red", "pending": "yellow"}
    names = ("target", "state", "tried", "last error")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None)
    for one in status.receipts:
        target, state, attempts, said = _row(one)
        shown = (Text(target), Text(state, colours.get(state, "")), Text(attempts), Text(said))
        table.add_row(*shown)  # Text: they are no markup
    asked = Text(f" asked for at {status.create_time.ToJsonString()}", "dim")
    Console().print(table, asked)


def _as_json(receipt: "cdn_pb2.PurgeReceipt") -> dict[str, Any]:
    finished = receipt.HasField("finish_time")
    return {
        "target": receipt.target,
        "state": _state(receipt),
        "attempts": receipt.attempts,
        "last_error": receipt.last_error or None,
        "finish_time": receipt.finish_time.ToJsonString() if finished else None,
    }


def _state(receipt: "cdn_pb2.PurgeReceipt") -> str:
    from pantler.v1 import cdn_pb2

    return cdn_pb2.PurgeState.Name(receipt.state).removeprefix("PURGE_STATE_")
