"""`pantler describe` and `touch`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli.cache import Key, Namespace
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
from pantler_server.cli.description import as_json, because, described
from pantler_server.cli.exit_code import ExitCode
from pantler_server.core.duration import format_duration

if TYPE_CHECKING:
    from pantler.v1 import cache_pb2


def describe(
    namespace: Namespace,
    key: Key,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Print all about an entry but its value, and why it can't be read, if so.

    The first line says what `pantler get` finds. A stale entry is one whose time to live (ttl) is
    over, or that was invalidated `--soft`: for a while it is still given to programs that ask for
    such entries, but not to `pantler get`. Texts that were stored with the entry stand in quotes,
    with what would steer the terminal escaped.

    The exit code is 0 if `pantler get` finds the entry, else 1.
    """
    answer = described(namespace, key, address, timeout)
    document = as_json(answer)
    if json:
        print_json(document)
    else:
        for name, fact in _facts(answer, document).items():
            if fact:
                print(f"{name:<14}{fact}")
    if not answer.found:
        raise typer.Exit(ExitCode.MISS)


def touch(
    namespace: Namespace,
    key: Key,
    ttl: Annotated[
        str | None,
        typer.Option(help="How long it lives from now: 90s, 5m, 1h30m (default: the namespace's)."),
    ] = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Let an entry live longer, or shorter, without storing its value again.

    Its time to live (ttl) begins anew. An entry that has expired is not brought back: as for one
    that was never there, the exit code is 1.
    """
    from pantler.v1 import cache_pb2, cache_pb2_grpc

    with channel(address) as opened:
        request = cache_pb2.TouchRequest(namespace=namespace, key=key)
        if ttl is not None:
            request.ttl.FromMilliseconds(round(seconds(ttl, "--ttl") * 1000))
        answer = cache_pb2_grpc.CacheServiceStub(opened).Touch(
            request, timeout=seconds(timeout, "--timeout")
        )
    expires = answer.expire_time.ToJsonString() if answer.found else None
    if json:
        print_json({"found": answer.found, "expire_time": expires})
    elif answer.found:
        print(f"touched, expires {expires}")
    else:
        print(f"pantler: no entry {key!r} in {namespace!r}", file=sys.stderr)
    if not answer.found:
        raise typer.Exit(ExitCode.MISS)


def _facts(answer: "cache_pb2.DescribeResponse", document: dict[str, Any]) -> dict[str, str]:
    """What a person is told; empty where it does not apply. Texts that came with the entry are
    given by `repr`, so that they can neither steer a terminal nor pass for something else."""
    from pantler_server.core.setting_types import format_bytes

    facts = {"state": _state(document)}
    if answer.version:
        facts |= {
            "version": document["version"],
            "created": document["create_time"],
            "expires": document["expire_time"],
            "kept until": document["drop_time"],
            "ttl": format_duration(answer.ttl.ToTimedelta()),
            "sliding": "yes, reads let it live for its ttl again" if answer.sliding else "",
            "size": format_bytes(answer.value_bytes),
            "content type": repr(answer.content_type) if answer.content_type else "",
            "tags": ", ".join(map(repr, answer.tags)),
            "depends on": ", ".join(map(repr, answer.depends_on)),
        }
    return {**facts, "leased until": document["lease_expire_time"]}


def _state(document: dict[str, Any]) -> str:
    if document["found"]:
        return "found"
    since = f" since {document['miss_time']}" if document["miss_time"] else ""
    return f"{'stale' if document['stale'] else 'not found'}{since}: {because(document)}"
