"""`pantler get`, `set` and `delete`."""

import base64
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Json,
    Timeout,
    channel,
    exit_code,
    print_json,
    seconds,
)
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from pantler.v1 import cache_pb2

Namespace = Annotated[str, typer.Argument(help="The namespace.")]
Key = Annotated[str, typer.Argument(help="The key.")]


def get(
    namespace: Namespace,
    key: Key,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Print the value of an entry.

    To a pipe or a file go its exact bytes. On a terminal its version and expiry stand below, and
    what would steer the terminal is escaped.
    """
    from pantler.v1 import cache_pb2, cache_pb2_grpc

    with channel(address) as opened:
        request = cache_pb2.GetRequest(namespace=namespace, key=key)
        answer = cache_pb2_grpc.CacheServiceStub(opened).Get(
            request, timeout=seconds(timeout, "--timeout")
        )
    if not answer.HasField("hit"):
        if json:
            reason = cache_pb2.MissReason.Name(answer.miss.reason).removeprefix("MISS_REASON_")
            print_json({"found": False, "miss_reason": reason})
        else:
            print(f"pantler: no entry {key!r} in {namespace!r}", file=sys.stderr)
        raise typer.Exit(ExitCode.MISS)
    entry = answer.hit.entry
    if json:
        print_json({"found": True, **_as_json(entry)})
        return
    if sys.stdout.isatty():
        _show(entry)
    else:
        sys.stdout.buffer.write(entry.value)
        sys.stdout.buffer.flush()


def set_(
    namespace: Namespace,
    key: Key,
    value: Annotated[str | None, typer.Argument(help="The value, as text.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Read the value from a file; - is standard input.")
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(help="How long it lives: 90s, 5m, 1h30m (default: the namespace's)."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            help="A tag, by which `pantler invalidate tag` finds it; may be given several times."
        ),
    ] = None,
    depends_on: Annotated[
        list[str] | None,
        typer.Option(
            help="A key that the value was made from: `pantler invalidate key --cascade` of it "
            "invalidates this entry too; may be given several times."
        ),
    ] = None,
    content_type: Annotated[str, typer.Option(help="The value's media type.")] = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Store an entry."""
    from pantler.v1 import cache_pb2, cache_pb2_grpc

    data = given_value(value, file)
    with channel(address) as opened:
        request = cache_pb2.SetRequest(
            namespace=namespace,
            key=key,
            value=data,
            tags=tag,
            depends_on=depends_on,
            content_type=content_type,
        )
        if ttl is not None:
            request.ttl.FromMilliseconds(round(seconds(ttl, "--ttl") * 1000))
        answer = cache_pb2_grpc.CacheServiceStub(opened).Set(
            request, timeout=seconds(timeout, "--timeout")
        )
    expires = answer.expire_time.ToJsonString()
    if json:
        print_json({"stored": True, "version": str(answer.version), "expire_time": expires})
    else:
        print(f"stored, version {answer.version}, expires {expires}")


def delete(
    namespace: Namespace,
    keys: Annotated[list[str], typer.Argument(help="The keys.", metavar="KEY...")],
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Remove entries. What was not there is no error; if nothing was there, the exit code is 1.

    If some could not be removed, the exit code is that of the first of them.
    """
    from pantler.v1 import cache_pb2, cache_pb2_grpc

    with channel(address) as opened:
        request = cache_pb2.BatchDeleteRequest(namespace=namespace, keys=keys)
        answer = cache_pb2_grpc.CacheServiceStub(opened).BatchDelete(
            request, timeout=seconds(timeout, "--timeout")
        )
    outcomes = list(zip(keys, answer.outcomes, strict=True))
    failures = [(key, outcome.error) for key, outcome in outcomes if outcome.HasField("error")]
    if json:
        print_json(
            [
                {"key": key, "deleted": outcome.deleted, "error": outcome.error.message or None}
                for key, outcome in outcomes
            ]
        )
    else:
        for key, outcome in outcomes:
            if not outcome.HasField("error"):
                print(f"{key}: {'deleted' if outcome.deleted else 'not there'}")
        for key, error in failures:
            print(f"pantler: {key}: {error.message}", file=sys.stderr)
    if failures:
        raise typer.Exit(exit_code(failures[0][1].code))
    if not any(outcome.deleted for _, outcome in outcomes):
        raise typer.Exit(ExitCode.MISS)


def given_value(text: str | None, file: Path | None) -> bytes:
    """What VALUE or --file gives."""
    if (text is None) == (file is None):
        raise typer.BadParameter("give either VALUE or --file")
    if text is not None:
        return os.fsencode(text)  # the bytes that were typed, UTF-8 or not
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else Path(str(file)).read_bytes()
    except OSError as exc:
        raise typer.BadParameter(f"{file}: {exc.strerror}", param_hint="--file") from None


def _as_json(entry: "cache_pb2.Entry") -> dict[str, Any]:
    document: dict[str, Any] = {"value_base64": base64.b64encode(entry.value).decode()}
    with suppress(UnicodeDecodeError):  # not text: base64 alone has it
        document["value"] = entry.value.decode()
    return {
        **document,
        "version": str(entry.version),
        "create_time": entry.create_time.ToJsonString(),
        "expire_time": entry.expire_time.ToJsonString(),
        "content_type": entry.content_type,
        "tags": list(entry.tags),
    }


def _show(entry: "cache_pb2.Entry") -> None:
    from rich.console import Console
    from rich.text import Text

    facts = [f"version {entry.version}", f"expires {entry.expire_time.ToJsonString()}"]
    if entry.content_type:
        facts.append(entry.content_type)
    print(visible(entry.value, "pantler get"))
    Console().print(Text(", ".join(facts), style="dim"))  # Text: a media type is no markup


def visible(value: bytes, command: str) -> str:
    """The value as text that can't steer a terminal. `command` is how its bytes are had."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"({len(value)} bytes that are not text: `{command} … > FILE` writes them)"
    return "".join(
        char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text
    )
