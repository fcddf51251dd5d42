"""`pantler event`."""

import json as json_format
import sys
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
    print_json,
    seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pantler.v1 import invalidation_pb2

_FIELD_HELP = (
    "What is known of the event: user_id=5 is text; count:=5, paid:=true and ids:='[1, 2]' are "
    "JSON; order.id=7 is the field id of order."
)


def event(
    event_type: Annotated[
        str,
        typer.Argument(metavar="TYPE", help="What kind of event it is, as in the configuration."),
    ],
    field: Annotated[
        list[str] | None, typer.Argument(metavar="FIELD=VALUE", help=_FIELD_HELP)
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE|-",
            help="The fields as a JSON object, in a file, or from standard input; those of the "
            "command line are put over them.",
        ),
    ] = None,
    event_id: Annotated[
        str,
        typer.Option(
            help="A name for this one event: given again within 10 minutes, nothing is done, and "
            "what was done the first time is printed."
        ),
    ] = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Say that something happened, and see what that invalidates.

    What it does stands in the server's configuration: rules under `events` say which keys and tags
    an event of a type makes outdated. For example, `pantler event user.renamed user_id=5`
    invalidates the key user:5, if a rule for user.renamed has the key `user:{user_id}`.

    It is printed what each rule did. An event that no rule is for does nothing. If a rule needs a
    field that is not given, nothing is done, and the exit code is 2.
    """
    from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

    said = _fields(field or [], fields)
    with channel(address) as opened:
        request = invalidation_pb2.PublishEventRequest(type=event_type, event_id=event_id)
        request.fields.update(said)
        answer = invalidation_pb2_grpc.InvalidationServiceStub(opened).PublishEvent(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        outcomes = list(map(_as_json, answer.outcomes))
        print_json({"duplicate": answer.duplicate, "outcomes": outcomes})
        return
    if answer.duplicate:
        print("this event was published before; nothing was done now, and this was done then:")
    for outcome in answer.outcomes:
        for line in _lines(outcome):
            print(f"{outcome.rule}: {line}")
    if not answer.outcomes:
        print("no rule is for such an event: nothing was invalidated")


def _fields(given: list[str], document: str | None) -> dict[str, Any]:
    """The fields of the event, from the option and over them from the arguments."""
    fields = {} if document is None else _parsed(_read(document), "--fields")
    if not isinstance(fields, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="--fields")
    for one in given:
        name, equals, value = one.partition("=")
        is_json = name.endswith(":")
        *way, last = name.removesuffix(":").split(".")
        if not equals or not all((*way, last)):
            raise typer.BadParameter(f"{one!r} is not FIELD=VALUE", param_hint="FIELD")
        at = fields
        for step in way:
            at = at.setdefault(step, {})
            if not isinstance(at, dict):
                raise typer.BadParameter(
                    f"{one!r}: {step!r} has a value of its own", param_hint="FIELD"
                )
        at[last] = _parsed(value, one) if is_json else value
    return fields


def _read(document: str) -> str:
    """The text of --fields."""
    if document != "-" and not document.startswith("@"):
        return document
    try:
        if document == "-":
            return sys.stdin.buffer.read().decode()
        return Path(document[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "is not UTF-8"
        raise typer.BadParameter(f"{document}: {reason}", param_hint="--fields") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json_format.loads(text)
    except ValueError as exc:
        raise typer.BadParameter(f"is not JSON: {exc}", param_hint=where) from None


def _lines(outcome: "invalidation_pb2.RuleOutcome") -> "Iterator[str]":
    """What a rule did. Texts that came with the event are given by `repr`, so that they can't steer
    a terminal."""
    from pantler.v1 import invalidation_pb2

    soft = outcome.mode == invalidation_pb2.INVALIDATION_MODE_SOFT
    done = f"{'made stale' if soft else 'invalidated'} in {outcome.namespace}"
    for key in outcome.keys:
        yield f"key {key!r} {done}"
    if outcome.cascaded:
        yield f"{outcome.cascaded} more that depend on these {done}"
    for tag in outcome.tags:
        yield f"tag {tag!r} {done}"
    if outcome.all:
        yield f"all entries {done}"
    if not (outcome.keys or outcome.tags or outcome.all):
        yield "nothing, as its lists are empty"


def _as_json(outcome: "invalidation_pb2.RuleOutcome") -> dict[str, Any]:
    from pantler.v1 import invalidation_pb2

    mode = invalidation_pb2.InvalidationMode.Name(outcome.mode)
    return {
        "rule": outcome.rule,
        "namespace": outcome.namespace,
        "mode": mode.removeprefix("INVALIDATION_MODE_"),
        "keys": list(outcome.keys),
        "cascaded": outcome.cascaded,
        "tags": list(outcome.tags),
        "all": outcome.all,
    }
