"""Tasks that run beside the calls. Each has an owner that keeps it, and cancels and awaits it."""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, TypeVar

import structlog

ASK_AGAIN_S = 0.1

T = TypeVar("T")

log = structlog.get_logger(__name__)


def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Starts a task that is not meant to fail: if it does, the log says so at once."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(report)
    return task


def keep(tasks: set[asyncio.Task[T]], task: asyncio.Task[T]) -> None:
    """Keeps a task among others until it ends. Whoever waits for it gets its error."""
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    task.add_done_callback(see)


def see(task: asyncio.Task[Any]) -> None:
    """For the end of a task: if nobody waits any more, the log does not have its error as never
    retrieved."""
    if not task.cancelled():
        task.exception()


async def stop(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits until they have ended.

    A task is asked again if it does not end: where a cancellation meets a time-out or the end of
    what is awaited (in redis-py's connect, say), it may be swallowed.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=ASK_AGAIN_S)


def report(task: asyncio.Task[None]) -> None:
    """For the end of a task that is not meant to fail."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("defect in a background task", task=task.get_name(), exc_info=error)


async def together(*works: Awaitable[Any]) -> list[Any]:
    """What they give, once all have ended; raises what the first of them raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks)
    finally:
        await stop(tasks)
    errors = [task.exception() for task in tasks]  # asked of all: else the log has it
    for error in errors:
        if error is not None:
            raise error
    return [task.result() for task in tasks]
