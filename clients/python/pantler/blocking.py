"""What the synchronous client, `pantler.sync_client`, is made of: each object of it has one of the
asynchronous client, and the thread of that one's event loop."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from functools import wraps
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from pantler.client import AsyncClient
from pantler.errors import PantlerError
from pantler.loop_thread import LoopThread, current_call, in_callers_thread
from pantler.resumed import ResumedStream

P = ParamSpec("P")
T = TypeVar("T")


class BlockingClient:
    """How a client begins and ends."""

    def __init__(self, client: AsyncClient) -> None:
        self._client: AsyncClient | None = client
        self._thread = LoopThread(client.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return self._name if self._client is None else repr(self._client).removeprefix("Async")

    def close(self) -> None:
        """Closes the connection, for good, and ends the thread. Calls under way fail; fetches in
        the background are cancelled, and leases given back."""
        self._thread.end()
        self._name = repr(self)
        self._client = None  # it keeps gRPC busy, and then a child process can't use gRPC

    @property
    def _async(self) -> AsyncClient:
        if self._client is None:
            raise PantlerError("the client is closed")
        return self._client


class BlockingStream(Generic[T]):
    """What is followed for as long as it is wanted; `for` gives the items."""

    def __init__(self, thread: LoopThread, stream: ResumedStream[T]) -> None:
        self._thread = thread
        self._stream = stream

    def __iter__(self) -> Generator[T, None, None]:
        return self._thread.iterate(self._stream)


class BlockingContext(Generic[T]):
    """What `with` is for. In the loop the whole block is one call. It runs in another thread, and
    so can't be cancelled: what it would be cancelled for is raised at its end."""

    def __init__(self, thread: LoopThread, manager: AbstractAsyncContextManager[T, Any]) -> None:
        self._thread = thread
        self._manager = manager

    def __enter__(self) -> T:
        call = self._thread.begin(self._hold())
        call.wait()
        if call.done():
            call.result()
        self._call = call
        return self._value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._call.send(self._leave, error)
        self._call.wait()
        try:
            return self._call.result()
        except BaseException:
            if error is None:
                raise
            return False  # the block's own error says more

    async def _hold(self) -> bool:
        value = await self._manager.__aenter__()
        self._value = value
        self._left: asyncio.Future[BaseException | None] = asyncio.Future()
        current_call().look()
        error: BaseException | None
        try:
            error = await self._left
        except asyncio.CancelledError as cancelled:  # by the manager, or since the client closes
            error = cancelled
        if error is None:
            return bool(await self._manager.__aexit__(None, None, None))
        swallowed = await self._manager.__aexit__(type(error), error, error.__traceback__)
        if isinstance(error, asyncio.CancelledError) and not swallowed:
            raise error
        return bool(swallowed)

    def _leave(self, error: BaseException | None) -> None:
        if not self._left.done():
            self._left.set_result(error)


def in_caller(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The function for a method of the asynchronous client. It runs in the calling thread."""

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return await in_callers_thread(function, *args, **kwargs)

    return call


def decorating(
    thread: LoopThread,
    decorate: Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]],
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator of async functions, for plain ones: their calls go through the loop, and come
    back to run in the calling thread."""

    def decorate_plain(function: Callable[P, T]) -> Callable[P, T]:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is `async def`: for that decorate by an AsyncClient")
        decorated = decorate(wraps(function)(in_caller(function)))

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return thread.run(decorated(*args, **kwargs))

        return call

    return decorate_plain
