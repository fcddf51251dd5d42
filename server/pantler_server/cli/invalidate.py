"""`pantler invalidate`, a command for each way to say what is outdated."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pantler_server.cli.cache import Namespace
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
from pantler_server.cli.confirm import Yes, confirm
from pantler_server.cli.exit_code import ExitCode
from pantler_server.core.duration import parse_duration

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp
    from pantler.v1 import invalidation_pb2

Soft = Annotated[
    bool,
    typer.Option(
        "--soft",
        help="Make the entries stale: programs that accept stale entries are still given them, "
        "for as long as the namespace is configured to, while one fetches the value anew.",
    ),
]

invalidate_app = typer.Typer(
    no_args_is_help=True,
    help="Say that entries are outdated, so that nobody is given them any more.\n\n"
    "When a command is done, no read gives a value that was fetched before it. What it names need "
    "not be there. Commands that reach far ask first.",
)


@invalidate_app.command()
def key(
    namespace: Namespace,
    keys: Annotated[list[str], typer.Argument(help="The keys.", metavar="KEY...")],
    soft: Soft = False,
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade",
            help="Invalidate also what was made from these keys, what was made from that, and so "
            "on, as it was said when it was set (`pantler set --depends-on`) or declared.",
        ),
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Invalidate entries by their keys."""
    from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

    with channel(address) as opened:
        request = invalidation_pb2.InvalidateKeysRequest(
            namespace=namespace, keys=keys, mode=_mode(soft), cascade=cascade
        )
        answer = invalidation_pb2_grpc.InvalidationServiceStub(opened).InvalidateKeys(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json(
            {
                "invalidated": list(answer.invalidated),
                "invalidated_count": answer.invalidated_count,
                "purge_id": answer.purge_id or None,
            }
        )
        return
    named = set(keys)
    for one in answer.invalidated:
        print(f"{one!r}: invalidated{'' if one in named else ', as it depends on them'}")
    if more := answer.invalidated_count - len(answer.invalidated):
        print(f"{more} more: invalidated, as they depend on them")
    _print_purge(answer.purge_id)


@invalidate_app.command()
def tag(
    namespace: Namespace,
    tags: Annotated[list[str], typer.Argument(help="The tags.", metavar="TAG...")],
    soft: Soft = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Invalidate all entries that have one of some tags.

    Tags are given to an entry when it is set (`pantler set --tag`), so that all that have one can
    be invalidated at once, however many they are.
    """
    from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

    with channel(address) as opened:
        request = invalidation_pb2.InvalidateTagsRequest(
            namespace=namespace, tags=tags, mode=_mode(soft)
        )
        answer = invalidation_pb2_grpc.InvalidationServiceStub(opened).InvalidateTags(
            request, timeout=seconds(timeout, "--timeout")
        )
    distinct = list(dict.fromkeys(tags))
    if json:
        print_json({"invalidated": distinct, "purge_id": answer.purge_id or None})
        return
    for one in distinct:
        print(f"{one!r}: invalidated")
    _print_purge(answer.purge_id)


@invalidate_app.command("namespace")
def whole_namespace(
    namespace: Namespace,
    soft: Soft = False,
    yes: Yes = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Invalidate all entries of a namespace."""
    from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

    confirm(f"invalidates all entries of {namespace!r}", yes)
    with channel(address) as opened:
        request = invalidation_pb2.InvalidateNamespaceRequest(namespace=namespace, mode=_mode(soft))
        answer = invalidation_pb2_grpc.InvalidationServiceStub(opened).InvalidateNamespace(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"version": str(answer.version), "purge_id": answer.purge_id or None})
    else:
        print(f"invalidated, version {answer.version} of the namespace")
        _print_purge(answer.purge_id)


@invalidate_app.command(context_settings={"ignore_unknown_options": True})  # -5m is an age
def older_than(
    namespace: Namespace,
    age_or_time: Annotated[
        str,
        typer.Argument(
            help="An age: 10m takes all that is older than ten minutes by this machine's clock, 7d "
            "what is older than a week. Or a time such as 2026-01-31T12:00:00Z.",
        ),
    ],
    soft: Soft = False,
    yes: Yes = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Invalidate all entries of a namespace that are older than an age, or from before a time."""
    from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

    created_before = _time(age_or_time)
    shown = created_before.ToJsonString()
    confirm(f"invalidates all entries of {namespace!r} from before {shown}", yes)
    with channel(address) as opened:
        request = invalidation_pb2.InvalidateOlderThanRequest(
            namespace=namespace, created_before=created_before, mode=_mode(soft)
        )
        answer = invalidation_pb2_grpc.InvalidationServiceStub(opened).InvalidateOlderThan(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"created_before": shown, "purge_id": answer.purge_id or None})
    else:
        print(f"invalidated what is from before {shown}")
        _print_purge(answer.purge_id)


@invalidate_app.command()
def pattern(
    namespace: Namespace,
    pattern: Annotated[
        str,
        typer.Argument(
            help="What a key must match as a whole: * is any text, ? any one character, [a-z] one "
            "of those, [^a-z] one other; \\ takes the meaning from what follows. Put it in quotes.",
        ),
    ],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only count the entries that match, and show a few."),
    ] = False,
    yes: Yes = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Annotated[
        str | None,
        typer.Option(help="How long it may take: 30s, 10m (default: as long as it needs)."),
    ] = None,
    json: Json = False,
) -> None:
    """Remove all entries whose keys match a pattern.

    This looks at every key of Redis, one after the other, and may take minutes; Ctrl-C stops it,
    and what was removed until then stays removed. To invalidate many entries often and at once,
    give them a tag.
    """
    from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

    timeout_s = None if timeout is None else seconds(timeout, "--timeout")
    if not dry_run:
        what = f"removes all entries of {namespace!r} whose keys match {pattern!r}"
        confirm(f"{what}, and at its CDN, if it has one, all of the namespace", yes)
    with channel(address) as opened:
        request = invalidation_pb2.InvalidatePatternRequest(
            namespace=namespace, pattern=pattern, dry_run=dry_run
        )
        stub = invalidation_pb2_grpc.InvalidationServiceStub(opened)
        came_to = _follow(stub.InvalidatePattern(request, timeout=timeout_s), dry_run)
    if json:
        print_json(
            {
                "dry_run": dry_run,
                "scanned": came_to.scanned,
                "total": came_to.total,
                "invalidated": came_to.invalidated,
                "examples": list(came_to.examples),
                "done": came_to.done,
                "purge_id": came_to.purge_id or None,
            }
        )
    elif came_to.done and not dry_run:
        print(f"entries removed: {came_to.invalidated}")
        _print_purge(came_to.purge_id)
    elif came_to.done:
        print(f"entries that match: {came_to.invalidated}")
        for example in came_to.examples:
            print(f"  {example!r}")
    if not came_to.done:
        print(
            f"pantler: stopped at {came_to.scanned} of {came_to.total} keys; entries that "
            f"{'match' if dry_run else 'were removed'} so far: {came_to.invalidated}",
            file=sys.stderr,
        )
        raise typer.Exit(ExitCode.INTERRUPTED)


def _print_purge(purge_id: str) -> None:
    if purge_id:
        print(f"being purged at the CDN: `pantler purge status {purge_id}` tells what became of it")


def _mode(soft: bool) -> "invalidation_pb2.InvalidationMode":
    from pantler.v1 import invalidation_pb2

    if soft:
        return invalidation_pb2.INVALIDATION_MODE_SOFT
    return invalidation_pb2.INVALIDATION_MODE_HARD


def _time(age_or_time: str) -> "Timestamp":
    from google.protobuf.timestamp_pb2 import Timestamp

    time = Timestamp()
    try:
        try:
            age = parse_duration(age_or_time.removeprefix("-"))  # -10m is ten minutes ago too
            time.FromDatetime(datetime.now(UTC) - age)
        except ValueError:
            time.FromJsonString(age_or_time)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{age_or_time!r} is neither an age such as 10m nor a time such as "
            "2026-01-31T12:00:00Z",
            param_hint="AGE_OR_TIME",
        ) from None
    return time


def _follow(
    answers: "Iterable[invalidation_pb2.InvalidatePatternResponse]", dry_run: bool
) -> "invalidation_pb2.InvalidatePatternResponse":
    """The last answer, with the examples of all. It is not `done` if Ctrl-C came first; then the
    call is cancelled when its channel is closed."""
    from pantler.v1 import invalidation_pb2

    came_to = invalidation_pb2.InvalidatePatternResponse()
    counted = "match" if dry_run else "removed"
    with _progress_bar(counted) as show, suppress(KeyboardInterrupt):
        for answer in answers:
            answer.examples[:0] = came_to.examples
            came_to = answer
            show(came_to)
    return came_to


@contextmanager
def _progress_bar(
    counted: str,
) -> "Iterator[Callable[[invalidation_pb2.InvalidatePatternResponse], None]]":
    """A bar on standard error, if that is a terminal; gives what shows an answer on it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"keys, {{task.fields[entries]}} entries {counted}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None, entries=0)

        def show(progress: "invalidation_pb2.InvalidatePatternResponse") -> None:
            bar.update(
                task,
                completed=progress.scanned,
                total=progress.total,
                entries=progress.invalidated,
            )

        yield show
