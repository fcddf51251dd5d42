"""`pantler record`: the records of a namespace's system of record."""

import sys
from enum import StrEnum
from json import dumps, loads
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.board_entry import printable
from pantler_server.cli.cache import Key, Namespace
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
from pantler_server.cli.exit_code import ExitCode
from pantler_server.core.canonical_json import MAX_EXACT, normal

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct
    from pantler.v1 import record_pb2

record_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Read and write the records of a namespace's system of record.\n\n"
    "`pantler backlog` says what waits to be written, `pantler dead` what could not be.",
)


class Operation(StrEnum):
    """What a put does."""

    UPSERT = "upsert"
    INSERT = "insert"
    UPDATE = "update"


Items = Annotated[
    list[str] | None,
    typer.Argument(
        help="A field: NAME=TEXT, or NAME:=JSON for numbers, true, false, null, lists and objects.",
        metavar="FIELD...",
    ),
]
Fields = Annotated[
    str | None, typer.Option(help="The fields as a JSON object; - reads it from standard input.")
]
Which = Annotated[
    Operation,
    typer.Option(
        help="upsert: the record is what is given, there or not, and fields that are not given "
        "take the origin's default; insert: it must not be there; update: it must, and only what "
        "is given changes."
    ),
]


@record_app.command("get")
def get_record(
    namespace: Namespace,
    key: Key,
    force_refresh: Annotated[
        bool, typer.Option("--force-refresh", help="Load it from the origin, cached or not.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Print a record. If there is none, the exit code is 1.

    On a terminal it is a table; to a pipe or a file goes the record as JSON, on one line. With
    --json it stands beside where it comes from.
    """
    from pantler.v1 import record_pb2, record_pb2_grpc

    with channel(address) as opened:
        request = record_pb2.GetRecordRequest(
            namespace=namespace, key=key, force_refresh=force_refresh
        )
        answer = record_pb2_grpc.RecordServiceStub(opened).GetRecord(
            request, timeout=seconds(timeout, "--timeout")
        )
    found = answer.HasField("record")
    record = fields_as_json(answer.record) if found else None
    source = record_pb2.Source.Name(answer.source).removeprefix("SOURCE_")
    if json:
        print_json({"found": found, "record": record, "source": source, "stale": answer.stale})
    elif record is not None:
        _print_record(record, f"from the {source.lower()}{', stale' if answer.stale else ''}")
    else:
        print(f"pantler: no record {key!r} in {namespace!r}", file=sys.stderr)
    if not found:
        raise typer.Exit(ExitCode.MISS)


@record_app.command("put")
def put_record(
    namespace: Namespace,
    key: Key,
    items: Items = None,
    fields: Fields = None,
    operation: Which = Operation.UPSERT,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Write a record. It replaces one that is there.

    For example, `pantler record put users 42 name=Ada age:=36`.

    To change a field and keep the others, `pantler record put users 42 age:=37 --operation update`.
    """
    from google.protobuf.struct_pb2 import Struct
    from pantler.v1 import record_pb2, record_pb2_grpc

    with channel(address) as opened:
        struct = Struct()
        struct.update(_fields(items or [], fields))
        request = record_pb2.PutRecordRequest(
            namespace=namespace,
            key=key,
            fields=struct,
            operation=f"WRITE_OPERATION_{operation.name}",
            request_id=request_id,
        )
        answer = record_pb2_grpc.RecordServiceStub(opened).PutRecord(
            request, timeout=seconds(timeout, "--timeout")
        )
    durability = _durability(answer)
    if json:
        print_json({"durability": durability, "version": str(answer.version)})
    else:
        print(f"{durability.lower()}, version {answer.version}")


@record_app.command("delete")
def delete_record(
    namespace: Namespace,
    key: Key,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Remove a record, from the system of record too. If there was none, the exit code is 1.

    Where writes go behind, only the origin knows that, later.
    """
    from pantler.v1 import record_pb2, record_pb2_grpc

    with channel(address) as opened:
        request = record_pb2.DeleteRecordRequest(
            namespace=namespace, key=key, request_id=request_id
        )
        answer = record_pb2_grpc.RecordServiceStub(opened).DeleteRecord(
            request, timeout=seconds(timeout, "--timeout")
        )
    durability = _durability(answer)
    deleted = answer.deleted if answer.HasField("deleted") else None
    if json:
        print_json({"durability": durability, "version": str(answer.version), "deleted": deleted})
    elif deleted is not False:
        said = "deleted" if durability == "WRITTEN" else "delete queued"
        print(f"{said}, version {answer.version}")
    else:
        print(f"pantler: no record {key!r} in {namespace!r}", file=sys.stderr)
    if deleted is False:
        raise typer.Exit(ExitCode.MISS)


def fields_as_json(struct: "Struct") -> dict[str, Any]:
    """A record by its fields' names, with whole numbers as such."""
    from google.protobuf.json_format import MessageToDict

    fields: dict[str, Any] = normal(MessageToDict(struct))
    return dict(sorted(fields.items()))


def compact(value: Any) -> str:
    """A value as JSON on one line."""
    return dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _durability(
    answer: "record_pb2.PutRecordResponse | record_pb2.DeleteRecordResponse",
) -> str:
    from pantler.v1 import record_pb2

    return record_pb2.Durability.Name(answer.durability).removeprefix("DURABILITY_")


def _fields(items: list[str], document: str | None) -> dict[str, Any]:
    """The fields that a put was given, as items or as one document."""
    if bool(items) == (document is not None):
        raise typer.BadParameter("give either fields, as name=Ada, or --fields")
    if document is None:
        return dict(map(_field, items))
    try:
        fields = exact_json(sys.stdin.buffer.read() if document == "-" else document)
    except ValueError as exc:
        raise typer.BadParameter(f"is no JSON: {exc}", param_hint="--fields") from None
    if not isinstance(fields, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="--fields")
    return fields


def _field(item: str) -> tuple[str, Any]:
    """`name=text` or `name:=json`, whichever comes first."""
    name, equals, text = item.partition("=")
    if not equals or not name.rstrip(":"):
        raise typer.BadParameter(f"{item!r} is neither NAME=TEXT nor NAME:=JSON")
    if not name.endswith(":"):
        return name, text
    try:
        return name[:-1], exact_json(text)
    except ValueError as exc:
        raise typer.BadParameter(f"{text!r} of {item!r} is no JSON: {exc}") from None


def exact_json(document: str | bytes) -> Any:
    """JSON whose whole numbers beyond 2**53 are text, as in records. Raises ValueError."""
    return loads(
        document, parse_int=lambda digits: digits if abs(int(digits)) >= MAX_EXACT else int(digits)
    )


def _print_record(record: dict[str, Any], caption: str) -> None:
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(f"{compact(record)}\n".encode())
        sys.stdout.buffer.flush()
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table("field", Column("value", overflow="fold"), box=None)
    for name, value in record.items():
        shown = value if isinstance(value, str) else compact(value)
        table.add_row(Text(printable(name)), Text(printable(shown)))  # Text: it is no markup
    Console().print(table, Text(f" {caption}", "dim"))
