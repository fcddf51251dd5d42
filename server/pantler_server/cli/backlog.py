"""`pantler backlog` and `pantler dead`: writes on their way to an origin, and those it refused."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.board_entry import printable
from pantler_server.cli.cache import Namespace
from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    PAGE_SIZE,
    Address,
    Json,
    Timeout,
    channel,
    pages,
    print_json,
    seconds,
)
from pantler_server.cli.confirm import Yes, confirm
from pantler_server.cli.exit_code import ExitCode
from pantler_server.cli.record import compact, fields_as_json

if TYPE_CHECKING:
    from pantler.v1 import record_pb2

ANSWER_S = 5.0  # after a wait for writes: the answer says how many still wait

Ids = Annotated[
    list[str] | None,
    typer.Argument(help="Their ids, as `list` shows them.", metavar="ID..."),
]
All = Annotated[bool, typer.Option("--all", help="All of the namespace.")]

dead_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See to writes that the system of record refused for good.\n\n"
    "They count towards the bound of what may wait; the others of their batch were written.",
)


def backlog(
    namespace: Namespace,
    flush: Annotated[
        bool, typer.Option("--flush", help="First wait until all that waits now is written.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Say how many writes wait for a namespace's system of record, and why.

    With --flush it waits for them first, as long as --timeout says; if some still wait then, the
    exit code is 3.
    """
    from pantler.v1 import record_pb2, record_pb2_grpc

    timeout_s = seconds(timeout, "--timeout")
    with channel(address) as opened:
        stub = record_pb2_grpc.RecordServiceStub(opened)
        flushed = None
        if flush:
            wait = record_pb2.FlushWritesRequest(namespace=namespace)
            wait.timeout.FromMilliseconds(round(timeout_s * 1000))
            flushed = stub.FlushWrites(wait, timeout=timeout_s + ANSWER_S)
        asked = record_pb2.GetWriteBacklogRequest(namespace=namespace)
        answer = stub.GetWriteBacklog(asked, timeout=timeout_s)
    if json:
        print_json(_backlog_as_json(answer, flushed))
    else:
        _print_backlog(answer, flushed)
    if flushed is not None and flushed.remaining:
        raise typer.Exit(ExitCode.UNAVAILABLE)


@dead_app.command("list")
def list_dead(
    namespace: Namespace,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List the writes that were refused, oldest first, and why."""
    from pantler.v1 import record_pb2, record_pb2_grpc

    timeout_s = seconds(timeout, "--timeout")
    with channel(address) as opened:
        stub = record_pb2_grpc.RecordServiceStub(opened)

        def ask(token: str) -> "record_pb2.ListDeadWritesResponse":
            request = record_pb2.ListDeadWritesRequest(
                namespace=namespace, page_size=PAGE_SIZE, page_token=token
            )
            answer: record_pb2.ListDeadWritesResponse = stub.ListDeadWrites(
                request, timeout=timeout_s
            )
            return answer

        writes = [one for page in pages(ask) for one in page.writes]
    if json:
        print_json(list(map(_dead_as_json, writes)))
    elif sys.stdout.isatty():
        _print_table(writes)
    else:
        for one in writes:
            said = (one.id, one.key, _operation(one), compact(fields_as_json(one.fields)))
            print("\t".join((*said, one.reason)))


@dead_app.command("retry")
def retry_dead(
    namespace: Namespace,
    ids: Ids = None,
    all_of_them: All = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Queue writes again, as the newest of their keys.

    They overwrite what was written to these keys since. If there is none of the ids, the exit code
    is 1.
    """
    from pantler.v1 import record_pb2, record_pb2_grpc

    _check(ids, all_of_them)
    with channel(address) as opened:
        request = record_pb2.RetryDeadWritesRequest(namespace=namespace, ids=ids, all=all_of_them)
        answer = record_pb2_grpc.RecordServiceStub(opened).RetryDeadWrites(
            request, timeout=seconds(timeout, "--timeout")
        )
    _end("retried", "queued again", answer.retried, json, nothing_is_fine=all_of_them)


@dead_app.command("discard")
def discard_dead(
    namespace: Namespace,
    ids: Ids = None,
    all_of_them: All = False,
    yes: Yes = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Forget writes: they are lost then. If there is none of the ids, the exit code is 1."""
    from pantler.v1 import record_pb2, record_pb2_grpc

    _check(ids, all_of_them)
    which = f"{len(ids)}" if ids else "all"
    confirm(f"loses {which} of the dead writes of {namespace!r} for good", yes)
    with channel(address) as opened:
        request = record_pb2.DiscardDeadWritesRequest(namespace=namespace, ids=ids, all=all_of_them)
        answer = record_pb2_grpc.RecordServiceStub(opened).DiscardDeadWrites(
            request, timeout=seconds(timeout, "--timeout")
        )
    _end("discarded", "discarded", answer.discarded, json, nothing_is_fine=all_of_them)


def _check(ids: list[str] | None, all_of_them: bool) -> None:
    if bool(ids) == all_of_them:
        raise typer.BadParameter("give either ids or --all")


def _end(name: str, said: str, count: int, json: bool, *, nothing_is_fine: bool) -> None:
    if json:
        print_json({name: count})
    else:
        print(f"{said}: {count}")
    if not count and not nothing_is_fine:
        raise typer.Exit(ExitCode.MISS)


def _age_s(answer: "record_pb2.GetWriteBacklogResponse") -> float | None:
    """How long the oldest has waited; None if nothing waits."""
    if not answer.HasField("oldest_age"):
        return None
    age: timedelta = answer.oldest_age.ToTimedelta()
    return age.total_seconds()


def _backlog_as_json(
    answer: "record_pb2.GetWriteBacklogResponse",
    flushed: "record_pb2.FlushWritesResponse | None",
) -> dict[str, Any]:
    document = {
        "pending": answer.pending,
        "oldest_age_s": _age_s(answer),
        "dead": answer.dead,
        "last_error": answer.last_error or None,
    }
    if flushed is None:
        return document
    return {"flushed": flushed.flushed, "remaining": flushed.remaining, **document}


def _print_backlog(
    answer: "record_pb2.GetWriteBacklogResponse",
    flushed: "record_pb2.FlushWritesResponse | None",
) -> None:
    if flushed is not None:
        print(f"flushed: {flushed.flushed}, of these still waiting: {flushed.remaining}")
    age_s = _age_s(answer)
    waited = "" if age_s is None else f", the oldest for {age_s:.1f} s"
    print(f"waiting: {answer.pending}{waited}; dead: {answer.dead}")
    if answer.last_error:
        print(f"last error: {printable(answer.last_error)}")


def _operation(write: "record_pb2.DeadWrite") -> str:
    from pantler.v1 import record_pb2

    return record_pb2.WriteOperation.Name(write.operation).removeprefix("WRITE_OPERATION_")


def _dead_as_json(write: "record_pb2.DeadWrite") -> dict[str, Any]:
    return {
        "id": write.id,
        "key": write.key,
        "operation": _operation(write),
        "fields": fields_as_json(write.fields),
        "version": str(write.version),
        "refuse_time": write.refuse_time.ToJsonString(),
        "reason": write.reason,
    }


def _print_table(writes: "list[record_pb2.DeadWrite]") -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    folded = [Column(name, overflow="fold") for name in ("id", "key", "operation", "fields", "why")]
    table = Table(*folded, box=None)
    for one in writes:
        shown = (one.id, one.key, _operation(one), compact(fields_as_json(one.fields)), one.reason)
        table.add_row(*(Text(printable(text)) for text in shown))  # Text: they are no markup
    Console().print(table, Text(f" dead writes: {len(writes)}", "dim"))
