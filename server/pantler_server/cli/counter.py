"""`pantler counter` and `pantler unique`: numbers, and how many different members there were."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pantler_server.cli.cache import Namespace
from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Json,
    RequestId,
    Timeout,
    channel,
    print_json,
    seconds,
)
from pantler_server.cli.confirm import Yes, confirm
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from pantler.v1 import counter_pb2

    HasTtl = (
        counter_pb2.IncrementRequest | counter_pb2.AddUniqueRequest | counter_pb2.MergeUniqueRequest
    )

Counters = Annotated[list[str], typer.Argument(help="The counters.", metavar="COUNTER...")]
Set = Annotated[str, typer.Argument(help="The set.", metavar="SET")]
Sets = Annotated[list[str], typer.Argument(help="The sets.", metavar="SET...")]
Ttl = Annotated[
    str | None,
    typer.Option(
        help="How long it lives from now on: 90s, 5m, 1h30m (default: as before; if new, the "
        "namespace's counter_ttl)."
    ),
]

counter_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Count.\n\nA counter begins at 0, and stays until it is reset or its ttl is over.",
)
unique_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Count how many different members there were.\n\n"
    "A set knows how many it has seen, to within about 1 %, and not whom: it takes 12 KiB at most.",
)


@counter_app.command("add")
def add_counter(
    namespace: Namespace,
    counter: Annotated[str, typer.Argument(help="The counter.")],
    by: Annotated[int, typer.Option(help="How much; less than 0 takes away.")] = 1,
    ceiling: Annotated[int | None, typer.Option(help="Add nothing if it would be above.")] = None,
    floor: Annotated[int | None, typer.Option(help="Add nothing if it would be below.")] = None,
    ttl: Ttl = None,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Add to a counter, and print its value. If it would leave its bounds, the exit code is 1.

    For example, `pantler counter add shop stock:7 --by -1 --floor 0`.
    """
    from pantler.v1 import counter_pb2, counter_pb2_grpc

    with channel(address) as opened:
        try:
            request = counter_pb2.IncrementRequest(
                namespace=namespace,
                counter=counter,
                delta=by,
                ceiling=ceiling,
                floor=floor,
                request_id=request_id,
            )
        except ValueError:  # more than 64 bits
            raise typer.BadParameter("numbers must be within ±(2^53 - 1)") from None
        _put_ttl(request, ttl)
        answer = counter_pb2_grpc.CounterServiceStub(opened).Increment(
            request, timeout=seconds(timeout, "--timeout")
        )
    expires = answer.expire_time.ToJsonString() if answer.HasField("expire_time") else None
    if json:
        print_json({"value": answer.value, "applied": answer.applied, "expire_time": expires})
    else:
        print(f"{answer.value}{f', expires {expires}' if expires else ''}")
    if not answer.applied:
        if not json:
            print("pantler: nothing was added: it would leave its bounds", file=sys.stderr)
        raise typer.Exit(ExitCode.DENIED)


@counter_app.command("get")
def get_counters(
    namespace: Namespace,
    counters: Counters,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Print the values of counters. If none of them is there, the exit code is 1."""
    from pantler.v1 import counter_pb2, counter_pb2_grpc

    with channel(address) as opened:
        request = counter_pb2.GetCountersRequest(namespace=namespace, counters=counters)
        answer = counter_pb2_grpc.CounterServiceStub(opened).GetCounters(
            request, timeout=seconds(timeout, "--timeout")
        )
    _print_counters(answer, json)


@counter_app.command("reset")
def reset_counters(
    namespace: Namespace,
    counters: Counters,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Let counters begin anew, and print what they had come to. If none of them is there, the exit
    code is 1."""
    from pantler.v1 import counter_pb2, counter_pb2_grpc

    with channel(address) as opened:
        request = counter_pb2.ResetCountersRequest(namespace=namespace, counters=counters)
        answer = counter_pb2_grpc.CounterServiceStub(opened).ResetCounters(
            request, timeout=seconds(timeout, "--timeout")
        )
    _print_counters(answer, json)


@unique_app.command("add")
def add_unique(
    namespace: Namespace,
    set_name: Set,
    members: Annotated[list[str], typer.Argument(help="Whom it has seen.", metavar="MEMBER...")],
    ttl: Ttl = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Let a set have seen members.

    For example, `pantler unique add site visitors:monday user:42 user:43 --ttl 30d`.
    """
    from pantler.v1 import counter_pb2, counter_pb2_grpc

    with channel(address) as opened:
        request = counter_pb2.AddUniqueRequest(namespace=namespace, set=set_name, members=members)
        _put_ttl(request, ttl)
        answer = counter_pb2_grpc.CounterServiceStub(opened).AddUnique(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"changed": answer.changed})
    else:
        print("added" if answer.changed else "all of them had been seen")


@unique_app.command("count")
def count_unique(
    namespace: Namespace,
    sets: Sets,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Print how many different members sets have seen together."""
    from pantler.v1 import counter_pb2, counter_pb2_grpc

    with channel(address) as opened:
        request = counter_pb2.CountUniqueRequest(namespace=namespace, sets=sets)
        answer = counter_pb2_grpc.CounterServiceStub(opened).CountUnique(
            request, timeout=seconds(timeout, "--timeout")
        )
    _print_count(answer, json)


@unique_app.command("merge")
def merge_unique(
    namespace: Namespace,
    into: Annotated[str, typer.Argument(help="The set that has seen all of it then.")],
    sets: Sets,
    ttl: Ttl = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Let a set have seen what others have, and print how many different members that are.

    For example, `pantler unique merge site visitors:week visitors:monday visitors:tuesday`.
    """
    from pantler.v1 import counter_pb2, counter_pb2_grpc

    with channel(address) as opened:
        request = counter_pb2.MergeUniqueRequest(namespace=namespace, into=into)
        getattr(request, "from").extend(sets)  # a word of Python's
        _put_ttl(request, ttl)
        answer = counter_pb2_grpc.CounterServiceStub(opened).MergeUnique(
            request, timeout=seconds(timeout, "--timeout")
        )
    _print_count(answer, json)


@unique_app.command("delete")
def delete_unique(
    namespace: Namespace,
    sets: Sets,
    yes: Yes = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Delete sets. If none of them is there, the exit code is 1."""
    from pantler.v1 import counter_pb2, counter_pb2_grpc

    which = f"set of uniques {sets[0]!r}" if len(sets) == 1 else f"{len(sets)} sets of uniques"
    confirm(f"deletes the {which} of {namespace!r}", yes)
    with channel(address) as opened:
        request = counter_pb2.DeleteUniqueRequest(namespace=namespace, sets=sets)
        answer = counter_pb2_grpc.CounterServiceStub(opened).DeleteUnique(
            request, timeout=seconds(timeout, "--timeout")
        )
    outcomes = list(zip(sets, answer.deleted, strict=True))
    if json:
        print_json([{"set": set_name, "deleted": deleted} for set_name, deleted in outcomes])
    else:
        for set_name, deleted in outcomes:
            print(f"{set_name!r}: {'deleted' if deleted else 'not there'}")
    if not any(answer.deleted):
        raise typer.Exit(ExitCode.MISS)


def _put_ttl(request: "HasTtl", ttl: str | None) -> None:
    if ttl is not None:
        request.ttl.FromMilliseconds(round(seconds(ttl, "--ttl") * 1000))


def _print_counters(
    answer: "counter_pb2.GetCountersResponse | counter_pb2.ResetCountersResponse", json: bool
) -> None:
    if json:
        print_json(
            [
                {"counter": one.counter, "value": one.value, "found": one.found}
                for one in answer.counters
            ]
        )
    else:
        for one in answer.counters:
            print(f"{one.counter!r}: {one.value if one.found else 'not there'}")
    if not any(one.found for one in answer.counters):
        raise typer.Exit(ExitCode.MISS)


def _print_count(
    answer: "counter_pb2.CountUniqueResponse | counter_pb2.MergeUniqueResponse", json: bool
) -> None:
    if json:
        print_json({"count": answer.count})
    else:
        print(answer.count)
