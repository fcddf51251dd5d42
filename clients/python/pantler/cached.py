"""The decorator `cached` of a namespace: functions whose results are kept.

What a call stands for is worked out once, when the function is decorated (`CallPlan`); a call then
only puts its arguments in. A client that blocks has the same plan and its own `__call__`.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import update_wrapper
from inspect import iscoroutinefunction
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    overload,
)

from pantler.arguments import checked_ttl
from pantler.batch import listed
from pantler.key_template import MAX_TAG_BYTES, Arguments, CallKey, KeyTemplate, bound

if TYPE_CHECKING:
    from pantler.namespace import Namespace

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")


class Call(NamedTuple):
    """What a call of a function is stored as."""

    key: str
    tags: list[str]
    depends_on: list[str]


class CallPlan:
    """How the arguments of a function make keys and tags. Raises ValueError if they can't."""

    def __init__(
        self,
        function: Callable[..., object],
        key: str | None,
        tags: Iterable[str],
        depends_on: Iterable[str],
    ) -> None:
        self._bound = bound(function)
        self._key: Callable[[Arguments], str] = (
            CallKey(function) if key is None else KeyTemplate.of(function, key)
        )
        self._tags = [KeyTemplate.of(function, one, MAX_TAG_BYTES) for one in listed(tags)]
        self._depends_on = [KeyTemplate.of(function, one) for one in listed(depends_on)]

    def key(self, args: tuple[object, ...], kwargs: dict[str, Any]) -> str:
        """Raises UncacheableArgument; TypeError if the function does not take these."""
        return self._key(self._bound(*args, **kwargs))

    def call(self, args: tuple[object, ...], kwargs: dict[str, Any]) -> Call:
        """Raises as `key` does."""
        arguments = self._bound(*args, **kwargs)
        return Call(
            self._key(arguments),
            [tag(arguments) for tag in self._tags],
            [key(arguments) for key in self._depends_on],
        )


class PlannedFunction(Generic[P]):
    """A function and its plan: what it has in common whether its calls are awaited or block."""

    def __init__(
        self,
        function: Callable[P, object],
        key: str | None,
        tags: Iterable[str],
        depends_on: Iterable[str],
    ) -> None:
        self._kind: type = type(function)
        inner: Any = function
        if isinstance(inner, classmethod | staticmethod):
            inner = inner.__func__
        update_wrapper(cast(Any, self), inner)
        self._plan = CallPlan(inner, key, tags, depends_on)
        self._function: Callable[..., Any] = inner
        self._receiver: tuple[object, ...] = ()
        """The object or the class that a method is bound to."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of a call in the namespace. Raises UncacheableArgument."""
        return self._plan.key(self._receiver + args, kwargs)

    def _bound(self, instance: object, owner: type | None) -> Self:
        """The method of an object, or of its class."""
        receiver = owner if self._kind is classmethod else instance
        if receiver is None or self._kind is staticmethod:
            return self
        method = object.__new__(type(self))
        method.__dict__.update(
            self.__dict__, _receiver=(receiver,), __wrapped__=MethodType(self._function, receiver)
        )
        return method


class CachedFunction(PlannedFunction[P], Generic[P, T]):
    """What `Namespace.cached` makes of a function: it is called as the function was."""

    def __init__(
        self,
        function: Callable[P, Awaitable[T]],
        namespace: "Namespace[T]",
        key: str | None,
        *,
        ttl: timedelta | None,
        tags: Iterable[str],
        depends_on: Iterable[str],
        accept_stale: bool | None,
    ) -> None:
        super().__init__(function, key, tags, depends_on)
        if not iscoroutinefunction(self._function):
            raise TypeError(f"cached is for `async def` functions, not for {function!r}")
        self._namespace = namespace
        self._ttl = checked_ttl(ttl)
        self._accept_stale = accept_stale

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result, by `Namespace.get_or_set`."""
        key, tags, depends_on = self._plan.call(self._receiver + args, kwargs)

        async def fetch() -> T:
            result: T = await self._function(*self._receiver, *args, **kwargs)
            return result

        return await self._namespace.get_or_set(
            key,
            fetch,
            ttl=self._ttl,
            tags=tags,
            depends_on=depends_on,
            accept_stale=self._accept_stale,
        )

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Invalidates what is kept of a call, as `AsyncClient.invalidate_keys` does: the next one
        calls the function, and a call that is under way keeps nothing."""
        await self._namespace.invalidate_keys([self.key(*args, **kwargs)])

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "CachedFunction[..., T]": ...
    @overload
    def __get__(
        self: "CachedFunction[Concatenate[S, Q], T]", instance: S, owner: type | None = None
    ) -> "CachedFunction[Q, T]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bound(instance, owner)
