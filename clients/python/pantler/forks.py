"""What a fork does to gRPC: in a child of a process with an open client it hangs, for new clients
too, since its threads are not there. So clients in such a child fail at once instead; but where
gRPC's own fork handlers are on (GRPC_ENABLE_FORK_SUPPORT), the child may crash before that.

A client counts as open until it is collected: what it has of gRPC lasts as long.
"""

import os
from weakref import WeakSet

from pantler.errors import ForkedClient

_open: "WeakSet[object]" = WeakSet()
_lost = False


def opening(client: object) -> None:
    """A client connects. Raises ForkedClient where that would hang."""
    check()
    _open.add(client)


def check() -> None:
    if _lost:
        raise refusal()


def refusal() -> ForkedClient:
    return ForkedClient(
        "this process was forked while a client was open, and gRPC does not outlive that: make a "
        "client in each process, after the fork, and close one used before it"
    )


def _in_child() -> None:
    global _lost
    _lost = _lost or bool(_open)


if hasattr(os, "register_at_fork"):  # Windows knows no fork
    os.register_at_fork(after_in_child=_in_child)
