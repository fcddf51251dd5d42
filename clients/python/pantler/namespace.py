"""A namespace of one kind of values: a typed view of the client."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, cast

from pantler import codecs
from pantler.arguments import checked_ttl, fetched
from pantler.batch import listed
from pantler.cached import CachedFunction
from pantler.codecs import Codec, Encoded
from pantler.errors import DecodeError, EncodeError, PantlerError, PartialFailure
from pantler.model import Entry, InvalidatedKeys, SetResult

if TYPE_CHECKING:
    from pantler.client import AsyncClient

P = ParamSpec("P")
T = TypeVar("T")


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

    def __init__(
        self,
        client: "AsyncClient",
        name: str,
        codec: Codec[T],
        *,
        ttl: timedelta | None,
        tags: Iterable[str],
        accept_stale: bool,
    ) -> None:
        if not all(hasattr(codec, name) for name in ("content_type", "encode", "decode")):
            form = codec.__qualname__ if isinstance(codec, type) else repr(codec)
            raise TypeError(f"{form} is no codec: give codecs.of({form})")
        self.name: str = name
        self.codec: Codec[T] = codec
        self._client = client
        self._ttl = checked_ttl(ttl)
        self._tags = listed(tags)
        self._accept_stale = accept_stale

    async def get(self, key: str, *, accept_stale: bool = False) -> T | None:
        """The value; None if there is none."""
        entry = await self._client.get(self.name, key, accept_stale=accept_stale)
        return None if entry is None else self._decoded(key, _encoded(entry))

    async def get_many(self, keys: Iterable[str]) -> dict[str, T]:
        """The values that are there, by key."""
        errors: dict[str, PantlerError] = {}
        try:
            entries = await self._client.get_many(self.name, keys)
        except PartialFailure as exc:
            entries, errors = cast(dict[str, Entry], exc.results), exc.errors
        return self._all_decoded({key: _encoded(entry) for key, entry in entries.items()}, errors)

    async def get_or_set(
        self,
        key: str,
        fetch: Callable[[], Awaitable[T]],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        accept_stale: bool | None = None,
    ) -> T:
        """The value; if there is none, what `fetch` gives, which is stored. All callers get what
        the codec reads, also the one that fetches."""

        near = self._client._near
        if near is not None and (kept := near.find(self.name, key)) is not None:
            return self._decoded(key, _encoded(kept))

        async def fetch_it(_: Sequence[str]) -> dict[str, T]:
            return {key: await fetched(fetch())}

        values: dict[str, Encoded] = {}
        while key not in values:  # it may share a fetch of `get_many_or_set`, which gives none
            values = await self._fetched(
                [key],
                fetch_it,
                ttl=ttl,
                tags=tags,
                depends_on=depends_on,
                accept_stale=accept_stale,
            )
        return self._decoded(key, values[key])

    async def get_many_or_set(
        self,
        keys: Iterable[str],
        fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        accept_stale: bool | None = None,
    ) -> dict[str, T]:
        """As `get_or_set` for many keys, with one call of `fetch` for all that this caller is to
        fetch, up to 1,000. If the codec does not take one of its values, it has failed."""
        errors: dict[str, PantlerError] = {}
        try:
            values = await self._fetched(
                keys, fetch, ttl=ttl, tags=tags, depends_on=depends_on, accept_stale=accept_stale
            )
        except PartialFailure as exc:
            values, errors = cast(dict[str, Encoded], exc.results), exc.errors
        return self._all_decoded(values, errors)

    async def set(
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
        data, content_type = self._encoded(key, value)
        return await self._client.set(
            self.name,
            key,
            data,
            ttl=self._ttl if ttl is None else ttl,
            sliding=sliding,
            tags=self._and_its(tags),
            depends_on=depends_on,
            content_type=content_type,
            if_absent=if_absent,
            if_present=if_present,
            if_version=if_version,
            request_id=request_id,
        )

    async def set_many(
        self,
        values: Mapping[str, T],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
    ) -> dict[str, SetResult]:
        """Stores values, each on its own. If the codec does not take one of them, none is
        stored."""
        return await self._client._set_encoded(
            self.name,
            {key: self._encoded(key, value) for key, value in values.items()},
            ttl=self._ttl if ttl is None else ttl,
            tags=self._and_its(tags),
            depends_on=depends_on,
        )

    async def touch(self, key: str, ttl: timedelta | None = None) -> datetime | None:
        """Gives an entry a new ttl from now on; when it expires then, None if there is none."""
        return await self._client.touch(self.name, key, self._ttl if ttl is None else ttl)

    async def delete(self, key: str, *, if_version: int | None = None) -> bool:
        """Removes an entry; whether it was there."""
        return await self._client.delete(self.name, key, if_version=if_version)

    async def delete_many(self, keys: Iterable[str]) -> dict[str, bool]:
        """Removes entries; whether each was there."""
        return await self._client.delete_many(self.name, keys)

    async def invalidate_keys(
        self, keys: Iterable[str], *, soft: bool = False, cascade: bool = False
    ) -> InvalidatedKeys:
        """Invalidates keys, and with `cascade` what depends on them."""
        return await self._client.invalidate_keys(self.name, keys, soft=soft, cascade=cascade)

    async def invalidate_tags(self, tags: Iterable[str], *, soft: bool = False) -> None:
        """Invalidates every entry that has one of the tags."""
        await self._client.invalidate_tags(self.name, tags, soft=soft)

    def cached(
        self,
        key: str | None = None,
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        accept_stale: bool | None = None,
    ) -> Callable[[Callable[P, Awaitable[T]]], CachedFunction[P, T]]:
        """Makes an async function or method keep its results, by `get_or_set`.

            @users.cached("user:{user_id}", ttl=timedelta(minutes=5), tags=["team:{team_id}"])
            async def load_user(user_id: int, team_id: int) -> User: ...

            await load_user(42, team_id=7)  # of all callers that miss it at once, one loads
            await load_user.invalidate(42, team_id=7)

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
        if callable(key):
            raise TypeError("write `@….cached()`, with brackets")

        def decorate(function: Callable[P, Awaitable[T]]) -> CachedFunction[P, T]:
            return CachedFunction(
                function,
                self,
                key,
                ttl=ttl,
                tags=tags,
                depends_on=depends_on,
                accept_stale=accept_stale,
            )

        return decorate

    async def _fetched(
        self,
        keys: Iterable[str],
        fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]],
        *,
        ttl: timedelta | None,
        tags: Iterable[str],
        depends_on: Iterable[str],
        accept_stale: bool | None,
    ) -> dict[str, Encoded]:
        async def fetch_encoded(asked: Sequence[str]) -> dict[str, Encoded]:
            values = await fetched(fetch(asked))
            return {key: self._encoded(key, values[key]) for key in asked if key in values}

        return await self._client._get_or_set_encoded(
            self.name,
            keys,
            fetch_encoded,
            ttl=self._ttl if ttl is None else ttl,
            tags=self._and_its(tags),
            depends_on=depends_on,
            accept_stale=self._accept_stale if accept_stale is None else accept_stale,
        )

    def _and_its(self, tags: Iterable[str]) -> list[str]:
        return [*self._tags, *listed(tags)]

    def _encoded(self, key: str, value: T) -> Encoded:
        try:
            return codecs.encoded(self.codec, value)
        except Exception as exc:
            raise EncodeError(self.name, key, self.codec.content_type, value) from exc

    def _decoded(self, key: str, stored: Encoded) -> T:
        reader = codecs.reader(self.codec, stored.content_type)
        if reader is None:
            raise DecodeError(self.name, key, stored.content_type, self.codec.content_type)
        try:
            return reader.decode(stored.data)
        except Exception as exc:
            raise DecodeError(
                self.name, key, stored.content_type, self.codec.content_type, str(exc)
            ) from exc

    def _all_decoded(
        self, stored: Mapping[str, Encoded], errors: Mapping[str, PantlerError]
    ) -> dict[str, T]:
        """Raises PartialFailure with these errors, and those of what can't be read."""
        values: dict[str, T] = {}
        failed = dict(errors)
        for key, one in stored.items():
            try:
                values[key] = self._decoded(key, one)
            except DecodeError as exc:
                failed[key] = exc
        if failed:
            raise PartialFailure(values, failed)
        return values


def _encoded(entry: Entry) -> Encoded:
    return Encoded(entry.value, entry.content_type)
