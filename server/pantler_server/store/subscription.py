"""One channel, followed on a connection of its own, which is opened again whenever it is lost.

On a Cluster any primary will do: a message goes to all servers.
"""

import asyncio
from collections.abc import Callable

import structlog

from pantler_server.core import background
from pantler_server.store.connect import CONNECT_ERRORS
from pantler_server.store.link import Link, LinkLost, Reply, ReplyFailed
from pantler_server.store.node import Node
from pantler_server.store.request import pack
from pantler_server.store.store import Store

RETRY_S = 0.05  # waiters look for themselves meanwhile, so there is no hurry
REFUSED_RETRY_S = 5.0  # until an operator has given the right
PROBE_INTERVAL_S = 0.25  # how soon a dead connection, or one to a former primary, is left

log = structlog.get_logger(__name__)


class Subscription:
    """Messages come at most once: those that are sent while there is no connection are lost.

    What its Redis knew of before `sure_at` (time of the event loop) has come. `on_message` gets
    each payload. `on_gap` is called when a connection was made, as messages may have been lost
    before it. Both are called from the event loop and must not fail.
    """

    def __init__(
        self,
        store: Store,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._store = store
        self._channel = channel
        self._on_message = on_message
        self._on_gap = on_gap
        self._task: asyncio.Task[None] | None = None
        self.sure_at = float("-inf")

    def start(self) -> None:
        self._task = background.start(self._keep_following(), f"subscription {self._channel}")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))

    async def _keep_following(self) -> None:
        while True:
            node = next(iter(self._store.topology.primaries()), None)
            if node is not None:
                try:
                    await self._follow(node)
                except (*CONNECT_ERRORS, LinkLost) as exc:
                    log.debug("subscription lost", channel=self._channel, detail=str(exc))
                except ReplyFailed as exc:
                    log.warning("not allowed to subscribe", channel=self._channel, error=str(exc))
                    await asyncio.sleep(REFUSED_RETRY_S)
            await asyncio.sleep(RETRY_S)

    async def _follow(self, node: Node) -> None:
        """Ends, or fails, when the connection is lost or the node is no primary any more."""
        lost = asyncio.Event()
        link = await node.open_apart(lost.set, self._pushed)
        try:
            # SUBSCRIBE is answered by a push, unless it is refused, so the PING behind it says that
            # it is done; if it is refused, the PING's reply is one too many and ends the link.
            sure_at = await self._ask(link, pack("SUBSCRIBE", self._channel) + pack("PING"))
            self._on_gap()
            self.sure_at = sure_at
            while not lost.is_set() and node in self._store.topology.primaries():
                try:
                    async with asyncio.timeout(PROBE_INTERVAL_S):
                        await lost.wait()
                except TimeoutError:
                    self.sure_at = await self._ask(link, pack("PING"))
        finally:
            self.sure_at = float("-inf")
            link.close("subscription ended")

    async def _ask(self, link: Link, command: bytes) -> float:
        """When it was asked: messages come in their order, and the answer behind them."""
        began = asyncio.get_running_loop().time()
        await link.submit((command,), began + self._store.timeout_s)
        return began

    def _pushed(self, push: list[Reply]) -> None:
        if push[0] == b"message":
            self._on_message(push[2])
