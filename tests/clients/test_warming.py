"""Warming through the Python SDK, against a real server."""

import asyncio
from contextlib import aclosing
from itertools import count
from pathlib import Path

import pantler
import pytest

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.people import COUNT, write_config

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"sdkwarm{next(_numbers)}"


async def test_progress_ends_with_done(people_server: PantlerServer, namespace: str) -> None:
    async with pantler.AsyncClient(people_server.address) as client:
        told = [one async for one in client.warm(namespace, all=True, keys_per_second=100_000)]
        last = told[-1]
        assert last == pantler.WarmProgress(COUNT, COUNT, 0, None, last.resume_token, done=True)
        assert not any(one.done for one in told[:-1])
        again = [one async for one in client.warm(namespace, keys=["p001", "p002"])]
    assert again == [pantler.WarmProgress(2, 0, 0, 2, again[0].resume_token, done=True)]


async def test_hot_keys_are_warmed(people_server: PantlerServer, namespace: str) -> None:
    async with pantler.AsyncClient(people_server.address) as client:
        [only] = [one async for one in client.warm(namespace, hot=True)]
    assert (only.seen, only.done) == (0, True)


async def test_another_one_goes_on_from_a_token(
    people_server: PantlerServer, namespace: str
) -> None:
    async with pantler.AsyncClient(people_server.address) as client:
        warming = client.warm(namespace, all=True, keys_per_second=100)
        async with aclosing(warming.__aiter__()) as told:
            first = await anext(told)
        assert warming.resume_token == first.resume_token
        rest = client.warm(
            namespace, all=True, keys_per_second=100_000, resume_token=warming.resume_token
        )
        last = [one async for one in rest][-1]
    assert 0 < first.seen < COUNT
    # What the first had begun to load as it ended may be cached by now.
    assert first.loaded < last.loaded + last.failed <= COUNT
    assert (last.seen, last.done) == (COUNT, True)


async def test_it_goes_on_when_the_connection_breaks(
    people_server: PantlerServer, namespace: str
) -> None:
    async with (
        FaultProxy(int(people_server.address.rpartition(":")[2])) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as client,
    ):
        told: list[pantler.WarmProgress] = []
        async with asyncio.timeout(20):
            async for progress in client.warm(namespace, all=True, keys_per_second=200):
                told.append(progress)
                if len(told) == 1:
                    proxy.cut()
    assert told[-1].done
    assert told[-1].seen == COUNT
    assert [one.seen for one in told] == sorted(one.seen for one in told)


@pytest.mark.slow
async def test_it_goes_on_when_its_worker_stops(tmp_path: Path, namespace: str) -> None:
    async with (
        PantlerServer("--workers", "2", config=write_config(tmp_path)) as server,
        pantler.AsyncClient(server.address) as client,
    ):
        told: list[pantler.WarmProgress] = []
        async with asyncio.timeout(30):
            async for progress in client.warm(namespace, all=True, keys_per_second=100):
                told.append(progress)
                if len(told) == 1:
                    for worker in server.workers():  # they drain, and others are started
                        worker.terminate()
    assert (told[-1].seen, told[-1].failed, told[-1].done) == (COUNT, 0, True)


@pytest.mark.slow
async def test_a_server_that_has_given_up_is_not_asked_again(
    people_server: PantlerServer,
) -> None:
    async with pantler.AsyncClient(people_server.address) as client:
        newest: list[pantler.WarmProgress] = []

        async def follow() -> None:
            keys = map(str, range(20))
            async for progress in client.warm("away", keys=keys, keys_per_second=10):
                newest[:] = [progress]

        with pytest.raises(pantler.Unavailable, match="8 failures in a row"):
            await follow()
    assert [(one.seen, one.failed, one.done) for one in newest] == [(8, 8, False)]


async def test_what_the_server_refuses_is_raised(
    people_server: PantlerServer, namespace: str
) -> None:
    async with pantler.AsyncClient(people_server.address) as client:

        async def last(name: str, **said: object) -> list[pantler.WarmProgress]:
            return [one async for one in client.warm(name, **said)]  # type: ignore[arg-type]

        with pytest.raises(pantler.InvalidArgument) as refused:
            await last(namespace)
        assert [one.path for one in refused.value.violations] == ["keys"]
        with pytest.raises(pantler.InvalidArgument) as refused:
            await last(namespace, all=True, resume_token="nonsense")
        assert [one.path for one in refused.value.violations] == ["resume_token"]
        with pytest.raises(pantler.FailedPrecondition, match="nothing"):
            await last("gone", all=True)
