"""Where a warming has its keys from: lists that it takes a few keys at a time of."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from itertools import chain, zip_longest
from typing import Protocol

from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.hot_keys.engine import HotKeys

MOST_HOT = 1000  # of a day: as many as are kept

_END: Sequence[str] = []  # no tuple: CPython 3.11 chokes on one as what `anext` gives at the end


class KeyList(Protocol):
    """Keys in an order, and how many were taken of them."""

    @property
    def total(self) -> int:
        """How many there are in all; 0 while that is not known."""

    @property
    def index(self) -> int:
        """How many were taken of a list that is known as a whole, else 0."""

    @property
    def after(self) -> str:
        """The last that was taken of a list that the origin gives, else empty."""

    async def take(self, most: int) -> Sequence[str]:
        """The next keys; none at the end. Raises what kept the list from coming: then it may be
        tried again."""

    async def close(self) -> None: ...


class KnownKeys:
    """A list that is here as a whole."""

    after = ""

    def __init__(self, keys: Sequence[str], index: int) -> None:
        self._keys = keys
        self.total = len(keys)
        self.index = index

    async def take(self, most: int) -> Sequence[str]:
        taken = self._keys[self.index : self.index + most]
        self.index += len(taken)
        return taken

    async def close(self) -> None: ...


class HotList:
    """The keys of a namespace that were read most today and yesterday, by UTC: of each day the
    first, then of each the second, and so on. It is asked for once, at the first keys."""

    after = ""

    def __init__(self, hot: HotKeys, space: Namespace, timeout_s: float, index: int) -> None:
        self._hot = hot
        self._space = space
        self._timeout_s = timeout_s
        self._known: KnownKeys | None = None
        self._begin = index

    @property
    def total(self) -> int:
        return 0 if self._known is None else self._known.total

    @property
    def index(self) -> int:
        return self._begin if self._known is None else self._known.index

    async def take(self, most: int) -> Sequence[str]:
        if self._known is None:
            self._known = KnownKeys(await self._list(), self._begin)
        return await self._known.take(most)

    async def close(self) -> None: ...

    async def _list(self) -> Sequence[str]:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        days = await asyncio.gather(
            *(self._hot.of_day(self._space, ago, MOST_HOT, deadline) for ago in (0, 1))
        )
        merged = chain.from_iterable(zip_longest(*days))
        return list(dict.fromkeys(key for key in merged if key is not None))


class ListedKeys:
    """What the origin lists, a page at a time. `pages` begins behind a key."""

    total = index = 0

    def __init__(self, pages: Callable[[str], AsyncIterator[Sequence[str]]], after: str) -> None:
        self._begin = pages
        self._pages: AsyncIterator[Sequence[str]] | None = None
        self._page: Sequence[str] = ()
        self._taken = 0  # of the page
        self.after = after

    async def take(self, most: int) -> Sequence[str]:
        if self._taken == len(self._page):
            await self._turn_over()
        keys = self._page[self._taken : self._taken + most]
        self._taken += len(keys)
        if keys:
            self.after = keys[-1]
        return keys

    async def close(self) -> None:
        if isinstance(self._pages, AsyncGenerator):
            await self._pages.aclose()

    async def _turn_over(self) -> None:
        if self._pages is None:
            self._pages = self._begin(self.after)
        try:
            self._page = await anext(self._pages, _END)
        except ServiceError:
            self._pages = None  # it has ended: another goes on from here
            raise
        self._taken = 0
