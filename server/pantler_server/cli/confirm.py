"""How commands that reach far ask first."""

import sys
from typing import Annotated

import typer

from pantler_server.cli.exit_code import ExitCode

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking first.")]


def confirm(what: str, yes: bool) -> None:
    """Asks a person before something that reaches far; a script has to say --yes."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise typer.BadParameter(f"this {what}: add --yes where nobody can be asked")
    try:
        agreed = typer.confirm(f"This {what}. Go on?", err=True)
    except typer.Abort:  # Ctrl-C or Ctrl-D
        agreed = False
    if not agreed:
        print("pantler: nothing was done", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILED)
