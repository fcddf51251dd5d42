"""A Sentinel group under load, its primary killed, paused and demoted."""

import grpc

from tests.failover.load import Load
from tests.servers.pantler import PantlerServer
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.wire.test_cache_service import details

FAILOVER_S = 15.0  # Sentinel's own: half a second to notice, then election and promotion


async def test_writes_resume_after_the_primary_is_killed() -> None:
    async with SentinelGroup() as group:
        option = f"{','.join(group.addresses)}/{SERVICE}"
        async with (
            PantlerServer("--redis-sentinel", option) as server,
            Load(server.address) as load,
        ):
            await load.until_stored(200, 10)
            old = await group.primary()
            await old.kill()
            await group.wait_for_new_primary(old)
            await load.until_stored(200, FAILOVER_S)
        assert set(load.codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert not load.wrong_answers
        for failure in load.failures:
            found = details(failure)
            assert found["RetryInfo"].retry_delay.ToMilliseconds() > 0
            assert found["ErrorInfo"].reason in {
                "ERROR_REASON_STORE_UNAVAILABLE",
                "ERROR_REASON_OUTCOME_UNKNOWN",
            }


async def test_a_primary_that_stands_still_is_left_for_the_new_one() -> None:
    async with SentinelGroup() as group:
        option = f"{','.join(group.addresses)}/{SERVICE}"
        async with (
            PantlerServer("--redis-sentinel", option) as server,
            Load(server.address) as load,
        ):
            await load.until_stored(200, 10)
            old = await group.primary()
            old.pause()
            try:
                await group.wait_for_new_primary(old)
                await load.until_stored(200, FAILOVER_S)
            finally:
                old.resume()
        assert set(load.codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert not load.wrong_answers


async def test_a_planned_failover_loses_no_acknowledged_write_for_good() -> None:
    async with SentinelGroup() as group:
        option = f"{','.join(group.addresses)}/{SERVICE}"
        async with (
            PantlerServer("--redis-sentinel", option) as server,
            Load(server.address) as load,
        ):
            await load.until_stored(200, 10)
            old = await group.primary()
            await group.sentinels[0].execute("SENTINEL", "FAILOVER", SERVICE)
            await group.wait_for_new_primary(old)
            await load.until_stored(200, FAILOVER_S)
        assert set(load.codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
