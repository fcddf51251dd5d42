"""`pantler depend` and `dependents`: which keys are made from which."""

from typing import TYPE_CHECKING, Annotated

import typer

from pantler_server.cli.cache import Key, Namespace
from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    PAGE_SIZE,
    Address,
    Json,
    Timeout,
    channel,
    pages,
    print_json,
    seconds,
)

if TYPE_CHECKING:
    from pantler.v1 import invalidation_pb2


def depend(
    namespace: Namespace,
    key: Key,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", help="A key that it is made from; may be given several times."),
    ] = None,
    on_nothing: Annotated[
        bool, typer.Option("--on-nothing", help="Take back what was declared of the key.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Declare what a key is made from, in place of what was declared before.

    It holds for whatever is stored there, until it is declared anew. `pantler invalidate key
    --cascade` of one of those keys then invalidates this one too.
    """
    from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

    if bool(on) == on_nothing:
        raise typer.BadParameter("give either --on or --on-nothing")
    with channel(address) as opened:
        request = invalidation_pb2.DeclareDependenciesRequest(
            namespace=namespace, key=key, depends_on=on
        )
        invalidation_pb2_grpc.InvalidationServiceStub(opened).DeclareDependencies(
            request, timeout=seconds(timeout, "--timeout")
        )
    distinct = list(dict.fromkeys(on or ()))
    if json:
        print_json({"key": key, "depends_on": distinct})
    else:
        print(f"{key!r} depends on {', '.join(map(repr, distinct)) or 'nothing'}")


def dependents(
    namespace: Namespace,
    key: Key,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List the keys that directly depend on a key: as declared, or as their entries say.

    What depends on those in turn is not listed; `pantler invalidate key --cascade` follows it.
    """
    from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

    timeout_s = seconds(timeout, "--timeout")
    with channel(address) as opened:
        stub = invalidation_pb2_grpc.InvalidationServiceStub(opened)

        def ask(token: str) -> "invalidation_pb2.ListDependentsResponse":
            request = invalidation_pb2.ListDependentsRequest(
                namespace=namespace, key=key, page_size=PAGE_SIZE, page_token=token
            )
            answer: invalidation_pb2.ListDependentsResponse = stub.ListDependents(
                request, timeout=timeout_s
            )
            return answer

        listed = [one for page in pages(ask) for one in page.dependents]
    if json:
        print_json([{"key": one.key, "declared": one.declared} for one in listed])
        return
    for one in listed:
        print(f"{one.key!r}, {'as declared' if one.declared else 'as its entry says'}")
