"""The command line `pantler`. A file a group of commands; gRPC is imported only by those that
call."""

import io
import sys
from typing import Annotated

import typer

from pantler_server.cli.admin import namespaces, ping
from pantler_server.cli.backlog import backlog, dead_app
from pantler_server.cli.board import board_app
from pantler_server.cli.cache import delete, get, set_
from pantler_server.cli.channel import publish, subscribe
from pantler_server.cli.config import config_app
from pantler_server.cli.counter import counter_app, unique_app
from pantler_server.cli.depend import depend, dependents
from pantler_server.cli.edge import edge_app
from pantler_server.cli.entry import describe, touch
from pantler_server.cli.event import event
from pantler_server.cli.geo import geo_app
from pantler_server.cli.hot import hot
from pantler_server.cli.invalidate import invalidate_app
from pantler_server.cli.limit import limit_app
from pantler_server.cli.purge import purge_app
from pantler_server.cli.record import record_app
from pantler_server.cli.serve import serve
from pantler_server.cli.tag import tag_app
from pantler_server.cli.warm import warm
from pantler_server.cli.watch import watch
from pantler_server.cli.why import why

app = typer.Typer(
    name="pantler",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from pantler_server.core.version import server_version

        print(f"pantler {server_version()}")
        raise typer.Exit


@app.callback()
def _pantler(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """A cache that services call over gRPC.

    Start one with `pantler serve`; the other commands call a server that runs.

    Exit codes: 0 done; 1 not there, or denied by a rate limit or a counter's bounds; 2 wrong usage,
    or the server refused a field; 3 the server or its Redis can't be reached, or the time was up; 4
    anything else; 130 stopped by Ctrl-C.
    """


app.command()(serve)
app.command()(get)
app.command("set")(set_)
app.command()(delete)
app.command()(describe)
app.command()(why)
app.command()(touch)
app.add_typer(invalidate_app, name="invalidate")
app.add_typer(tag_app, name="tag")
app.command()(depend)
app.command()(dependents)
app.command()(event)
app.command()(watch)
app.command()(publish)
app.command()(subscribe)
app.add_typer(limit_app, name="limit")
app.add_typer(board_app, name="board")
app.add_typer(geo_app, name="geo")
app.add_typer(counter_app, name="counter")
app.add_typer(unique_app, name="unique")
app.add_typer(record_app, name="record")
app.command()(backlog)
app.add_typer(dead_app, name="dead")
app.add_typer(purge_app, name="purge")
app.add_typer(edge_app, name="edge")
app.command()(ping)
app.command()(namespaces)
app.command()(hot)
app.command()(warm)
app.add_typer(config_app, name="config")


def main() -> None:
    """The program `pantler`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack what a key has
    app()
