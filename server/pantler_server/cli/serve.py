"""`pantler serve`."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pantler_server.cli.exit_code import ExitCode


def serve(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="PANTLER_CONFIG", help="The configuration, YAML."),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="Where to serve gRPC (default: 127.0.0.1:50051).")
    ] = None,
    http_listen: Annotated[
        str | None,
        typer.Option(help="Where to serve metrics and health (default: 127.0.0.1:8080)."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the port (default: 1).")
    ] = None,
    redis_url: Annotated[
        str | None,
        typer.Option(help="A Redis to use: redis://host:6379/0, rediss://…, unix:///path/socket."),
    ] = None,
    redis_sentinel: Annotated[
        str | None, typer.Option(help="Sentinels to ask for it: host:port,host:port/service.")
    ] = None,
    redis_cluster: Annotated[
        str | None, typer.Option(help="Nodes of a Redis Cluster: host:port,host:port.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the embedded Valkey keeps its data (default: nowhere)."),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Memory of the embedded Valkey (default: 1GiB).")
    ] = None,
) -> None:
    """Serve the cache until Ctrl-C or SIGTERM.

    With no Redis given, an embedded Valkey is started and stopped with the service. Every setting
    can also stand in the configuration file or in the environment: `pantler config check` shows
    them all.
    """
    redis: dict[str, Any] = {}
    if redis_url is not None:
        redis["url"] = redis_url
    if redis_sentinel is not None:
        nodes, _, service = redis_sentinel.rpartition("/")
        redis["sentinel"] = {"nodes": nodes.split(","), "service": service}
    if redis_cluster is not None:
        redis["cluster"] = {"nodes": redis_cluster.split(",")}
    embedded = {"directory": data_dir, "max_memory": max_memory}
    given = {name: value for name, value in embedded.items() if value is not None}
    if given:
        redis["embedded"] = given
    options = {"listen": listen, "http_listen": http_listen, "workers": workers}
    overrides: dict[str, Any] = {
        name: value for name, value in options.items() if value is not None
    }
    if redis:
        overrides["redis"] = redis
    _run(config, overrides)


def _run(config: Path | None, overrides: dict[str, Any]) -> None:
    from pantler_server.cli.config import load_or_exit
    from pantler_server.supervisor import StartFailed, Supervisor

    settings = load_or_exit(config, overrides)

    async def supervise() -> None:
        await Supervisor(settings, config, overrides).run()

    try:
        asyncio.run(supervise())
    except StartFailed as exc:
        print(f"pantler: {exc}", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILED) from None
