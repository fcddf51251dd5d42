"""What tests of get_or_set fetch from."""

import asyncio
from collections.abc import Sequence


class Source:
    """What is behind the cache: counts what is fetched, and can be held or made to fail."""

    def __init__(self, value: bytes = b"fetched") -> None:
        self.value = value
        self.fetches = 0
        self.failure: Exception | None = None
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self) -> bytes:
        self.fetches += 1
        self.asked.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return self.value

    async def fetch_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        await self.fetch()
        return {key: f"value of {key}".encode() for key in keys if not key.startswith("none")}
