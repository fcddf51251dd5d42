"""Lists that a server gives page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

PAGE_SIZE = 1000  # the most that a server gives at once, so that there are few calls


class _Page(Protocol):
    next_page_token: str


P = TypeVar("P", bound=_Page)


async def pages(ask: Callable[[str], Awaitable[P]]) -> AsyncIterator[P]:
    """All pages. `ask` makes one call, with the token of the page, empty for the first one."""
    token = ""
    while True:
        page = await ask(token)
        yield page
        token = page.next_page_token
        if not token:
            return
