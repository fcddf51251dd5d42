"""`pantler tag`: the tags of entries."""

import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

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
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from pantler.v1 import tag_pb2

Tags = Annotated[list[str], typer.Argument(help="The tags.", metavar="TAG...")]

tag_app = typer.Typer(
    no_args_is_help=True,
    help="Look at the tags of entries, and change them.\n\n"
    "Tags are given to an entry when it is set (`pantler set --tag`); `pantler invalidate tag` "
    "invalidates all entries that have one.",
)


@tag_app.command()
def add(
    namespace: Namespace,
    key: Key,
    tags: Tags,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Give an entry more tags, as if it had had them since its value was fetched.

    If one of them was invalidated since, nobody is given the entry any more. If there is no entry,
    the exit code is 1.
    """
    from pantler.v1 import tag_pb2, tag_pb2_grpc

    with channel(address) as opened:
        request = tag_pb2.AddTagsRequest(namespace=namespace, key=key, tags=tags)
        answer = tag_pb2_grpc.TagServiceStub(opened).AddTags(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"found": answer.found, "visible": answer.visible})
    elif answer.visible:
        print("added")
    elif answer.found:
        print("added; the entry is stale or hidden: `pantler why` says by what")
    if not answer.found:
        _miss(namespace, key, json)


@tag_app.command()
def remove(
    namespace: Namespace,
    key: Key,
    tags: Tags,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Take tags from an entry. If there is no entry, the exit code is 1."""
    from pantler.v1 import tag_pb2, tag_pb2_grpc

    with channel(address) as opened:
        request = tag_pb2.RemoveTagsRequest(namespace=namespace, key=key, tags=tags)
        answer = tag_pb2_grpc.TagServiceStub(opened).RemoveTags(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"found": answer.found})
    elif answer.found:
        print("removed")
    if not answer.found:
        _miss(namespace, key, json)


@tag_app.command("list")
def list_(
    namespace: Namespace,
    key: Key,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List the tags of an entry. If there is no entry, the exit code is 1."""
    from pantler.v1 import tag_pb2, tag_pb2_grpc

    with channel(address) as opened:
        request = tag_pb2.ListTagsRequest(namespace=namespace, key=key)
        answer = tag_pb2_grpc.TagServiceStub(opened).ListTags(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"found": answer.found, "tags": list(answer.tags)})
    else:
        for tag in answer.tags:
            print(repr(tag))
    if not answer.found:
        _miss(namespace, key, json)


@tag_app.command()
def keys(
    namespace: Namespace,
    tag: Annotated[str, typer.Argument(help="The tag.")],
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List the keys whose entries have a tag, in namespaces that are configured with `tag_index`.

    Stale entries are listed too, and said to be so. To invalidate them all, `pantler invalidate
    tag` needs no such index.
    """
    from pantler.v1 import tag_pb2, tag_pb2_grpc

    timeout_s = seconds(timeout, "--timeout")
    with channel(address) as opened:
        stub = tag_pb2_grpc.TagServiceStub(opened)

        def ask(token: str) -> "tag_pb2.ListTaggedKeysResponse":
            request = tag_pb2.ListTaggedKeysRequest(
                namespace=namespace, tag=tag, page_size=PAGE_SIZE, page_token=token
            )
            answer: tag_pb2.ListTaggedKeysResponse = stub.ListTaggedKeys(request, timeout=timeout_s)
            return answer

        listed = [one for page in pages(ask) for one in page.keys]
    if json:
        print_json([{"key": one.key, "stale": one.stale} for one in listed])
        return
    for one in listed:
        print(f"{one.key!r}{', stale' if one.stale else ''}")


def _miss(namespace: str, key: str, json: bool) -> NoReturn:
    if not json:
        print(f"pantler: no entry {key!r} in {namespace!r}", file=sys.stderr)
    raise typer.Exit(ExitCode.MISS)
