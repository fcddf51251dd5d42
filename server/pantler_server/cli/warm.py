"""`pantler warm`: loads records ahead of their use."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli import resumed
from pantler_server.cli.cache import Namespace
from pantler_server.cli.call import DEFAULT_ADDRESS, Address, channel, print_line
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    import grpc
    from pantler.v1 import admin_pb2

_GIVEN_UP = "ERROR_REASON_ORIGIN_UNAVAILABLE"


Keys = Annotated[str, typer.Option(help="These keys, with commas between them.")]
KeysFrom = Annotated[
    str,
    typer.Option(metavar="FILE", help="The keys in a file, one a line; - is standard input."),
]
Hot = Annotated[bool, typer.Option("--hot", help="What was read most today and yesterday (UTC).")]
Rate = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1_000_000,
        help="How many keys are looked at in a second at most, cached or not. Without it: as the "
        "namespace's `warm` says, or 1000.",
    ),
]
Resume = Annotated[
    str,
    typer.Option(
        metavar="TOKEN",
        help="Go on where another one over the same keys was: what it printed as it ended.",
    ),
]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print a line of JSON twice a second, for scripts.")
]


def warm(
    namespace: Namespace,
    keys: Keys = "",
    keys_from: KeysFrom = "",
    hot: Hot = False,
    rate: Rate = None,
    resume: Resume = "",
    address: Address = DEFAULT_ADDRESS,
    json: JsonLines = False,
) -> None:
    """Load records of a namespace with a system of record ahead of their use.

    Without an option for keys: what the namespace's `warm` names, or else all rows of its table.
    What is cached stays as it is. When the server goes away it is waited for. Ctrl-C stops it, and
    says how to go on.
    """
    from pantler.v1 import admin_pb2

    if sum(map(bool, (keys, keys_from, hot))) > 1:
        raise typer.BadParameter("give one of --keys, --keys-from and --hot", param_hint="--keys")
    some = _keys(keys, keys_from)
    request = admin_pb2.WarmRequest(
        namespace=namespace,
        keys=some,
        all=not some and not hot,
        hot=hot,
        keys_per_second=rate,
        resume_token=resume,
    )
    newest = _run(address, request, json)
    if not json:
        print(_line(newest))


def _run(address: str, request: "admin_pb2.WarmRequest", json: bool) -> "admin_pb2.WarmResponse":
    """Shows how it goes, to its end; the last answer. If it is stopped it says how to go on."""
    from pantler.v1 import admin_pb2

    newest = admin_pb2.WarmResponse(resume_token=request.resume_token)
    try:
        with channel(address) as opened, _shown(json) as show:
            for newest in _answers(opened, request):
                show(newest)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        if newest.seen and not newest.done:
            _say_how_to_go_on(newest)
    return newest


def _keys(named: str, file: str) -> Sequence[str]:
    """What --keys and --keys-from name; a list that names none is wrong usage."""
    if not named and not file:
        return ()
    hint = "--keys" if named else "--keys-from"
    try:
        found = named.split(",") if named else _content(file).splitlines()
    except (OSError, ValueError) as exc:
        raise typer.BadParameter(f"can't read {file}: {exc}", param_hint=hint) from None
    some = [key for key in found if key]
    if not some:
        raise typer.BadParameter("there is no key in it", param_hint=hint)
    return some


def _content(file: str) -> str:
    return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode()


def _answers(
    opened: "grpc.Channel", request: "admin_pb2.WarmRequest"
) -> "Iterator[admin_pb2.WarmResponse]":
    """All answers, over as many calls as it takes. Raises what the first call fails with, and what
    trying again does not help against: also that the server has given up."""
    from pantler.v1 import admin_pb2_grpc

    stub = admin_pb2_grpc.AdminServiceStub(opened)

    def forgets(failed: Any) -> bool:
        if _reason(failed) == _GIVEN_UP:
            raise failed
        return False

    for answer, _ in resumed.answers(lambda: stub.Warm(request), forgets):
        request.resume_token = answer.resume_token
        yield answer
        if answer.done:
            return


def _reason(failed: Any) -> str:
    """What the error of a call names as its reason."""
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    status = rpc_status.from_call(failed)
    info = error_details_pb2.ErrorInfo()
    for detail in () if status is None else status.details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""


@contextmanager
def _shown(json: bool) -> "Iterator[Callable[[admin_pb2.WarmResponse], None]]":
    """What shows an answer: a line of JSON, a bar on a terminal, else a line of text; the last one
    is left to the caller."""
    if json:
        yield lambda answer: print_line(_as_json(answer))
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield lambda answer: None if answer.done else print(_line(answer), flush=True)


@contextmanager
def _bar() -> "Iterator[Callable[[admin_pb2.WarmResponse], None]]":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, said="")

        def show(answer: "admin_pb2.WarmResponse") -> None:
            total = answer.total or None
            bar.update(task, completed=answer.seen, total=total, said=_line(answer))

        yield show


def _line(answer: "admin_pb2.WarmResponse") -> str:
    of = f" of {answer.total}" if answer.total else ""
    cached = answer.seen - answer.loaded - answer.failed
    line = f"{answer.seen}{of} keys: {answer.loaded} loaded, {cached} cached"
    return f"{line}, {answer.failed} failed" if answer.failed else line


def _say_how_to_go_on(newest: "admin_pb2.WarmResponse") -> None:
    print(
        f"pantler: stopped at {_line(newest)}; to go on, run it again with --resume "
        f"{newest.resume_token}",
        file=sys.stderr,
    )


def _as_json(answer: "admin_pb2.WarmResponse") -> dict[str, Any]:
    return {
        "seen": answer.seen,
        "loaded": answer.loaded,
        "failed": answer.failed,
        "total": answer.total or None,
        "resume_token": answer.resume_token,
        "done": answer.done,
    }
