"""The near cache of the Python client: what it keeps and for how long, and what it never keeps."""

import asyncio
import logging
import tracemalloc
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any

import pantler
import pytest
from pantler import codecs

from tests.clients.near_cache.caches import (
    AT_ONCE,
    MINUTE,
    a_namespace,
    is_kept,
    keep,
    near_cache,
    opened,
    until,
    value,
)
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import free_port


async def test_a_hit_takes_no_round_trip(
    near_server: PantlerServer, other: pantler.AsyncClient, namespace: str
) -> None:
    async with (
        FaultProxy(int(near_server.address.rpartition(":")[2])) as proxy,
        await opened(f"127.0.0.1:{proxy.port}", namespace) as near,
    ):
        await other.set(namespace, "k", b'"v"', content_type="application/json")
        await other.set(namespace, "n", b"w", tags=["t"])
        await keep(near, namespace, "k", "n")
        proxy.stall()
        before = near.near_cache_stats()
        entry = await near.get(namespace, "k")
        assert entry is not None
        assert (entry.value, entry.content_type) == (b'"v"', "application/json")
        many = await near.get_many(namespace, ["n", "k"])
        assert {key: one.value for key, one in many.items()} == {"n": b"w", "k": b'"v"'}
        assert many["n"].tags == ("t",)

        async def fetch(_: Any = None) -> Any:
            raise AssertionError("it is cached")

        assert await near.get_or_set(namespace, "n", fetch) == b"w"
        assert await near.get_many_or_set(namespace, ["n"], fetch) == {"n": b"w"}
        view = near.namespace(namespace, codec=codecs.JSON)
        assert await view.get("k") == "v"
        assert await view.get_many(["k"]) == {"k": "v"}
        assert await view.get_or_set("k", fetch) == "v"
        assert await view.get_many_or_set(["k"], fetch) == {"k": "v"}
        stats = near.near_cache_stats()
        assert (stats.hits - before.hits, stats.misses - before.misses) == (9, 0)
        assert stats.entries == 2


async def test_of_a_server_that_does_not_tell_of_writes_nothing_is_kept(
    near_server: PantlerServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pantler"):
        async with await opened(near_server.address, namespace, "untold") as near:
            for name in (namespace, "untold", "unnamed"):
                await near.set(name, "k", b"v")
            await keep(near, namespace, "k")
            for name in ("untold", "unnamed"):
                await near.get(name, "k")
                assert not is_kept(near, name, "k")
            await asyncio.sleep(1.2)  # a heartbeat
    assert [record.args for record in caplog.records if "keeps nothing" in record.msg] == [
        ("untold",)
    ]


async def test_stale_entries_and_misses_are_not_kept(
    near_server: PantlerServer, other: pantler.AsyncClient
) -> None:
    async with await opened(near_server.address, "soft") as near:
        await other.set("soft", "k", b"v")
        await keep(near, "soft", "k")
        await other.invalidate_keys("soft", ["k"], soft=True)
        await until(lambda: not is_kept(near, "soft", "k"))
        entry = await near.get("soft", "k", accept_stale=True)
        assert entry is not None
        assert entry.stale
        assert not is_kept(near, "soft", "k")
        assert await near.get("soft", "none") is None
        assert near._near is not None
        assert not near._near._placeholders


async def test_an_entry_is_kept_for_its_ttl_and_half_of_what_is_left_of_its_own(
    near_server: PantlerServer, other: pantler.AsyncClient
) -> None:
    brief, long = a_namespace(), a_namespace()
    cache = pantler.NearCache(
        {brief: timedelta(seconds=0.3), long: MINUTE}, ttl=MINUTE, settle=AT_ONCE
    )
    async with pantler.AsyncClient(near_server.address, near_cache=cache) as near:
        await near.get(brief, "anything")
        await until(lambda: near.near_cache_stats().is_sure)
        await other.set(brief, "k", b"v", ttl=MINUTE)
        await other.set(long, "k", b"v", ttl=timedelta(seconds=1))
        for namespace in (brief, long):
            await keep(near, namespace, "k")
        await until(lambda: not is_kept(near, brief, "k"), 0.5)
        await until(lambda: not is_kept(near, long, "k"), 0.8)
        assert await value(near, long, "k") is not None


async def test_reads_so_soon_after_a_change_are_not_kept(
    near_server: PantlerServer, namespace: str
) -> None:
    async with await opened(near_server.address, namespace, settle=timedelta(hours=1)) as near:
        await near.set(namespace, "k", b"v")
        await near.set(namespace, "other", b"v")
        assert near._near is not None
        near._near.spaces[namespace].recent.pop("other")
        await near.get_many(namespace, ["k", "other"])
        assert not is_kept(near, namespace, "k")


async def test_its_memory_is_bounded(near_server: PantlerServer, namespace: str) -> None:
    most = 4 << 20
    async with await opened(near_server.address, namespace, max_bytes=most) as near:
        store = near._near
        assert store is not None
        await near.set(namespace, "k", b"v", ttl=MINUTE)
        entry = await near.get(namespace, "k")
        assert entry is not None
        tracemalloc.start()
        for number in range(20_000):
            opened_one = store.open(namespace, f"key{number}")
            assert opened_one is not None
            kept = entry._replace(value=number.to_bytes(8) * 100, tags=(f"tag{number}",))
            store.keep(opened_one, kept)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        stats = near.near_cache_stats()
        assert most * 0.8 < stats.bytes <= most == stats.max_bytes
        assert 1_000 < stats.entries < 5_000
        assert held < 1.25 * most


async def test_reads_that_are_calls_of_their_own_fill_it_too(
    near_server: PantlerServer, namespace: str
) -> None:
    cache = near_cache(namespace)
    async with pantler.AsyncClient(near_server.address, coalesce=False, near_cache=cache) as near:
        await near.set(namespace, "k", b"v")
        async with asyncio.timeout(10):
            while not is_kept(near, namespace, "k"):
                assert await value(near, namespace, "k") == b"v"
                await asyncio.sleep(0.05)
        await near.delete(namespace, "k")
        assert await near.get(namespace, "k") is None


async def test_a_closed_client_gives_nothing(
    near: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    await other.set(namespace, "k", b"v")
    await keep(near, namespace, "k")
    await near.close()
    with pytest.raises(pantler.PantlerError, match="closed"):
        await near.get(namespace, "k")
    assert near.near_cache_stats().entries == 0


async def test_it_begins_when_the_server_does(namespace: str, tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(f"namespaces: {{{namespace}: {{near_cache: true}}}}\n")
    port = free_port()
    cache = near_cache(namespace)
    timeout = timedelta(seconds=1)
    async with pantler.AsyncClient(f"127.0.0.1:{port}", timeout=timeout, near_cache=cache) as near:
        with pytest.raises(pantler.Unavailable):
            await near.get(namespace, "k")
        async with PantlerServer("--listen", f"127.0.0.1:{port}", config=config):
            await until(lambda: near.near_cache_stats().is_sure)
            await near.set(namespace, "k", b"v")
            await keep(near, namespace, "k")


def test_the_client_for_threads_has_one_too(near_server: PantlerServer, namespace: str) -> None:
    with pantler.Client(near_server.address, near_cache=near_cache(namespace)) as client:
        client.set(namespace, "k", b"v")
        for _ in range(200):
            client.get(namespace, "k")
            if client.near_cache_stats().hits:
                break
            sleep(0.05)
        assert client.near_cache_stats().hits
        client.delete(namespace, "k")
        assert client.get(namespace, "k") is None


async def test_without_one_the_figures_are_0(other: pantler.AsyncClient) -> None:
    assert other.near_cache_stats() == pantler.NearCacheStats()
