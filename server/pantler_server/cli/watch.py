"""`pantler watch`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli import resumed
from pantler_server.cli.call import DEFAULT_ADDRESS, Address, channel, print_line
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    import grpc
    from pantler.v1 import invalidation_pb2


def watch(
    namespaces: Annotated[list[str], typer.Argument(help="Which.", metavar="NAMESPACE...")],
    resume_token: Annotated[
        str,
        typer.Option(
            help="Go on where another watch over the same namespaces was: a `resume_token` that "
            "--json printed.",
        ),
    ] = "",
    address: Address = DEFAULT_ADDRESS,
    json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each message.")
    ] = False,
) -> None:
    """Print what happens in namespaces, as it happens, until Ctrl-C.

    Each line is something that was deleted or invalidated or, where the namespace has `near_cache`,
    written. A line may come twice. When the server goes away it is waited for; what was missed is
    said as a gap: then anything may have changed.
    """
    from pantler.v1 import invalidation_pb2

    request = invalidation_pb2.WatchInvalidationsRequest(
        namespaces=namespaces,
        resume_token=resume_token,
        heartbeat_interval={"seconds": resumed.HEARTBEAT_S},
    )
    try:
        with channel(address) as opened:
            for answer in _answers(opened, request):
                if json:
                    print_line(_as_json(answer))
                elif answer.events or answer.gaps:
                    for line in _lines(answer):
                        print(line, flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _answers(
    opened: "grpc.Channel", request: "invalidation_pb2.WatchInvalidationsRequest"
) -> "Iterator[invalidation_pb2.WatchInvalidationsResponse]":
    """All messages, over as many calls as it takes. Raises what the first call fails with, and
    what trying again does not help against. Where our token is not known any more, the next message
    has a gap for each namespace."""
    import grpc
    from pantler.v1 import invalidation_pb2_grpc

    stub = invalidation_pb2_grpc.InvalidationServiceStub(opened)
    forgotten = False

    def forgets(failed: Any) -> bool:
        nonlocal forgotten
        if failed.code() is not grpc.StatusCode.INVALID_ARGUMENT or not request.resume_token:
            return False
        request.resume_token = ""  # the server has lost its memory, or is another
        forgotten = True
        return True

    for answer, _ in resumed.answers(lambda: stub.WatchInvalidations(request), forgets):
        request.resume_token = answer.resume_token
        if forgotten:
            forgotten = False
            answer.gaps[:] = dict.fromkeys(request.namespaces)
        yield answer


def _lines(answer: "invalidation_pb2.WatchInvalidationsResponse") -> Iterator[str]:
    """What keys and tags hold is given by `repr`, so that it can't steer a terminal."""
    from pantler.v1 import invalidation_pb2

    for event in answer.events:
        soft = event.mode == invalidation_pb2.INVALIDATION_MODE_SOFT
        done = "made stale" if soft else "invalidated"
        match event.WhichOneof("what"):
            case "key":
                said = f"key {event.key!r} {done}"
            case "tag":
                said = f"tag {event.tag!r} {done}"
            case "dependency":
                said = f"what depends on {event.dependency!r} {done}"
            case "all":
                said = f"all entries {done}"
            case "created_before":
                said = f"entries from before {event.created_before.ToJsonString()} {done}"
            case "pattern":
                said = f"keys that match {event.pattern!r} removed"
            case "written_key":
                said = f"key {event.written_key!r} written"
            case _:
                said = "something of a kind that this version does not know"
        yield f"{event.namespace}: {said}"
    for namespace in answer.gaps:
        yield f"{namespace}: a gap: events may be missing, and anything may have changed"


def _as_json(answer: "invalidation_pb2.WatchInvalidationsResponse") -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    document = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for event in document["events"]:
        event["mode"] = str(event["mode"]).removeprefix("INVALIDATION_MODE_")
    return document
