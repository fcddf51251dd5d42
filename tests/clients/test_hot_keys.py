"""Hot keys through the Python SDK, against a real server."""

import pantler
import pytest

from tests.servers.pantler import PantlerServer


async def test_the_keys_that_were_read_most_are_listed(hot_server: PantlerServer) -> None:
    async with pantler.AsyncClient(hot_server.address) as client:
        hot, warm, rare = await client.list_hot_keys("busy")
        assert hot == pantler.HotKey("[hot]", hot.reads_per_second, hot=True)
        assert (warm.key, warm.hot, rare.key) == ("warm", False, "rare")
        assert hot.reads_per_second / warm.reads_per_second == pytest.approx(10)
        assert [one.key for one in await client.list_hot_keys("busy", limit=2)] == [
            "[hot]",
            "warm",
        ]
        assert await client.list_hot_keys("unread") == ()


async def test_a_list_that_is_too_long_is_refused(hot_server: PantlerServer) -> None:
    async with pantler.AsyncClient(hot_server.address) as client:
        with pytest.raises(pantler.InvalidArgument) as refused:
            await client.list_hot_keys("busy", limit=1001)
    assert [one.path for one in refused.value.violations] == ["limit"]
