"""The command line `pantler`. A file a group of commands; gRPC is imported only by those that
call."""

import io
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

COMMANDS = {
    "serve": "serve.serve",
    "get": "cache.get",
    "set": "cache.set_",
    "delete": "cache.delete",
    "describe": "entry.describe",
    "why": "why.why",
    "touch": "entry.touch",
    "invalidate": "invalidate.invalidate_app",
    "tag": "tag.tag_app",
    "depend": "depend.depend",
    "dependents": "depend.dependents",
    "event": "event.event",
    "watch": "watch.watch",
    "publish": "channel.publish",
    "subscribe": "channel.subscribe",
    "limit": "limit.limit_app",
    "board": "board.board_app",
    "geo": "geo.geo_app",
    "counter": "counter.counter_app",
    "unique": "counter.unique_app",
    "record": "record.record_app",
    "backlog": "backlog.backlog",
    "dead": "backlog.dead_app",
    "purge": "purge.purge_app",
    "edge": "edge.edge_app",
    "ping": "admin.ping",
    "namespaces": "admin.namespaces",
    "hot": "hot.hot",
    "warm": "warm.warm",
    "config": "config.config_app",
}
"""Their names, in the order of the help, and where they are defined. What is not asked for is not
imported."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from pantler_server.core.version import server_version

        print(f"pantler {server_version()}")
        raise typer.Exit


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


def _app(commands: Iterable[str]) -> typer.Typer:
    app = typer.Typer(
        name="pantler",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )
    app.callback()(_pantler)
    for command in commands:
        module, name = COMMANDS[command].split(".")
        added = getattr(import_module(f"pantler_server.cli.{module}"), name)
        if isinstance(added, typer.Typer):
            app.add_typer(added, name=command)
        else:
            app.command(command)(added)
    return app


def main() -> None:
    """The program `pantler`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack what a key has
    # The options before a command take no values.
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    _app([asked] if asked in COMMANDS else COMMANDS)()
