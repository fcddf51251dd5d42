"""The connections of all targets of a worker."""

import asyncio

from pantler_server.cdns.target import Batch

from tests.cdns.targets import targets
from tests.servers.fastly import FastlyServer

HANGING = 150  # more than aiohttp has under way at once by itself


async def test_a_target_that_hangs_holds_up_no_other() -> None:
    async with FastlyServer() as slow, FastlyServer() as quick:
        opened = targets(slow={**slow.target, "timeout": "30s"}, quick=quick.target)
        slow.goes_on.clear()
        hanging = [
            asyncio.create_task(opened.of("slow").purge(Batch(tags=[f"t{n}"])))
            for n in range(HANGING)
        ]
        async with asyncio.timeout(10):
            while slow.requests < HANGING:
                await asyncio.sleep(0.01)
        await opened.of("quick").purge(Batch(tags=["t"]))
        assert quick.purged_tags == ["t"]
        assert not any(one.done() for one in hanging)
        slow.goes_on.set()
        await asyncio.gather(*hanging)
        assert len(slow.purged_tags) == HANGING
        await opened.stop()
