"""`pantler hot`: which keys are read most."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pantler_server.cli.board_entry import nobody, printable
from pantler_server.cli.cache import Namespace
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

if TYPE_CHECKING:
    from pantler.v1 import admin_pb2
    from rich.table import Table


def hot(
    namespace: Namespace,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List the keys that were read most in the last 5 minutes, with their reads a second.

    They are counted from samples; what was read in the last 10 seconds may not be among them yet.
    Lines for scripts end with `hot` for keys that are treated as such. If there are none, the exit
    code is 1.
    """
    from pantler.v1 import admin_pb2, admin_pb2_grpc

    with channel(address) as opened:
        request = admin_pb2.ListHotKeysRequest(namespace=namespace, limit=limit)
        answer = admin_pb2_grpc.AdminServiceStub(opened).ListHotKeys(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json(
            [
                {"key": one.key, "reads_per_second": one.reads_per_second, "hot": one.hot}
                for one in answer.keys
            ]
        )
    elif answer.keys and sys.stdout.isatty():
        from rich.console import Console

        Console().print(_table(answer))
    else:
        for one in answer.keys:
            print("\t".join([one.key, _rate(one), *(["hot"] if one.hot else [])]))
    if not answer.keys:
        nobody(f"no reads of {namespace!r} were counted in the last 5 minutes", json)


def _table(answer: "admin_pb2.ListHotKeysResponse") -> "Table":
    from rich.bar import Bar
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        Column("key", overflow="fold"),  # a long one is still shown as a whole
        Column("reads/s", justify="right"),
        Column("", width=20),
        Column("hot"),
        box=None,
    )
    most = answer.keys[0].reads_per_second
    for one in answer.keys:
        bar = Bar(most, 0, one.reads_per_second, color="red" if one.hot else "blue")
        # Text: a key is no markup.
        table.add_row(Text(printable(one.key)), _rate(one), bar, "yes" if one.hot else "no")
    return table


def _rate(one: "admin_pb2.HotKey") -> str:
    """More digits would be of the sample, not of the reads."""
    return f"{one.reads_per_second:.1f}"
