"""One Redis server: a few links to it, kept open.

A node reconnects by itself, with backoff. While no link is open, calls wait for the attempt under
way, if there is one, and otherwise fail at once: a caller learns within its deadline that Redis is
away.
"""

import asyncio
from collections.abc import Callable

import structlog

from pantler_server.core import background
from pantler_server.store.connect import CONNECT_ERRORS, Address, Connector, Greeting
from pantler_server.store.link import Link, LinkLost, Reply, ReplyFailed
from pantler_server.store.request import pack

FIRST_BACKOFF_S = 0.02  # a restarted server is found at once
LONGEST_BACKOFF_S = (
    0.5  # bounds both the load on a dead host and the time to notice that it is back
)
PROBE_INTERVAL_S = 1.0

log = structlog.get_logger(__name__)


class Node:
    """A server at one address. `start` before use, `stop` after it.

    `probe_s` is what the newest PING took, in seconds, None before one was answered; `detail` is
    what is wrong, empty when nothing is.
    """

    def __init__(
        self,
        address: Address,
        connector: Connector,
        connections: int,
        greet: Greeting | None = None,
    ) -> None:
        self.address = address
        self.probe_s: float | None = None
        self.detail = "not connected yet"
        self._connector = connector
        self._connections = connections
        self._greet = greet
        self._links: list[Link] = []
        self._attempts = 0  # connection attempts under way
        self._attempt_done = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def available(self) -> bool:
        """Whether a link is open, and the newest PING was answered well."""
        return bool(self._links) and not self.detail

    def start(self) -> None:
        self._attempts = self._connections  # before the tasks first run: early calls wait for them
        self._tasks = [
            background.start(self._keep_open(), f"redis {self.address}")
            for _ in range(self._connections)
        ]
        self._tasks.append(background.start(self._probe(), f"redis probe {self.address}"))

    async def stop(self) -> None:
        self._stopping = True
        await background.stop(self._tasks)

    def pick(self) -> Link | None:
        """The open link that has least to do; None if there is none."""
        links = self._links
        if len(links) == 1:
            return links[0]
        return min(links, key=_load) if links else None

    async def wait_connected(self, deadline: float) -> bool:
        """Waits while an attempt to connect is under way, at most until `deadline` (loop time)."""
        loop = asyncio.get_running_loop()
        while not self._links and self._attempts:
            self._attempt_done.clear()
            try:
                async with asyncio.timeout(deadline - loop.time()):
                    await self._attempt_done.wait()
            except TimeoutError:
                break
        return bool(self._links)

    async def open_apart(
        self, on_lost: Callable[[], None], on_push: Callable[[list[Reply]], None]
    ) -> Link:
        """A link of the caller's own, for a subscription; the caller closes it. Raises one of
        CONNECT_ERRORS."""
        return await self._connector.open(self.address, on_lost, self._greet, on_push)

    async def _keep_open(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        first = True
        while True:
            lost = asyncio.Event()
            if not first:
                self._attempts += 1
            first = False
            try:
                link = await self._connector.open(self.address, lost.set, self._greet)
            except CONNECT_ERRORS as exc:
                self._attempt_ended()
                self._note(f"{type(exc).__name__}: {exc}")
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
                continue
            except asyncio.CancelledError:
                self._attempt_ended()
                raise
            if self._stopping:  # the cancellation was swallowed on the way
                link.close("shutting down")
                return
            backoff_s = FIRST_BACKOFF_S
            self._add(link)
            self._attempt_ended()
            try:
                await lost.wait()
            finally:
                self._remove(link)

    def _attempt_ended(self) -> None:
        self._attempts -= 1
        self._attempt_done.set()

    def _add(self, link: Link) -> None:
        self._links.append(link)
        if len(self._links) == 1:
            self.detail = ""
            log.info("redis connected", address=str(self.address))

    def _remove(self, link: Link) -> None:
        link.close("shutting down")
        self._links.remove(link)
        if not self._links and not self._stopping:
            self._note("connection lost")

    def _note(self, detail: str) -> None:
        if not self._links and detail != self.detail:
            self.detail = detail
            self.probe_s = None
            log.warning("redis not reachable", address=str(self.address), detail=detail)

    async def _probe(self) -> None:
        """Pings each link; one that says nothing within the interval is dropped, so that a
        connection that is open at this end only is noticed."""
        loop = asyncio.get_running_loop()
        ping = (pack("PING"),)
        while True:
            await asyncio.sleep(PROBE_INTERVAL_S)
            for link in tuple(self._links):
                began, heard = loop.time(), link.heard
                try:
                    await link.submit(ping, began + PROBE_INTERVAL_S)
                    self.probe_s = loop.time() - began
                    self.detail = ""
                except LinkLost:
                    if link.heard == heard:  # else it is busy with what came before
                        link.close(f"no answer to PING within {PROBE_INTERVAL_S} s")
                except ReplyFailed as exc:
                    self.detail = str(exc)


def _load(link: Link) -> int:
    return link.load
