"""`pantler publish` and `pantler subscribe`."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantler_server.cli import resumed
from pantler_server.cli.cache import Namespace
from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    RequestId,
    Timeout,
    channel,
    print_line,
    seconds,
)
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    import grpc
    from pantler.v1 import pubsub_pb2


def publish(
    namespace: Namespace,
    name: Annotated[str, typer.Argument(help="The channel.", metavar="CHANNEL")],
    payload: Annotated[str, typer.Argument(help="What to send; - is standard input.")] = "-",
    content_type: Annotated[str, typer.Option(help="The payload's media type.")] = "",
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Send a message to a channel.

    Prints its sequence, 0 in a namespace whose channels have no history.
    """
    from pantler.v1 import pubsub_pb2, pubsub_pb2_grpc

    data = sys.stdin.buffer.read() if payload == "-" else os.fsencode(payload)
    with channel(address) as opened:
        request = pubsub_pb2.PublishRequest(
            namespace=namespace,
            channel=name,
            payload=data,
            content_type=content_type,
            request_id=request_id,
        )
        answer = pubsub_pb2_grpc.PubSubServiceStub(opened).Publish(
            request, timeout=seconds(timeout, "--timeout")
        )
    print(answer.sequence)


def subscribe(
    namespace: Namespace,
    channels: Annotated[
        list[str] | None, typer.Argument(help="The channels.", metavar="[CHANNEL]...")
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="A pattern of channels, as `news:*`; may be given several times."),
    ] = None,
    resume_after: Annotated[
        int | None,
        typer.Option(
            help="Begin with what came after this sequence; 0 is all that is kept.",
            min=0,
            max=2**64 - 1,
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(help="End after so many messages.", min=1)] = None,
    address: Address = DEFAULT_ADDRESS,
    json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each message.")
    ] = False,
) -> None:
    """Print what is published to channels, as it comes, until Ctrl-C.

    When the server goes away it is waited for, and where the namespace's channels have a history
    what came meanwhile is printed. What may have been missed is said as a gap.
    """
    from pantler.v1 import pubsub_pb2

    request = pubsub_pb2.SubscribeRequest(
        namespace=namespace,
        channels=channels,
        patterns=pattern,
        resume_after=resume_after,
        heartbeat_interval={"seconds": resumed.HEARTBEAT_S},
    )
    printed = 0
    try:
        with channel(address) as opened:
            for event in _events(opened, request):
                if json:
                    print_line(_as_json(event))
                elif not event.HasField("heartbeat"):
                    print(_line(event), flush=True)
                printed += event.HasField("message")
                if printed == count:
                    return
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _events(
    opened: "grpc.Channel", request: "pubsub_pb2.SubscribeRequest"
) -> "Iterator[pubsub_pb2.SubscribeResponse]":
    """All events, over as many calls as it takes. Raises what the first call fails with, and what
    trying again does not help against. Where a call can't go on, a gap comes first."""
    import grpc
    from pantler.v1 import pubsub_pb2, pubsub_pb2_grpc

    stub = pubsub_pb2_grpc.PubSubServiceStub(opened)
    lost: pubsub_pb2.GapReason | None = None
    refusals = {
        grpc.StatusCode.INVALID_ARGUMENT: pubsub_pb2.GAP_REASON_FAILOVER,
        grpc.StatusCode.FAILED_PRECONDITION: pubsub_pb2.GAP_REASON_HISTORY,
    }

    def forgets(failed: Any) -> bool:
        nonlocal lost
        if failed.code() not in refusals or not request.HasField("resume_after"):
            return False
        lost = refusals[failed.code()]
        request.ClearField("resume_after")
        return True

    begun = False
    for event, first in resumed.answers(lambda: stub.Subscribe(request), forgets):
        kind = event.WhichOneof("event")
        sequence = getattr(event, kind).sequence if kind else 0
        if first and begun and not lost and not request.HasField("resume_after"):
            lost = pubsub_pb2.GAP_REASON_DISCONNECTED
        if first and lost and kind != "gap":
            gap = pubsub_pb2.ChannelGap(reason=lost, sequence=sequence)
            yield pubsub_pb2.SubscribeResponse(gap=gap)
        begun, lost = True, None
        if sequence:
            request.resume_after = sequence
        yield event


def _line(event: "pubsub_pb2.SubscribeResponse") -> str:
    """What comes with messages is given by `repr`, so that it can't steer a terminal."""
    if event.HasField("message"):
        message = event.message
        try:
            payload = repr(message.payload.decode())
        except UnicodeDecodeError:
            payload = repr(message.payload)
        numbered = f" ({message.sequence})" if message.sequence else ""
        return f"{message.channel!r}: {payload}{numbered}"
    if event.HasField("gap"):
        return f"a gap: messages may be missing ({_reason(event.gap.reason).lower()})"
    return "something of a kind that this version does not know"


def _as_json(event: "pubsub_pb2.SubscribeResponse") -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    document = MessageToDict(
        event, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    if event.HasField("gap"):
        document["gap"]["reason"] = _reason(event.gap.reason)
    return document


def _reason(reason: "pubsub_pb2.GapReason") -> str:
    from pantler.v1 import pubsub_pb2

    known = reason in pubsub_pb2.GapReason.values()
    return pubsub_pb2.GapReason.Name(reason).removeprefix("GAP_REASON_") if known else str(reason)
