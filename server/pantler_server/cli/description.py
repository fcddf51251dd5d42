"""What Describe tells of a key, as JSON and in words: for `pantler describe` and `why`."""

from typing import TYPE_CHECKING, Any

from pantler_server.cli.call import channel, seconds

if TYPE_CHECKING:
    from pantler.v1 import cache_pb2

_BECAUSE = {
    "UNKNOWN": "nothing is known of it",
    "NO_RECORD": "the origin has no record of it",
    "EXPIRED": "it expired",
    "DELETED": "it was deleted",
    "HIDDEN_BY_KEY": "its key was invalidated",
    "HIDDEN_BY_NAMESPACE": "its namespace was invalidated",
    "HIDDEN_BY_DEPENDENCY": "a key on which it depends was invalidated",
    "HIDDEN_BY_AGE": "it is older than an invalidation by age allows",
}


def described(namespace: str, key: str, address: str, timeout: str) -> "cache_pb2.DescribeResponse":
    """Asks the server."""
    from pantler.v1 import cache_pb2, cache_pb2_grpc

    with channel(address) as opened:
        request = cache_pb2.DescribeRequest(namespace=namespace, key=key)
        answer: cache_pb2.DescribeResponse = cache_pb2_grpc.CacheServiceStub(opened).Describe(
            request, timeout=seconds(timeout, "--timeout")
        )
    return answer


def as_json(answer: "cache_pb2.DescribeResponse") -> dict[str, Any]:
    """All fields; null where there is nothing to tell."""
    from google.protobuf.json_format import MessageToDict

    document = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    # Its number, if the server is newer and knows more reasons.
    reason = str(document["miss_reason"]).removeprefix("MISS_REASON_")
    stored = answer.version != 0
    return {
        **dict.fromkeys(answer.DESCRIPTOR.fields_by_name),
        **document,
        "miss_reason": None if answer.found else reason,
        "miss_cause": answer.miss_cause or None,
        "version": document["version"] if stored else None,
        "sliding": answer.sliding if stored else None,
        "value_bytes": answer.value_bytes if stored else None,
    }


def because(document: dict[str, Any]) -> str:
    """Why `pantler get` does not find the entry, as the end of a sentence. The cause is given by
    `repr`, so that it can neither steer a terminal nor pass for something else."""
    reason: str = document["miss_reason"]
    cause = document["miss_cause"]
    match reason:
        case "HIDDEN_BY_TAG" if cause:
            return f"its tag {cause!r} was invalidated"
        case "HIDDEN_BY_TAG" if document["miss_time"]:
            return (
                "older invalidations of tags and dependencies are no longer told apart, and one of "
                "them may have been of its own"
            )
        case "HIDDEN_BY_TAG":
            return "what was noted of invalidations of tags and dependencies was lost"
        case "HIDDEN_BY_DEPENDENCY" if cause:
            return f"the key {cause!r}, on which it depends, was invalidated"
        case "HIDDEN_BY_NAMESPACE" if not document["miss_time"]:
            return f"{_BECAUSE[reason]}, or what was noted of invalidations was lost"
    return _BECAUSE.get(reason, reason.lower().replace("_", " "))
