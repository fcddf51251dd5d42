"""The decorator `cached` of a namespace of the synchronous client."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from pantler.arguments import checked_ttl
from pantler.blocking import in_caller
from pantler.cached import PlannedFunction
from pantler.loop_thread import LoopThread
from pantler.namespace import Namespace

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")


class BlockingCachedFunction(PlannedFunction[P], Generic[P, T]):
    """What `cached` of a `Client`'s namespace makes of a function: it is called as the function
    was."""

    def __init__(
        self,
        function: Callable[P, T],
        thread: LoopThread,
        namespace: Namespace[T],
        key: str | None,
        *,
        ttl: timedelta | None,
        tags: Iterable[str],
        depends_on: Iterable[str],
        accept_stale: bool | None,
    ) -> None:
        super().__init__(function, key, tags, depends_on)
        awaited = (self._function, type(self._function).__call__)
        if any(map(iscoroutinefunction, awaited)):
            raise TypeError(f"{function!r} is `async def`: for that decorate by an AsyncClient")
        self._thread = thread
        self._namespace = namespace
        self._ttl = checked_ttl(ttl)
        self._accept_stale = accept_stale

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result, by `get_or_set` of the namespace. The function runs in the calling thread."""
        key, tags, depends_on = self._plan.call(self._receiver + args, kwargs)

        def fetch() -> T:
            result: T = self._function(*self._receiver, *args, **kwargs)
            return result

        return self._thread.run(
            self._namespace.get_or_set(
                key,
                in_caller(fetch),
                ttl=self._ttl,
                tags=tags,
                depends_on=depends_on,
                accept_stale=self._accept_stale,
            )
        )

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Invalidates what is kept of a call, as `Client.invalidate_keys` does: the next one calls
        the function, and a call that is under way keeps nothing."""
        self._thread.run(self._namespace.invalidate_keys([self.key(*args, **kwargs)]))

    @overload
    def __get__(
        self, instance: None, owner: type | None = None
    ) -> "BlockingCachedFunction[..., T]": ...
    @overload
    def __get__(
        self: "BlockingCachedFunction[Concatenate[S, Q], T]",
        instance: S,
        owner: type | None = None,
    ) -> "BlockingCachedFunction[Q, T]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bound(instance, owner)


def cached(
    thread: LoopThread,
    namespace: Namespace[T],
    key: str | None,
    *,
    ttl: timedelta | None,
    tags: Iterable[str],
    depends_on: Iterable[str],
    accept_stale: bool | None,
) -> Callable[[Callable[P, T]], BlockingCachedFunction[P, T]]:
    """The decorator, for functions that block."""
    if callable(key):
        raise TypeError("write `@….cached()`, with brackets")

    def decorate(function: Callable[P, T]) -> BlockingCachedFunction[P, T]:
        return BlockingCachedFunction(
            function,
            thread,
            namespace,
            key,
            ttl=ttl,
            tags=tags,
            depends_on=depends_on,
            accept_stale=accept_stale,
        )

    return decorate
