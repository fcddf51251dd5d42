"""`pantler edge`: values in the store at the edge of a CDN."""

import base64
import sys
from contextlib import suppress
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.cache import Key, given_value, visible
from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Json,
    Timeout,
    channel,
    print_json,
    seconds,
)
from pantler_server.cli.exit_code import ExitCode
from pantler_server.cli.record import exact_json, fields_as_json

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct
    from pantler.v1 import cdn_pb2

Target = Annotated[
    str,
    typer.Argument(
        help="The name of a target with an edge store, under `cdn_targets` in the server's "
        "configuration."
    ),
]

edge_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Keep values at the edge of a CDN, where its own programs read them.\n\n"
    "The store is Cloudflare Workers KV. All places of Cloudflare have a new value after about a "
    "minute.",
)


@edge_app.command("put")
def put_edge_value(
    target: Target,
    key: Key,
    value: Annotated[str | None, typer.Argument(help="The value, as text.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Read the value from a file; - is standard input.")
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(help="How long it stays: 60s or more, 5m, 1h30m (default: for good)."),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option(help="What is kept beside it: a JSON object of up to 1,024 bytes."),
    ] = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Store a value at the edge. It replaces one that is there, with its metadata and its ttl.

    For example, `pantler edge put cloudflare banner "Sale until Sunday" --ttl 2d`.
    """
    from pantler.v1 import cdn_pb2, cdn_pb2_grpc

    data = given_value(value, file)
    with channel(address) as opened:
        request = cdn_pb2.PutEdgeValueRequest(target=target, key=key, value=data)
        if ttl is not None:
            request.ttl.FromMilliseconds(round(seconds(ttl, "--ttl") * 1000))
        if metadata is not None:
            _fill(request.metadata, metadata)
        cdn_pb2_grpc.CdnServiceStub(opened).PutEdgeValue(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"stored": True})
    else:
        print("stored")


@edge_app.command("get")
def get_edge_value(
    target: Target,
    key: Key,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Print a value from the edge. If there is none, the exit code is 1.

    To a pipe or a file go its exact bytes. On a terminal its expiry and its metadata stand below,
    and what would steer the terminal is escaped.
    """
    from pantler.v1 import cdn_pb2, cdn_pb2_grpc

    with channel(address) as opened:
        request = cdn_pb2.GetEdgeValueRequest(target=target, key=key)
        answer = cdn_pb2_grpc.CdnServiceStub(opened).GetEdgeValue(
            request, timeout=seconds(timeout, "--timeout")
        )
    if not answer.HasField("value"):
        if json:
            print_json({"found": False})
        else:
            print(f"pantler: no value {key!r} at {target!r}", file=sys.stderr)
        raise typer.Exit(ExitCode.MISS)
    if json:
        print_json({"found": True, **_as_json(answer.value)})
    elif sys.stdout.isatty():
        _show(answer.value)
    else:
        sys.stdout.buffer.write(answer.value.value)
        sys.stdout.buffer.flush()


@edge_app.command("delete")
def delete_edge_value(
    target: Target,
    key: Key,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Delete a value from the edge. Whether there was one is not told."""
    from pantler.v1 import cdn_pb2, cdn_pb2_grpc

    with channel(address) as opened:
        request = cdn_pb2.DeleteEdgeValueRequest(target=target, key=key)
        cdn_pb2_grpc.CdnServiceStub(opened).DeleteEdgeValue(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"deleted": True})
    else:
        print("deleted")


def _fill(struct: "Struct", text: str) -> None:
    try:
        metadata = exact_json(text)
        if not isinstance(metadata, dict):
            raise ValueError("it must be an object")
        struct.update(metadata)
    except (ValueError, RecursionError) as exc:
        raise typer.BadParameter(f"is no JSON object: {exc}", param_hint="--metadata") from None
    struct.SetInParent()  # it may be empty, and is there nonetheless


def _as_json(value: "cdn_pb2.EdgeValue") -> dict[str, Any]:
    document: dict[str, Any] = {"value_base64": base64.b64encode(value.value).decode()}
    with suppress(UnicodeDecodeError):  # not text: base64 alone has it
        document["value"] = value.value.decode()
    return {
        **document,
        "expire_time": value.expire_time.ToJsonString() if value.HasField("expire_time") else None,
        "metadata": fields_as_json(value.metadata) if value.HasField("metadata") else None,
    }


def _show(value: "cdn_pb2.EdgeValue") -> None:
    from rich.console import Console
    from rich.text import Text

    expires = value.HasField("expire_time")
    facts = [f"expires {value.expire_time.ToJsonString()}" if expires else "stays"]
    if value.HasField("metadata"):
        facts.append(dumps(fields_as_json(value.metadata)))
    print(visible(value.value, "pantler edge get"))
    Console().print(Text(", ".join(facts), style="dim"))  # Text: metadata is no markup
