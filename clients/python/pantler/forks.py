"""What a fork does to gRPC: in a child of a process with an open client it hangs, for new clients
too, since its threads are not there. So clients in such a child fail at once instead; but where
gRPC's own fork handlers are on (GRPC_ENABLE_FORK_SUPPORT), the child may crash before that.

It is open as long as there is a channel of it, which gRPC's threads last for.
"""

import gc
import os
from collections.abc import Callable
from weakref import WeakSet

import grpc.aio

from pantler.errors import ForkedClient

_open: "WeakSet[grpc.aio.Channel]" = WeakSet()
_lost = False


def opened(open_channel: Callable[[], grpc.aio.Channel]) -> grpc.aio.Channel:
    """A channel of a client. Raises ForkedClient where it would hang."""
    check()
    channel = open_channel()
    _open.add(channel)
    return channel


def check() -> None:
    if _lost:
        raise refusal()


def refusal() -> ForkedClient:
    return ForkedClient(
        "this process was forked while a client was open, and gRPC does not outlive that: make a "
        "client in each process, after the fork, and close one used before it"
    )


def _before() -> None:
    if _open:
        gc.collect()  # what a closed client had may be part of a cycle


def _in_child() -> None:
    global _lost
    _lost = _lost or bool(_open)


if hasattr(os, "register_at_fork"):  # Windows knows no fork
    os.register_at_fork(before=_before, after_in_child=_in_child)
