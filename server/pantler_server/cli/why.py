"""`pantler why`."""

from typing import Any

import typer

from pantler_server.cli.cache import Key, Namespace
from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Json,
    Timeout,
    print_json,
)
from pantler_server.cli.description import as_json, because, described
from pantler_server.cli.exit_code import ExitCode


def why(
    namespace: Namespace,
    key: Key,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Say in a sentence or two why an entry is not found, or that it is.

    It may have expired, or have been deleted or invalidated: then it is said when, and by which tag
    or key, as far as that is known. `pantler describe` tells everything about the entry.

    Of a namespace with an origin it tells about the cached copy: reads load what is not cached.

    The exit code is 0 if the entry is found, else 1.
    """
    document = as_json(described(namespace, key, address, timeout))
    told = f"{key!r} {_explanation(document)}"
    if json:
        names = ("found", "stale", "miss_reason", "miss_time", "miss_cause")
        print_json({**{name: document[name] for name in names}, "explanation": told})
    else:
        print(told)
    if not document["found"]:
        raise typer.Exit(ExitCode.MISS)


def _explanation(document: dict[str, Any]) -> str:
    created = document["create_time"]
    if document["found"]:
        return f"is found: its value is from {created} and expires at {document['expire_time']}."
    when = f" at {document['miss_time']}" if document["miss_time"] else ""
    if when and document["miss_reason"] == "HIDDEN_BY_TAG" and not document["miss_cause"]:
        when = f"; the newest of these is from {document['miss_time']}"
    reason = f"{because(document)}{when}."
    if document["stale"]:
        return f"is stale: {reason} Only programs that accept stale entries are given it."
    if document["miss_reason"] == "UNKNOWN":
        return (
            f"is not found: {reason} It was never set (or loaded, if the namespace has an origin), "
            "or it expired, was evicted, matched a pattern that was invalidated, or was deleted or "
            "invalidated over a minute ago."
        )
    return f"is not found: {reason}" + (f" What is stored is from {created}." if created else "")
