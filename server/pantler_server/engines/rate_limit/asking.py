"""Asking Redis for a decision, and for how long where a rule can do without it."""

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from pantler_server.core.clock import RedisClock
from pantler_server.core.errors import StoreError, StoreUnavailable
from pantler_server.engines.rate_limit.model import Check
from pantler_server.store import answers
from pantler_server.store.link import Reply
from pantler_server.store.node import Node
from pantler_server.store.request import Request
from pantler_server.store.store import Store

_OUTDATED = 3  # a reply of the scripts

MakeRequest = Callable[[RedisClock], Request]


class Asking:
    """Calls of acquire.lua and acquire_all.lua."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clock = RedisClock()
        self._hanging: WeakKeyDictionary[Node, int] = WeakKeyDictionary()
        """What `Store.heard` said of each Redis that did not answer."""

    async def ask(self, checks: Sequence[Check], make: MakeRequest, deadline: float) -> Reply:
        """The reply. Raises StoreError; and InvalidFields if the request id had another request.

        Where all rules can do without Redis, raises StoreUnavailable at once while there is no
        connection, and after a call that was not answered, until Redis says something again: its
        node asks for that each second.
        """
        request = make(self._clock)
        if all(check.limit.rule.on_unavailable for check in checks):
            reply = await self._ask_if_it_answers(request, make, deadline)
        else:
            reply = await self._ask_in_time(request, make, deadline)
        if reply[0] == answers.REUSED:
            raise answers.reused()
        return reply

    async def _ask_if_it_answers(
        self, request: Request, make: MakeRequest, deadline: float
    ) -> Reply:
        node, heard = self._store.topology.primary(request.slot), self._store.heard(request.slot)
        if node is None or heard is None or self._hanging.get(node) == heard:
            raise StoreUnavailable("Redis is away", self._store.role)
        try:
            return await self._ask_in_time(request, make, deadline)
        except StoreError:
            # A caller may have given it too little time; but then it says something to others.
            if self._store.heard(request.slot) == heard:
                self._hanging[node] = heard
            raise

    async def _ask_in_time(self, request: Request, make: MakeRequest, deadline: float) -> Reply:
        """Asks again if the period of the calendar was guessed wrong."""
        [reply] = await self._store.call(request, deadline)
        while reply[0] == _OUTDATED:
            self._clock.correct(reply[1])
            [reply] = await self._store.call(make(self._clock), deadline)
        return reply
