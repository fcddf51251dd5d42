"""`pantler config check`, and how commands report a configuration that is wrong."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from pantler_server.core.config import Settings

config_app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)


@config_app.callback()
def _group() -> None:
    """Keeps `check` a command of its own while it is the only one."""


@config_app.command()
def check(
    config: Annotated[
        Path | None,
        typer.Argument(envvar="PANTLER_CONFIG", help="The file (default: none)."),
    ] = None,
) -> None:
    """Print the effective configuration as YAML, or each line that is wrong.

    The environment is taken into account as `pantler serve` would. Passwords are not shown.
    """
    import json

    import yaml

    settings = load_or_exit(config, {})
    effective = json.loads(settings.model_dump_json())
    effective["namespaces"] = {
        name: json.loads(settings.namespace(name).model_dump_json()) for name in settings.namespaces
    }
    print(yaml.safe_dump(effective, sort_keys=False, allow_unicode=True), end="")


def load_or_exit(config: Path | None, overrides: Mapping[str, Any]) -> "Settings":
    """The settings; if something is wrong, a line for each problem and the end of the program."""
    from pantler_server.core.config_file import load_settings
    from pantler_server.core.errors import ConfigInvalid

    try:
        return load_settings(config, overrides)
    except ConfigInvalid as exc:
        for problem in exc.problems:
            print(f"pantler: {problem}", file=sys.stderr)
        raise typer.Exit(ExitCode.USAGE) from None
