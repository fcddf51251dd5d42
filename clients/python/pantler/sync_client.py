"""The synchronous client. Made from `pantler.client` by `make gen`: don't edit it.

with pantler.Client("127.0.0.1:50051") as client:
    client.set("users", "42", b"Ada", ttl=timedelta(minutes=5))
    entry = client.get("users", "42")
"""

# ruff: noqa: A002

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from pantler.blocking import BlockingClient, BlockingContext, BlockingStream, decorating, in_caller
from pantler.blocking_cached import BlockingCachedFunction, cached
from pantler.cdn_model import CachePolicy, EdgeValue, PurgeStatus
from pantler.channel_subscription import ChannelSubscription as AsyncChannelSubscription
from pantler.client import AsyncClient
from pantler.codecs import Codec
from pantler.counter_model import CounterResult
from pantler.geo_model import NearbyLocation, Point
from pantler.leaderboard_model import (
    Board,
    BoardPage,
    MemberRanks,
    ScoreEntry,
    ScorePage,
    ScorePolicy,
    SubmittedScore,
    SubmittedScores,
)
from pantler.loop_thread import LoopThread
from pantler.model import (
    AddTagsResult,
    ChannelGap,
    ChannelMessage,
    Dependent,
    Description,
    Entry,
    HotKey,
    InvalidatedKeys,
    PatternProgress,
    PublishedEvent,
    SetResult,
    TaggedKey,
    WarmProgress,
    WatchMessage,
)
from pantler.namespace import Namespace as AsyncNamespace
from pantler.near_cache import NearCache, NearCacheStats
from pantler.permits import Permits as AsyncPermits
from pantler.rate_limit_model import (
    AllDecision,
    Decision,
    RateLimitCheck,
    RateLimitRule,
    RefundResult,
)
from pantler.record_model import (
    DeadWrite,
    DeleteResult,
    FlushResult,
    Operation,
    PutResult,
    Record,
    WriteBacklog,
)
from pantler.telemetry import Hook
from pantler.warming import Warming as AsyncWarming
from pantler.watch import InvalidationWatch as AsyncInvalidationWatch

T = TypeVar("T")
P = ParamSpec("P")


class ChannelSubscription(BlockingStream[ChannelMessage | ChannelGap]):
    """What is published to some channels; `for` gives the messages, and gaps between them.

    When the server or the connection goes away it goes on where it was, as soon as it can; where
    the namespace keeps no history, with a gap. It raises only what its first attempt fails with,
    and what trying again does not help against.
    """

    def __init__(self, thread: LoopThread, of: AsyncChannelSubscription) -> None:
        super().__init__(thread, of)
        self._async = of

    @property
    def sequence(self) -> int:
        return self._async.sequence


class InvalidationWatch(BlockingStream[WatchMessage]):
    """What happens in some namespaces; `for` gives the messages.

    When the server or the connection goes away it goes on where it was, as soon as it can. What
    was lost meanwhile is a gap. It raises only what its first attempt fails with, and what trying
    again does not help against.
    """

    def __init__(self, thread: LoopThread, of: AsyncInvalidationWatch) -> None:
        super().__init__(thread, of)
        self._async = of

    @property
    def resume_token(self) -> str:
        return self._async.resume_token


class Namespace(Generic[T]):
    """What `AsyncClient.namespace` gives: the client's calls, for values and not for bytes.

    Each does what the client's of its name does, and raises what that raises; also EncodeError for
    a value that the codec does not take, and DecodeError for what another codec has stored. Where
    several keys are read, that is among the errors of a PartialFailure, and the others are in its
    results. `tags` are those of the namespace and those of the call; a `ttl` of the call is instead
    of the namespace's.

    A codec may take None, as JSON does. `get` does not tell it from a miss; `get_many`,
    `get_or_set` and `cached` do.
    """

    def __init__(self, thread: LoopThread, of: AsyncNamespace[T]) -> None:
        self._thread = thread
        self._async = of

    @property
    def name(self) -> str:
        return self._async.name

    @property
    def codec(self) -> Codec[T]:
        return self._async.codec

    def get(self, key: str, *, accept_stale: bool = False) -> T | None:
        """The value; None if there is none."""
        return self._thread.run(self._async.get(key, accept_stale=accept_stale))

    def get_many(self, keys: Iterable[str]) -> dict[str, T]:
        """The values that are there, by key."""
        return self._thread.run(self._async.get_many(keys))

    def get_or_set(
        self,
        key: str,
        fetch: Callable[[], T],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        accept_stale: bool | None = None,
    ) -> T:
        """The value; if there is none, what `fetch` gives, which is stored. All callers get what
        the codec reads, also the one that fetches."""
        return self._thread.run(
            self._async.get_or_set(
                key,
                in_caller(fetch),
                ttl=ttl,
                tags=tags,
                depends_on=depends_on,
                accept_stale=accept_stale,
            )
        )

    def get_many_or_set(
        self,
        keys: Iterable[str],
        fetch: Callable[[Sequence[str]], Mapping[str, T]],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        accept_stale: bool | None = None,
    ) -> dict[str, T]:
        """As `get_or_set` for many keys, with one call of `fetch` for all that this caller is to
        fetch, up to 1,000. If the codec does not take one of its values, it has failed."""
        return self._thread.run(
            self._async.get_many_or_set(
                keys,
                in_caller(fetch),
                ttl=ttl,
                tags=tags,
                depends_on=depends_on,
                accept_stale=accept_stale,
            )
        )

    def set(
        self,
        key: str,
        value: T,
        *,
        ttl: timedelta | None = None,
        sliding: bool | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        if_absent: bool = False,
        if_present: bool = False,
        if_version: int | None = None,
        request_id: str = "",
    ) -> SetResult:
        """Stores a value."""
        return self._thread.run(
            self._async.set(
                key,
                value,
                ttl=ttl,
                sliding=sliding,
                tags=tags,
                depends_on=depends_on,
                if_absent=if_absent,
                if_present=if_present,
                if_version=if_version,
                request_id=request_id,
            )
        )

    def set_many(
        self,
        values: Mapping[str, T],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
    ) -> dict[str, SetResult]:
        """Stores values, each on its own. If the codec does not take one of them, none is
        stored."""
        return self._thread.run(
            self._async.set_many(values, ttl=ttl, tags=tags, depends_on=depends_on)
        )

    def touch(self, key: str, ttl: timedelta | None = None) -> datetime | None:
        """Gives an entry a new ttl from now on; when it expires then, None if there is none."""
        return self._thread.run(self._async.touch(key, ttl))

    def delete(self, key: str, *, if_version: int | None = None) -> bool:
        """Removes an entry; whether it was there."""
        return self._thread.run(self._async.delete(key, if_version=if_version))

    def delete_many(self, keys: Iterable[str]) -> dict[str, bool]:
        """Removes entries; whether each was there."""
        return self._thread.run(self._async.delete_many(keys))

    def invalidate_keys(
        self, keys: Iterable[str], *, soft: bool = False, cascade: bool = False
    ) -> InvalidatedKeys:
        """Invalidates keys, and with `cascade` what depends on them."""
        return self._thread.run(self._async.invalidate_keys(keys, soft=soft, cascade=cascade))

    def invalidate_tags(self, tags: Iterable[str], *, soft: bool = False) -> None:
        """Invalidates every entry that has one of the tags."""
        return self._thread.run(self._async.invalidate_tags(tags, soft=soft))

    def cached(
        self,
        key: str | None = None,
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        accept_stale: bool | None = None,
    ) -> Callable[[Callable[P, T]], BlockingCachedFunction[P, T]]:
        """Makes a function or method keep its results, by `get_or_set`.

            @users.cached("user:{user_id}", ttl=timedelta(minutes=5), tags=["team:{team_id}"])
            def load_user(user_id: int, team_id: int) -> User: ...

            load_user(42, team_id=7)  # of all callers that miss it at once, one loads
            load_user.invalidate(42, team_id=7)

        `key` and each of `tags` and `depends_on` is a template: `{…}` stands for an argument of the
        call, or its default, as in `str.format` (`{user.id}`, `{day:%Y-%m}`, `{price!s}`). A value
        is text, a number without a fraction, a boolean, None, bytes (as hex), a UUID, a date or
        time, or an Enum (its value); for others, as a float, say how they look: `{x!s}`. Between
        two fields stands some character, as ":", which is written %3A in the value before it.
        Values that look the same in a template make one key: 1 and "1" do.

        Without a `key` it is made of the function's module and qualified name, and of all its
        arguments with their types, so that 1, "1" and True differ; `self` and `cls` of a method are
        left out: where results depend on them, name them in a template (`{self.id}`). A function
        that uses variables of a function around it needs a template.

        In the namespace's grace and with `accept_stale` a stale value is given at once, and the
        function called in the background. None is kept if the codec takes it. Over `@classmethod`
        and `@staticmethod` it goes outside.

        Raises ValueError if a template does not fit the function. A call raises UncacheableArgument
        if an argument makes no key, or one of over 512 bytes (a tag: 256), or with control
        characters.
        """
        return cached(
            self._thread,
            self._async,
            key,
            ttl=ttl,
            tags=tags,
            depends_on=depends_on,
            accept_stale=accept_stale,
        )


class Permits(BlockingContext[Decision]):
    """Those of one block: `with` gives the Decision. `RateLimitCalls.slot` says what is
    raised."""

    def __init__(self, thread: LoopThread, of: AsyncPermits) -> None:
        super().__init__(thread, of)
        self._async = of


class Warming(BlockingStream[WarmProgress]):
    """A warming; `for` gives its progress about twice a second, up to one that is `done`.

    When the server or the connection goes away it goes on where it was, as soon as it can. It
    raises what its first attempt fails with, and what trying again does not help against; also
    Unavailable if the server has given up, since the system of record has failed for half a minute.
    """

    def __init__(self, thread: LoopThread, of: AsyncWarming) -> None:
        super().__init__(thread, of)
        self._async = of

    @property
    def resume_token(self) -> str:
        """With it another warming of the same keys goes on after the newest progress."""
        return self._async.resume_token


class Client(BlockingClient):
    """A connection to a Pantler, for any number of threads.

    `address` is host:port. `timeout` bounds each call to the server; a batch of more than 1,000
    keys takes several, one after the other. All methods raise the errors of `pantler.errors`.

    After 5 calls in a row that the server did not answer, it is left alone for a second, and longer
    from try to try, up to 30 s: calls then fail at once, with Unavailable and as `retry_after` what
    is left of that. After it one call tries again. What the server answers with does not count,
    Unavailable neither where its Redis is away.

    With `on_unavailable="fetch"` a program lives without its cache: where the server or its Redis
    is away or too slow (Unavailable, DeadlineExceeded), `get_or_set`, `get_many_or_set` and
    `cached` give what the fetch gives, and don't store it; each caller fetches for itself. `get`
    and `get_many` miss. Everything else raises as it does without. `timeout` is then what a caller
    may wait for a cache that hangs, twice that in `get_or_set`, before the server is left alone.

    `hooks` are told of all calls: `pantler.telemetry.Hook`.

    `near_cache`: which entries it keeps in its own memory, and for how long (`pantler.NearCache`).
    """

    def namespace(
        self,
        name: str,
        *,
        codec: Codec[T],
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        accept_stale: bool = True,
    ) -> Namespace[T]:
        """A view of a namespace whose values are all of one kind; nothing is asked of the server.

            users = client.namespace("users", codec=codecs.of(User), ttl=timedelta(minutes=5))
            user = users.get_or_set("42", fetch_user)

        `ttl` is what values are stored with where a call gives none, and `tags` what they have
        beside those of the call. `accept_stale` is for `get_or_set`, `get_many_or_set` and
        `cached`.
        """
        return Namespace(
            self._thread,
            self._async.namespace(name, codec=codec, ttl=ttl, tags=tags, accept_stale=accept_stale),
        )

    def get(self, namespace: str, key: str, *, accept_stale: bool = False) -> Entry | None:
        """The entry; None if there is none. `accept_stale`: one that has expired, or was
        invalidated `soft`, will do for as long as the namespace's grace says."""
        return self._thread.run(self._async.get(namespace, key, accept_stale=accept_stale))

    def get_or_set(
        self,
        namespace: str,
        key: str,
        fetch: Callable[[], bytes],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        content_type: str = "",
        accept_stale: bool = True,
    ) -> bytes:
        """The value; if there is none, what `fetch` gives, which is stored.

        Of all callers on all machines that miss the key at once, one fetches; the others wait for
        its value, however long it takes. If the fetch fails, its
        caller gets its error, and so do those of this client that waited for the key when it began;
        of all others the next one fetches. With `accept_stale`, in the namespace's
        grace the stale value is given at once while this client fetches in the background (as it
        does for a fresh one that is soon due), or after the fetch has failed.
        """
        return self._thread.run(
            self._async.get_or_set(
                namespace,
                key,
                in_caller(fetch),
                ttl=ttl,
                tags=tags,
                depends_on=depends_on,
                content_type=content_type,
                accept_stale=accept_stale,
            )
        )

    def get_many_or_set(
        self,
        namespace: str,
        keys: Iterable[str],
        fetch: Callable[[Sequence[str]], Mapping[str, bytes]],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        content_type: str = "",
        accept_stale: bool = True,
    ) -> dict[str, bytes]:
        """As `get_or_set` for many keys, with one call of `fetch` for all that this caller is to
        fetch, up to 1,000. Keys that `fetch` leaves out have no value: they are not stored, and not
        returned. Raises PartialFailure if some keys could not be read, or their values were
        refused."""
        return self._thread.run(
            self._async.get_many_or_set(
                namespace,
                keys,
                in_caller(fetch),
                ttl=ttl,
                tags=tags,
                depends_on=depends_on,
                content_type=content_type,
                accept_stale=accept_stale,
            )
        )

    def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        ttl: timedelta | None = None,
        sliding: bool | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        content_type: str = "",
        if_absent: bool = False,
        if_present: bool = False,
        if_version: int | None = None,
        request_id: str = "",
    ) -> SetResult:
        """Stores an entry; without a ttl it lives as long as the namespace's default says.

        `sliding`: whether reads let it live for its ttl again. `tags` and `depends_on`, other keys
        that the value was made from: `invalidate_tags` of one of those, or `invalidate_keys` of one
        of these with `cascade`, hides the entry. At most one condition may be given;
        it is judged on what `get` would give. `request_id`: repeated within 10 minutes, the call
        stores nothing and gives the first result again.
        """
        return self._thread.run(
            self._async.set(
                namespace,
                key,
                value,
                ttl=ttl,
                sliding=sliding,
                tags=tags,
                depends_on=depends_on,
                content_type=content_type,
                if_absent=if_absent,
                if_present=if_present,
                if_version=if_version,
                request_id=request_id,
            )
        )

    def touch(self, namespace: str, key: str, ttl: timedelta | None = None) -> datetime | None:
        """Gives an entry a new ttl from now on, the namespace's default if none; when it expires
        then, None if there is no entry."""
        return self._thread.run(self._async.touch(namespace, key, ttl))

    def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Removes an entry, with `if_version` only that version of it; whether it was there."""
        return self._thread.run(self._async.delete(namespace, key, if_version=if_version))

    def describe(self, namespace: str, key: str) -> Description:
        """Everything about a key but its value, and why there is none. For looking into something:
        it is no faster than `get`."""
        return self._thread.run(self._async.describe(namespace, key))

    def get_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Entry]:
        """The entries that are there, by key. Raises PartialFailure if some could not be read."""
        return self._thread.run(self._async.get_many(namespace, keys))

    def near_cache_stats(self) -> NearCacheStats:
        """What the near cache did, and how large it is; all 0 if there is none."""
        return self._async.near_cache_stats()

    def set_many(
        self,
        namespace: str,
        values: Mapping[str, bytes],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        content_type: str = "",
    ) -> dict[str, SetResult]:
        """Stores entries, each on its own, all with these tags and dependencies. Raises
        PartialFailure if some could not be stored."""
        return self._thread.run(
            self._async.set_many(
                namespace,
                values,
                ttl=ttl,
                tags=tags,
                depends_on=depends_on,
                content_type=content_type,
            )
        )

    def delete_many(self, namespace: str, keys: Iterable[str]) -> dict[str, bool]:
        """Removes entries; whether each was there. Raises PartialFailure if some could not be
        removed."""
        return self._thread.run(self._async.delete_many(namespace, keys))

    def add_tags(self, namespace: str, key: str, tags: Iterable[str]) -> AddTagsResult:
        """Gives an entry more tags, as if they had been there since its fill began: if one of them
        was invalidated since, the entry is hidden now."""
        return self._thread.run(self._async.add_tags(namespace, key, tags))

    def remove_tags(self, namespace: str, key: str, tags: Iterable[str]) -> bool:
        """Takes tags from an entry; whether there was one. It brings nothing back that is
        hidden."""
        return self._thread.run(self._async.remove_tags(namespace, key, tags))

    def tags(self, namespace: str, key: str) -> tuple[str, ...] | None:
        """The tags of an entry, in the order in which they were given; None if there is no
        entry."""
        return self._thread.run(self._async.tags(namespace, key))

    def tagged_keys(self, namespace: str, tag: str) -> Iterator[TaggedKey]:
        """The keys whose entries have a tag, in no order that means anything.

        For looking into things, in namespaces with `tag_index: true` (elsewhere it raises
        FailedPrecondition). An entry that changes meanwhile may come twice or not at all.
        """
        return self._thread.iterate(self._async.tagged_keys(namespace, tag))

    def invalidate_keys(
        self, namespace: str, keys: Iterable[str], *, soft: bool = False, cascade: bool = False
    ) -> InvalidatedKeys:
        """Invalidates keys, and with `cascade` what depends on them, what depends on that, and so
        on; which they were.

        Raises CascadeTooWide if that reaches too far. Of more than 1,000 keys some may fail: then
        it raises PartialFailure, whose `results` have the others.
        """
        return self._thread.run(
            self._async.invalidate_keys(namespace, keys, soft=soft, cascade=cascade)
        )

    def invalidate_tags(self, namespace: str, tags: Iterable[str], *, soft: bool = False) -> None:
        """Invalidates every entry that has one of the tags, however many these are. Of more than
        1,000 tags some may fail, as in `invalidate_keys`."""
        return self._thread.run(self._async.invalidate_tags(namespace, tags, soft=soft))

    def invalidate_namespace(self, namespace: str, *, soft: bool = False) -> int:
        """Invalidates all entries of a namespace; its version, which grows with each such call."""
        return self._thread.run(self._async.invalidate_namespace(namespace, soft=soft))

    def invalidate_older_than(
        self, namespace: str, created_before: datetime, *, soft: bool = False
    ) -> None:
        """Invalidates all entries of a namespace whose `create_time` is before a time, which is
        aware of its zone and not in the future."""
        return self._thread.run(
            self._async.invalidate_older_than(namespace, created_before, soft=soft)
        )

    def invalidate_pattern(
        self, namespace: str, pattern: str, *, dry_run: bool = False
    ) -> Generator[PatternProgress, None, None]:
        r"""Removes the entries whose keys match a pattern, while its progress is read; with
        `dry_run` it only counts them.

            for progress in client.invalidate_pattern("users", "session:*"):
                print(progress.scanned, "of", progress.total)

        In a pattern `*` is any text, `?` any one character, `[a-z]` one of those, `[^a-z]` one
        other, and `\` takes the meaning from the character after it. It walks over all keys of
        Redis, for as long as that takes: the client's timeout does not bound it. To stop it leave
        the loop; what was removed until then stays removed.
        """
        return self._thread.iterate(
            self._async.invalidate_pattern(namespace, pattern, dry_run=dry_run)
        )

    def declare_dependencies(self, namespace: str, key: str, depends_on: Iterable[str]) -> None:
        """Says what a key depends on, whatever is stored there, in place of what was said before;
        nothing at all takes it back. It holds until it is declared anew."""
        return self._thread.run(self._async.declare_dependencies(namespace, key, depends_on))

    def dependents(self, namespace: str, key: str) -> Iterator[Dependent]:
        """The keys that directly depend on a key, in no order that means anything. One that was
        declared to, and whose entry says so too, may come twice."""
        return self._thread.iterate(self._async.dependents(namespace, key))

    def publish_event(
        self, event_type: str, fields: Mapping[str, Any] | None = None, *, event_id: str = ""
    ) -> PublishedEvent:
        """Says that something happened; the event rules of the server's configuration say what that
        invalidates, and the answer what it was. Of a type that no rule is for, nothing.

        `fields` are as in JSON: text, numbers, booleans, None, lists and mappings. Give whole
        numbers of 2^53 and beyond as text. `event_id`: repeated within 10 minutes, the call does
        nothing and gives the first answer again. After an error repeat the call, with the same id.

        Raises InvalidArgument, and nothing was done, if a rule needs a field that is not there.
        """
        return self._thread.run(self._async.publish_event(event_type, fields, event_id=event_id))

    def watch_invalidations(
        self,
        *namespaces: str,
        resume_token: str = "",
        heartbeat_interval: timedelta = timedelta(seconds=5),
    ) -> InvalidationWatch:
        """Tells what happens in up to 100 namespaces, as it happens.

            for message in client.watch_invalidations("users", "pages"):
                for event in message.events:
                    print(event.namespace, event.kind, event.name)
                for namespace in message.gaps:
                    print("anything may have changed in", namespace)

        It goes on by itself when the server comes back. To go on in another process, keep its
        `resume_token` whenever a message has been dealt with, and give it to the next watch. To
        stop it leave the loop. A heartbeat interval is 1 s to 60 s.
        """
        return InvalidationWatch(
            self._thread,
            self._thread.call(
                self._async.watch_invalidations,
                *namespaces,
                resume_token=resume_token,
                heartbeat_interval=heartbeat_interval,
            ),
        )

    def acquire(
        self, subject: str, rule: str | RateLimitRule, *, cost: int = 1, request_id: str = ""
    ) -> Decision:
        """Takes permits, if they are there.

            if not client.acquire("user:42", "api"):
                ...  # too many: say so

        After an error the permits may have been taken or not. With a `request_id`, such as a UUID,
        the call may be repeated: within 10 minutes it gets the first answer again.
        """
        return self._thread.run(
            self._async.acquire(subject, rule, cost=cost, request_id=request_id)
        )

    def acquire_all(self, checks: Iterable[RateLimitCheck], *, request_id: str = "") -> AllDecision:
        """Takes permits from all of up to 100 rules and subjects, or from none. `request_id` as in
        `acquire`."""
        return self._thread.run(self._async.acquire_all(checks, request_id=request_id))

    def peek(self, subject: str, rule: str | RateLimitRule, *, cost: int = 1) -> Decision:
        """What an `acquire` would say now. It takes nothing."""
        return self._thread.run(self._async.peek(subject, rule, cost=cost))

    def reset(self, subject: str, rule: str | RateLimitRule) -> None:
        """Forgets what a subject has taken; its slots are held by nobody then."""
        return self._thread.run(self._async.reset(subject, rule))

    def refund(
        self, subject: str, rule: str | RateLimitRule, *, cost: int = 1, request_id: str = ""
    ) -> RefundResult:
        """Gives permits back that were taken and not used. Once their window is over, it gives back
        what was taken in the next. `request_id` as in `acquire`, but another one."""
        return self._thread.run(self._async.refund(subject, rule, cost=cost, request_id=request_id))

    def renew_slot(self, subject: str, rule: str | RateLimitRule, slot_id: str) -> timedelta:
        """Holds a slot for the rule's window from now on, which is returned. Raises SlotNotHeld.
        `slot` does this by itself."""
        return self._thread.run(self._async.renew_slot(subject, rule, slot_id))

    def release_slot(self, subject: str, rule: str | RateLimitRule, slot_id: str) -> None:
        """Gives a slot to whoever asks next. Raises SlotNotHeld if it had expired, or was
        released."""
        return self._thread.run(self._async.release_slot(subject, rule, slot_id))

    def list_rules(self) -> dict[str, RateLimitRule]:
        """The rules of the server's configuration, by name."""
        return self._thread.run(self._async.list_rules())

    def slot(
        self,
        subject: str,
        rule: str | RateLimitRule,
        *,
        cost: int = 1,
        wait: timedelta = timedelta(0),
    ) -> Permits:
        """Holds a slot of a concurrency rule for the time of a block, however long that is.

            with client.slot("tenant:7", "reports", wait=timedelta(seconds=5)):
                ...  # no more of these at once, on all machines, than the rule allows

        Waits up to `wait` for a slot, then raises RateLimited. While the block runs the slot is
        renewed. If it is lost all the same (the subject was reset, or the server was away for the
        rule's window), SlotNotHeld is raised at the end of the block:
        another may hold the slot by then.
        """
        return Permits(
            self._thread, self._thread.call(self._async.slot, subject, rule, cost=cost, wait=wait)
        )

    def rate_limited(
        self,
        rule: str | RateLimitRule,
        *,
        subject: str | Callable[..., str],
        cost: int = 1,
        wait: timedelta = timedelta(0),
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Makes a function or method acquire before each call.

            @client.rate_limited("api", subject="user:{user_id}")
            def search(user_id: int, text: str) -> list[str]: ...

        `subject` is a template as `Namespace.cached` has for keys, in which `{…}` stands for an
        argument of the call, or a function that is given the call's arguments. Raises ValueError if
        the template does not fit the function; a call raises UncacheableArgument if an argument
        makes no subject. If denied, waits for the permits if that takes no longer than `wait`; else
        raises RateLimited, and the function is not called. Of a concurrency rule the slot is held
        while the function runs, as by `slot`; but where slots are waited for use `slot` itself,
        since only that looks whether one was released early.
        """
        return decorating(
            self._thread, self._async.rate_limited(rule, subject=subject, cost=cost, wait=wait)
        )

    def submit_scores(
        self,
        namespace: str,
        board: str,
        scores: Mapping[str, float] | Iterable[ScoreEntry],
        *,
        policy: ScorePolicy = "set",
        request_id: str = "",
    ) -> SubmittedScores:
        """Submits 1 to 1,000 scores, all or none, and tells the ranks before and after.

            client.submit_scores("games", "arcade", {"ada": 990, "bob": 870}, policy="best")

        The `policy` says what becomes of a score that is there: "set" replaces it, "best" keeps the
        better of both, "increment" adds to it. A member may come several times, as ScoreEntries,
        which are applied in their order.

        More than 1,000 are refused, not split: they would no longer be all or none. After an error
        the scores may have been applied or not. With a `request_id`, such as a UUID, the call may
        be repeated: within 10 minutes it gets the first answer again.
        """
        return self._thread.run(
            self._async.submit_scores(
                namespace, board, scores, policy=policy, request_id=request_id
            )
        )

    def submit_score(
        self,
        namespace: str,
        board: str,
        member: str,
        score: float,
        *,
        policy: ScorePolicy = "set",
        attributes: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> SubmittedScore:
        """As `submit_scores`, of one member. `attributes` as in ScoreEntry."""
        return self._thread.run(
            self._async.submit_score(
                namespace,
                board,
                member,
                score,
                policy=policy,
                attributes=attributes,
                request_id=request_id,
            )
        )

    def get_ranks(
        self,
        namespace: str,
        board: str,
        members: Iterable[str],
        *,
        shared_ranks: bool = False,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> MemberRanks:
        """How 1 to 1,000 members rank on the board, and among themselves: a board of friends.

        More than 1,000 are refused, not split: their ranks would be those of different moments.
        """
        return self._thread.run(
            self._async.get_ranks(
                namespace, board, members, shared_ranks=shared_ranks, periods_ago=periods_ago, at=at
            )
        )

    def list_by_rank(
        self,
        namespace: str,
        board: str,
        *,
        start_rank: int = 1,
        limit: int = 10,
        shared_ranks: bool = False,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> BoardPage:
        """The members from a rank on, up to 1,000: by default the best ten. With `shared_ranks`
        too, `start_rank` counts members."""
        return self._thread.run(
            self._async.list_by_rank(
                namespace,
                board,
                start_rank=start_rank,
                limit=limit,
                shared_ranks=shared_ranks,
                periods_ago=periods_ago,
                at=at,
            )
        )

    def list_by_score(
        self,
        namespace: str,
        board: str,
        *,
        min_score: float | None = None,
        max_score: float | None = None,
        limit: int = 10,
        shared_ranks: bool = False,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> ScorePage:
        """The members whose scores are at least `min_score` and at most `max_score`, best first,
        up to 1,000, and how many there are. `list_by_rank` from the last rank on lists the rest."""
        return self._thread.run(
            self._async.list_by_score(
                namespace,
                board,
                min_score=min_score,
                max_score=max_score,
                limit=limit,
                shared_ranks=shared_ranks,
                periods_ago=periods_ago,
                at=at,
            )
        )

    def list_around(
        self,
        namespace: str,
        board: str,
        member: str,
        *,
        limit: int = 11,
        shared_ranks: bool = False,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> BoardPage | None:
        """A member amid those who rank next to it, `limit` in all, up to 1,000: by default five
        better and five worse, as far as there are so many. None if it is not on the board."""
        return self._thread.run(
            self._async.list_around(
                namespace,
                board,
                member,
                limit=limit,
                shared_ranks=shared_ranks,
                periods_ago=periods_ago,
                at=at,
            )
        )

    def remove_members(
        self,
        namespace: str,
        board: str,
        members: Iterable[str],
        *,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> dict[str, bool]:
        """Takes members off the board, or off a period of it; whether each was on it. Of more than
        1,000 some may fail: then it raises PartialFailure."""
        return self._thread.run(
            self._async.remove_members(namespace, board, members, periods_ago=periods_ago, at=at)
        )

    def get_board(
        self,
        namespace: str,
        board: str,
        *,
        percentiles: Iterable[float] = (),
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> Board:
        """The board as a whole: how many members it has, the best and the worst, which periods can
        be read, and up to 100 percentiles, each 0 to 100."""
        return self._thread.run(
            self._async.get_board(
                namespace, board, percentiles=percentiles, periods_ago=periods_ago, at=at
            )
        )

    def delete_board(self, namespace: str, board: str) -> bool:
        """Deletes a board with all its periods; whether there was one."""
        return self._thread.run(self._async.delete_board(namespace, board))

    def add_locations(
        self, namespace: str, set_name: str, locations: Mapping[str, Point | tuple[float, float]]
    ) -> int:
        """Says where members are; how many were not in the set before.

            client.add_locations("shops", "berlin", {"bakery": (13.405, 52.52)})

        Of more than 1,000, raises PartialFailure if some could not be stored.
        """
        return self._thread.run(self._async.add_locations(namespace, set_name, locations))

    def get_locations(
        self, namespace: str, set_name: str, members: Iterable[str]
    ) -> dict[str, Point]:
        """Where members are, without those that are not in the set."""
        return self._thread.run(self._async.get_locations(namespace, set_name, members))

    def remove_locations(
        self, namespace: str, set_name: str, members: Iterable[str]
    ) -> dict[str, bool]:
        """Takes members out of a set; whether each was in it."""
        return self._thread.run(self._async.remove_locations(namespace, set_name, members))

    @overload
    def search_nearby(
        self,
        namespace: str,
        set_name: str,
        *,
        point: Point | tuple[float, float],
        radius_meters: float | None = None,
        box: tuple[float, float] | None = None,
        limit: int = 100,
        farthest_first: bool = False,
    ) -> list[NearbyLocation]: ...

    @overload
    def search_nearby(
        self,
        namespace: str,
        set_name: str,
        *,
        member: str,
        radius_meters: float | None = None,
        box: tuple[float, float] | None = None,
        limit: int = 100,
        farthest_first: bool = False,
    ) -> list[NearbyLocation] | None: ...

    def search_nearby(
        self,
        namespace: str,
        set_name: str,
        *,
        point: Point | tuple[float, float] | None = None,
        member: str | None = None,
        radius_meters: float | None = None,
        box: tuple[float, float] | None = None,
        limit: int = 100,
        farthest_first: bool = False,
    ) -> list[NearbyLocation] | None:
        """The members around a point, or around a member of the set, which is found too; None if
        it is not in the set.

            for shop in client.search_nearby(
                "shops", "berlin", point=(13.4, 52.5), radius_meters=2_000, limit=10
            ):
                print(shop.member, shop.distance_meters)

        The area is a circle, or a `box` of a width and a height in meters. `limit`: 1 to 1,000.
        """
        asked: Any = self._async
        answer: list[NearbyLocation] | None = self._thread.run(
            asked.search_nearby(
                namespace,
                set_name,
                point=point,
                member=member,
                radius_meters=radius_meters,
                box=box,
                limit=limit,
                farthest_first=farthest_first,
            )
        )
        return answer

    def measure_distance(
        self, namespace: str, set_name: str, from_member: str, to_member: str
    ) -> float | None:
        """Meters between two members; None if one of them is not in the set."""
        return self._thread.run(
            self._async.measure_distance(namespace, set_name, from_member, to_member)
        )

    def delete_places(self, namespace: str, set_name: str) -> bool:
        """Deletes a set with all its places; whether there was one."""
        return self._thread.run(self._async.delete_places(namespace, set_name))

    def increment(
        self,
        namespace: str,
        counter: str,
        delta: int = 1,
        *,
        ceiling: int | None = None,
        floor: int | None = None,
        ttl: timedelta | None = None,
        request_id: str = "",
    ) -> CounterResult:
        """Adds to a counter, all of it, or nothing if it would be above the ceiling or below the
        floor then.

            sold = client.increment("shop", "stock:7", -1, floor=0)
            if not sold.applied:
                ...  # none is left

        `ttl`: how long the counter lives from now on. After an error it may have counted or not.
        With a `request_id`, such as a UUID, the call may be repeated: within 10 minutes it gets
        the first answer again.
        """
        return self._thread.run(
            self._async.increment(
                namespace,
                counter,
                delta,
                ceiling=ceiling,
                floor=floor,
                ttl=ttl,
                request_id=request_id,
            )
        )

    def get_counter(self, namespace: str, counter: str) -> int:
        """The value of a counter; 0 if there is none."""
        return self._thread.run(self._async.get_counter(namespace, counter))

    def get_counters(self, namespace: str, counters: Iterable[str]) -> dict[str, int]:
        """The values of the counters that are there. They are not all of one moment."""
        return self._thread.run(self._async.get_counters(namespace, counters))

    def reset_counters(self, namespace: str, counters: Iterable[str]) -> dict[str, int]:
        """Lets counters begin anew; what those that were there had come to.

        If the answer is lost, so is that: where it counts, take the value off with an `increment`
        that has a `request_id`.
        """
        return self._thread.run(self._async.reset_counters(namespace, counters))

    def add_unique(
        self, namespace: str, set_name: str, members: Iterable[str], *, ttl: timedelta | None = None
    ) -> bool:
        """Lets a set have seen members; whether its count may have changed.

        The set takes 12 KiB at most, however many it has seen: it knows how many, and not whom.
        """
        return self._thread.run(self._async.add_unique(namespace, set_name, members, ttl=ttl))

    def count_unique(self, namespace: str, sets: Iterable[str]) -> int:
        """How many different members up to 100 sets have seen together, give or take 0.81 %: one
        standard error."""
        return self._thread.run(self._async.count_unique(namespace, sets))

    def merge_unique(
        self, namespace: str, into: str, sets: Iterable[str], *, ttl: timedelta | None = None
    ) -> int:
        """Lets a set have seen what up to 100 others have, as a month from its days; how many
        different members it has seen then."""
        return self._thread.run(self._async.merge_unique(namespace, into, sets, ttl=ttl))

    def delete_unique(self, namespace: str, sets: Iterable[str]) -> dict[str, bool]:
        """Deletes sets; whether each was there."""
        return self._thread.run(self._async.delete_unique(namespace, sets))

    def publish(
        self,
        namespace: str,
        channel: str,
        payload: bytes,
        *,
        content_type: str = "",
        request_id: str = "",
    ) -> int:
        """Sends a message to a channel; its sequence, 0 in a namespace without a history.

        `request_id`: repeated within 10 minutes, the call sends nothing and gives the first answer
        again. After an OutcomeUnknown, repeat the call with the same id.
        """
        return self._thread.run(
            self._async.publish(
                namespace, channel, payload, content_type=content_type, request_id=request_id
            )
        )

    def subscribe(
        self,
        namespace: str,
        *channels: str,
        patterns: Iterable[str] = (),
        resume_after: int | None = None,
        heartbeat_interval: timedelta = timedelta(seconds=5),
    ) -> ChannelSubscription:
        """What is published to up to 100 channels, and to those whose names match one of up to 100
        patterns, which are as those of `invalidate_pattern`.

            for item in client.subscribe("shop", "orders", patterns=["stock:*"]):
                match item:
                    case pantler.ChannelMessage(channel, payload):
                        print(channel, payload)
                    case pantler.ChannelGap(reason):
                        print("messages may be missing:", reason)

        It goes on by itself when the server comes back. With a history, to go on in another process
        keep its `sequence` whenever a message has been dealt with, and give it as `resume_after`; 0
        is all that is kept. To stop it leave the loop. A heartbeat interval is 1 s to 60 s.
        """
        return ChannelSubscription(
            self._thread,
            self._thread.call(
                self._async.subscribe,
                namespace,
                *channels,
                patterns=patterns,
                resume_after=resume_after,
                heartbeat_interval=heartbeat_interval,
            ),
        )

    def get_record(self, namespace: str, key: str, *, force_refresh: bool = False) -> Record | None:
        """A record; None if there is none. What is not cached is loaded, with `force_refresh` also
        what is."""
        return self._thread.run(self._async.get_record(namespace, key, force_refresh=force_refresh))

    def get_records(
        self, namespace: str, keys: Iterable[str], *, force_refresh: bool = False
    ) -> dict[str, Record]:
        """The records that there are, by key. Of each 1,000 what is not cached is loaded with one
        query. Raises PartialFailure if some could not be read."""
        return self._thread.run(
            self._async.get_records(namespace, keys, force_refresh=force_refresh)
        )

    def put_record(
        self,
        namespace: str,
        key: str,
        fields: Mapping[str, Any],
        *,
        operation: Operation = "upsert",
        request_id: str | None = None,
    ) -> PutResult:
        """Writes a record.

            client.put_record("users", "42", {"name": "Ada", "balance": Decimal("12.50")})

        The `operation` says what becomes of a record that is there: "upsert" replaces it (what is
        not given takes the origin's default), "update" sets the given fields, keeps the others and
        raises RecordMissing if there is none, "insert" raises RecordExists if there is one.
        """
        return self._thread.run(
            self._async.put_record(
                namespace, key, fields, operation=operation, request_id=request_id
            )
        )

    def put_records(
        self,
        namespace: str,
        records: Mapping[str, Mapping[str, Any]],
        *,
        operation: Operation = "upsert",
    ) -> dict[str, PutResult]:
        """Writes records by key, each on its own: it is no transaction. Raises PartialFailure if
        some could not be written."""
        return self._thread.run(self._async.put_records(namespace, records, operation=operation))

    def delete_record(
        self, namespace: str, key: str, *, request_id: str | None = None
    ) -> DeleteResult:
        """Removes a record. Removing what is not there succeeds."""
        return self._thread.run(self._async.delete_record(namespace, key, request_id=request_id))

    def stop_refresh(self, namespace: str, keys: Iterable[str] | Literal["all"]) -> None:
        """Lets what is cached of these keys, or of all, expire instead of refreshing it ahead."""
        return self._thread.run(self._async.stop_refresh(namespace, keys))

    def flush_writes(self, namespace: str, *, timeout: timedelta | None = None) -> FlushResult:
        """Waits until the origin has all writes that were acknowledged before; for `timeout` at the
        longest, up to an hour, or else the client's."""
        return self._thread.run(self._async.flush_writes(namespace, timeout=timeout))

    def write_backlog(self, namespace: str) -> WriteBacklog:
        """How much waits for the origin, and why."""
        return self._thread.run(self._async.write_backlog(namespace))

    def list_dead_writes(self, namespace: str) -> Iterator[DeadWrite]:
        """The writes that the origin refused for good, oldest first."""
        return self._thread.iterate(self._async.list_dead_writes(namespace))

    def retry_dead_writes(self, namespace: str, ids: Iterable[str] | Literal["all"]) -> int:
        """Queues dead writes again, these or all, as the newest of their keys; how many."""
        return self._thread.run(self._async.retry_dead_writes(namespace, ids))

    def discard_dead_writes(self, namespace: str, ids: Iterable[str] | Literal["all"]) -> int:
        """Forgets dead writes, these or all: they are lost then; how many."""
        return self._thread.run(self._async.discard_dead_writes(namespace, ids))

    def build_headers(
        self,
        policy: CachePolicy | None = None,
        *,
        namespace: str = "",
        content: bytes | None = None,
        etag: str | None = None,
        weak: bool = False,
        last_modified: datetime | None = None,
        tags: Iterable[str] = (),
    ) -> dict[str, str]:
        """The headers of a response: Cache-Control and, as far as they apply, CDN-Cache-Control,
        ETag, Last-Modified, Vary, Cache-Tag, Surrogate-Key and xkey.

            policy = pantler.CachePolicy(max_age=timedelta(minutes=1), s_maxage=timedelta(hours=1))
            headers = client.build_headers(policy, content=page, tags=["prices"])

        Without a policy that of the `namespace` is taken. The ETag is given, or made of the
        content; with `weak` it is the same for responses that differ in bytes but not in meaning.
        """
        return self._thread.run(
            self._async.build_headers(
                policy,
                namespace=namespace,
                content=content,
                etag=etag,
                weak=weak,
                last_modified=last_modified,
                tags=tags,
            )
        )

    def check_freshness(
        self,
        *,
        if_none_match: str = "",
        if_modified_since: str = "",
        etag: str = "",
        last_modified: datetime | None = None,
    ) -> bool:
        """Whether a conditional GET or HEAD is answered with 304 Not Modified: the headers of the
        request as they came, against the ETag and the time of the response."""
        return self._thread.run(
            self._async.check_freshness(
                if_none_match=if_none_match,
                if_modified_since=if_modified_since,
                etag=etag,
                last_modified=last_modified,
            )
        )

    def purge(
        self,
        *,
        urls: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        everything: bool = False,
        soft: bool = False,
        target: str = "",
        request_id: str | None = None,
    ) -> str:
        """Has a target, or all, forget what they keep for URLs or with tags (up to 1,000), or
        everything; the id of the purge. It is on its way then, and nothing is lost if the server
        goes away; `wait_purge` waits for its end.

            purge_id = client.purge(tags=["prices"])
            status = client.wait_purge(purge_id)

        With `soft` it only becomes stale, where the target can do that. The call has a request id,
        made up unless it is given, and is sent again if the server is away or went away meanwhile:
        it purges once. With `request_id=""` it is sent once.
        """
        return self._thread.run(
            self._async.purge(
                urls=urls,
                tags=tags,
                everything=everything,
                soft=soft,
                target=target,
                request_id=request_id,
            )
        )

    def get_purge(self, purge_id: str) -> PurgeStatus:
        """What became of a purge, for a day. Raises NotFound if there is none with the id."""
        return self._thread.run(self._async.get_purge(purge_id))

    def wait_purge(
        self, purge_id: str, *, timeout: timedelta = timedelta(minutes=1)
    ) -> PurgeStatus:
        """Waits until no target has the purge still to do; what became of it then. Raises
        DeadlineExceeded if that takes longer: the purge goes on."""
        return self._thread.run(self._async.wait_purge(purge_id, timeout=timeout))

    def put_edge_value(
        self,
        target: str,
        key: str,
        value: bytes,
        *,
        ttl: timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Stores a value at the edge of a target (Cloudflare Workers KV), for good or for a `ttl`
        of 60 s or more. `metadata`, kept beside it, is up to 1,024 bytes as JSON. Other places of
        the vendor may still give the old value for a minute."""
        return self._thread.run(
            self._async.put_edge_value(target, key, value, ttl=ttl, metadata=metadata)
        )

    def get_edge_value(self, target: str, key: str) -> EdgeValue | None:
        """A value from the edge of a target; None if there is none."""
        return self._thread.run(self._async.get_edge_value(target, key))

    def delete_edge_value(self, target: str, key: str) -> None:
        """Deletes a value from the edge of a target. Deleting what is not there succeeds."""
        return self._thread.run(self._async.delete_edge_value(target, key))

    def list_hot_keys(self, namespace: str, *, limit: int = 100) -> tuple[HotKey, ...]:
        """The keys that were read most in the last 5 minutes, most read first; at most 1,000.

        From samples of the reads that reached a server: what this client answers by itself is not
        among them.
        """
        return self._thread.run(self._async.list_hot_keys(namespace, limit=limit))

    def warm(
        self,
        namespace: str,
        *,
        keys: Iterable[str] | None = None,
        all: bool = False,
        hot: bool = False,
        keys_per_second: int | None = None,
        resume_token: str = "",
    ) -> Warming:
        """Loads records of a namespace with a system of record ahead of their use, while its
        progress is read:

            for progress in client.warm("users", all=True):
                print(progress.seen, "keys,", progress.loaded, "loaded")

        Say one of: `keys`, up to 10,000; `all`, what the namespace's `warm` names, or else all
        rows; `hot`, what was read most today and yesterday. At most `keys_per_second` keys are
        looked at, cached or not; None: as the namespace's `warm` says, or 1,000. The client's
        timeout does not bound it. To stop it leave the loop; with the `resume_token` of a progress
        another one goes on from there.
        """
        return Warming(
            self._thread,
            self._thread.call(
                self._async.warm,
                namespace,
                keys=keys,
                all=all,
                hot=hot,
                keys_per_second=keys_per_second,
                resume_token=resume_token,
            ),
        )

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        timeout: timedelta = timedelta(seconds=5),
        coalesce: bool = True,
        near_cache: NearCache | None = None,
        on_unavailable: Literal["raise", "fetch"] = "raise",
        hooks: Iterable[Hook] = (),
    ) -> None:
        super().__init__(
            AsyncClient(
                address,
                timeout=timeout,
                coalesce=coalesce,
                near_cache=near_cache,
                on_unavailable=on_unavailable,
                hooks=hooks,
            )
        )
