"""An event loop in a thread of its own, for callers that block in theirs.

A caller sends a coroutine to the loop, and waits at the inbox of its call for the end. Meanwhile it
does what the coroutine has it do: a function that is given to a method, as the fetch of
`get_or_set`, runs in the thread that called the method, where its thread-locals are.

    caller                          loop
    run(coroutine)            ──▶   its task begins
    waits at the inbox        ◀──   in_callers_thread(fetch)
    fetch()                   ──▶   the task goes on with what it gave
    waits at the inbox        ◀──   the task is done
"""

import asyncio
import atexit
import gc
import os
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
)
from contextlib import suppress
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from typing import Any, Generic, TypeVar
from weakref import WeakSet, finalize

from pantler import forks
from pantler.errors import PantlerError

EXIT_S = 2.0  # for which the end of the program waits for a client that was left open

T = TypeVar("T")
Finish = Callable[[], Coroutine[Any, Any, None]]

_starting = threading.Lock()
"""Held while a thread is started, and during a fork: a child never has half a thread."""

if hasattr(os, "register_at_fork"):  # Windows knows no fork
    os.register_at_fork(
        before=_starting.acquire,
        after_in_parent=_starting.release,
        after_in_child=_starting.release,
    )


class LoopThread:
    """Starts at its first use. `finish` runs at its end, when no call is under way any more."""

    def __init__(self, finish: Finish) -> None:
        self._finish: Finish | None = finish
        self._sending = threading.RLock()  # nothing is sent once it has ended
        self._loop: _Loop | None = None
        self._ended = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine gives. If the wait is interrupted (Ctrl-C), the coroutine is
        cancelled."""
        call = self.begin(coroutine)
        try:
            call.wait()
            return call.result()
        finally:
            del call  # else an error would keep itself alive through this frame

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> "Call[T]":
        try:
            loop = self._started()
            call: Call[T] = Call(loop)
            context = copy_context()
            context.run(_current.set, call)
            with self._sending:
                if self._ended:
                    raise PantlerError("the client is closed")
                loop.send(loop.begin, call, coroutine, context=context)
        except BaseException:
            coroutine.close()
            raise
        return call

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Calls a function, which must not block, in the loop's thread."""

        async def calling() -> T:
            return function(*args, **kwargs)

        return self.run(calling())

    def iterate(self, items: AsyncIterable[T]) -> Generator[T, None, None]:
        """The items, each when it is asked for."""
        iterator = aiter(items)
        try:
            while True:
                try:
                    item = self.run(_next(iterator))
                except _NoMore:
                    return
                yield item
        finally:
            # Not waited for: this may be the garbage collector's doing, in whatever thread.
            if self._loop is not None and isinstance(iterator, AsyncGenerator):
                self._loop.send(self._loop.close_iterator, iterator)

    def end(self, timeout_s: float | None = None) -> None:
        """Cancels what is under way and ends the thread, for good. Waits for that, up to the
        timeout."""
        loop = self._loop
        if loop is not None and loop.pid != os.getpid():
            return  # forked: the thread is the parent's, and who held the locks too
        with _starting, self._sending:
            self._ended, self._finish = True, None
            loop = self._loop
        if loop is not None:
            loop.end()
            loop.join(timeout_s)

    def _started(self) -> "_Loop":
        loop = self._loop
        if loop is None:
            with _starting:
                if self._finish is None:
                    raise PantlerError("the client is closed")
                loop = self._loop = self._loop or self._start(self._finish)
        if loop.pid != os.getpid():
            raise forks.refusal()
        if loop.thread is threading.current_thread():
            raise PantlerError("a blocking call in the thread of the client's own event loop")
        return loop

    def _start(self, finish: Finish) -> "_Loop":
        forks.check()
        loop = _Loop(finish)
        finalize(self, loop.end).atexit = False  # _end_all does that, and waits for them
        _running.add(self)
        return loop


_running: "WeakSet[LoopThread]" = WeakSet()


@atexit.register
def _end_all() -> None:
    for running in list(_running):
        running.end(EXIT_S)


async def in_callers_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Runs a function in the thread that waits for the current call. What goes on in the
    background, as a fetch that refreshes, has none: there it is a thread of a pool."""
    call = current_call()
    if asyncio.current_task() is not call.task:
        return await asyncio.to_thread(function, *args, **kwargs)
    work: _Work[T] = _Work(lambda: function(*args, **kwargs))
    call.inbox.put(work.do)
    return await work.result()


class _Loop:
    """The loop with its thread: a daemon, so that a client that is left open does not keep the
    program from its end."""

    def __init__(self, finish: Finish) -> None:
        self.pid = os.getpid()
        self._finish = finish
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending: asyncio.Task[None] | None = None
        self.thread = threading.Thread(target=self._serve, name="pantler-client", daemon=True)
        self.thread.start()

    def send(self, callback: Callable[..., object], *args: Any, context: Any = None) -> None:
        """Has the loop call it, unless that has ended, or is another process's."""
        if self.pid == os.getpid():
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(callback, *args, context=context)

    def begin(self, call: "Call[T]", coroutine: Coroutine[Any, Any, T]) -> None:
        call.task = self._task(coroutine)
        call.task.add_done_callback(call.look)

    def close_iterator(self, iterator: AsyncGenerator[Any, None]) -> None:
        self._task(_close(iterator))

    def _task(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def end(self) -> None:
        self.send(self._begin_end)

    def join(self, timeout_s: float | None) -> None:
        if self.pid == os.getpid() and self.thread is not threading.current_thread():
            self.thread.join(timeout_s)

    def _begin_end(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())

    async def _end(self) -> None:
        try:
            while self._tasks:
                for task in self._tasks:
                    task.cancel()
                await asyncio.wait(self._tasks)
            await self._finish()
            del self._finish
            await self._loop.shutdown_asyncgens()
            gc.collect()  # the client goes, which keeps gRPC from a fork
            if grpcs := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(grpcs, timeout=EXIT_S)
        finally:
            self._loop.stop()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()


class Call(Generic[T]):
    """One call: its task in the loop, and what its caller is to do."""

    __slots__ = ("_loop", "inbox", "task")

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self.inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # None: look at the task
        self.task: asyncio.Task[T] | None = None

    def wait(self) -> None:
        """In the caller's thread, until there is something to look at."""
        try:
            while (function := self.inbox.get()) is not None:
                function()
        except BaseException:  # this thread was interrupted
            self._loop.send(self._cancel)
            raise

    def send(self, callback: Callable[..., object], *args: object) -> None:
        self._loop.send(callback, *args)

    def done(self) -> bool:
        return self.task is not None and self.task.done()

    def result(self) -> T:
        """Once it is done."""
        assert self.task is not None
        if self.task.cancelled():
            raise PantlerError("the client was closed during the call")
        return self.task.result()

    def look(self, _: object = None) -> None:
        """In the loop: its caller is to look."""
        self.inbox.put(None)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


_current: ContextVar[Call[Any]] = ContextVar("pantler_call")


def current_call() -> Call[Any]:
    """That which the running task is of, or comes from."""
    return _current.get()


class _Work(Generic[T]):
    """A function that a task waits for, and another thread runs."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._error: Exception | None = None

    def do(self) -> None:
        try:
            self._value = self._function()
        except Exception as exc:  # noqa: BLE001  # it is raised where it is waited for
            self._error = exc
        with suppress(RuntimeError):  # the client was closed meanwhile
            self._loop.call_soon_threadsafe(self._done.set)

    async def result(self) -> T:
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


class _NoMore(Exception):
    pass


async def _next(iterator: AsyncIterator[T]) -> T:
    try:
        return await anext(iterator)
    except StopAsyncIteration:
        raise _NoMore from None


async def _close(iterator: AsyncGenerator[Any, None]) -> None:
    with suppress(RuntimeError):  # it runs: its call was cancelled, which ends it too
        await iterator.aclose()
