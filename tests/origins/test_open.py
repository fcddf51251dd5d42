"""The origins of a worker, over reloads."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from pantler_server.core.config import Settings
from pantler_server.core.errors import OriginUnavailable
from pantler_server.origins import guard
from pantler_server.origins.open import Origins
from pantler_server.origins.origin import Origin, OriginHealth
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.servers.origin_service import OriginService


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest_asyncio.fixture
async def service() -> AsyncIterator[OriginService]:
    async with OriginService() as running:
        running.put("ada", n=1)
        yield running


@pytest_asyncio.fixture
async def other_service() -> AsyncIterator[OriginService]:
    async with OriginService() as running:
        running.put("ada", n=2)
        yield running


def behind(service: OriginService, **options: Any) -> dict[str, Any]:
    return {"origin": {"grpc": {"target": service.target}, **options}}


def behind_nobody() -> dict[str, Any]:
    """A database that does not answer."""
    return {"origin": {"sql": {"url": "postgresql://app@127.0.0.1:1/app", "table": "users"}}}


def settings(defaults: Any = None, **namespaces: Any) -> Settings:
    return Settings.model_validate({"namespace_defaults": defaults or {}, "namespaces": namespaces})


async def load(origin: Origin | None) -> Any:
    assert origin is not None
    return await origin.load("ada", soon())


async def test_a_namespace_has_its_origin_or_none(
    service: OriginService, other_service: OriginService
) -> None:
    origins = Origins(settings(one=behind(service), other=behind(other_service), none={}))
    await origins.start()
    assert await load(origins.of("one")) == {"n": 1}
    assert await load(origins.of("other")) == {"n": 2}
    assert origins.of("none") is None
    assert origins.of("unheard") is None
    assert origins.health() == [OriginHealth("one", True, ""), OriginHealth("other", True, "")]
    await origins.stop()


async def test_namespaces_with_one_url_share_their_connections() -> None:
    origins = Origins(settings(one=behind_nobody(), other=behind_nobody()))
    await origins.start()
    await asyncio.sleep(0)  # both begin
    assert origins._databases is not None
    assert len(origins._databases) == 1
    used = {
        origin._inner._calls._databases  # type: ignore[attr-defined]  # a SqlOrigin's
        for origin in origins._origins.values()
    }
    assert used == {origins._databases}
    await origins.stop()


async def test_an_origin_that_was_not_looked_at_yet_is_not_said_to_be_available(
    tmp_path: Path,
) -> None:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE users (id TEXT PRIMARY KEY, n INTEGER)")

    def over(table: str) -> dict[str, Any]:
        return {"origin": {"sql": {"url": f"sqlite:///{file}", "table": table}}}

    origins = Origins(settings(there=over("users"), gone=over("nothing")))
    await origins.start()
    unseen = OriginHealth("gone", False, "not looked at yet")
    assert origins.health() == [unseen, OriginHealth("there", False, "not looked at yet")]
    async with asyncio.timeout(5):
        while any(one.detail == "not looked at yet" for one in origins.health()):
            await asyncio.sleep(0.01)
    gone, there = origins.health()
    assert (gone.available, "nothing" in gone.detail) == (False, True)
    assert there == OriginHealth("there", True, "")
    origins.apply(settings(there=behind_nobody()))
    assert [one.detail for one in origins.health()] == ["not looked at yet"]
    await origins.stop()


async def test_tables_and_services_stand_side_by_side(
    service: OriginService, tmp_path: Path
) -> None:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE users (id TEXT PRIMARY KEY, n INTEGER)")
        database.execute("INSERT INTO users VALUES ('ada', 3), ('bob', 4), ('eve', 5)")
        database.commit()
    table = {"origin": {"sql": {"url": f"sqlite:///{file}", "table": "users"}}}
    origins = Origins(settings(service=behind(service), table=table))
    await origins.start()
    assert await load(origins.of("service")) == {"n": 1}
    assert await load(origins.of("table")) == {"id": "ada", "n": 3}
    origin = origins.of("table")
    assert origin is not None
    assert [page async for page in origin.list_keys(None, "", 2)] == [["ada", "bob"], ["eve"]]
    await origins.stop()


async def test_an_origin_by_default_is_made_for_whoever_asks(service: OriginService) -> None:
    origins = Origins(settings(behind(service), named={}, without={"origin": None}))
    await origins.start()
    assert [one.namespace for one in origins.health()] == ["named"]
    assert await load(origins.of("named")) == {"n": 1}
    assert await load(origins.of("dynamic")) == {"n": 1}
    assert origins.of("dynamic") is origins.of("dynamic")
    assert origins.of("without") is None
    assert [one.namespace for one in origins.health()] == ["dynamic", "named"]
    origins.apply(settings())
    assert origins.of("dynamic") is None
    assert origins.health() == []
    await origins.stop()


async def test_a_reload_leaves_origins_alone_that_did_not_change(
    service: OriginService, other_service: OriginService
) -> None:
    origins = Origins(settings(same=behind(service), moved=behind(service)))
    await origins.start()
    same, moved = origins.of("same"), origins.of("moved")
    origins.apply(
        settings(same={"ttl": "5m", **behind(service)}, moved=behind(other_service), new={})
    )
    assert origins.of("same") is same
    assert origins.of("moved") is not moved
    assert await load(origins.of("moved")) == {"n": 2}
    origins.apply(settings(new=behind(service)))
    assert origins.of("same") is None
    assert await load(origins.of("new")) == {"n": 1}
    await origins.stop()


async def test_calls_under_way_keep_their_origin_over_a_reload(
    service: OriginService, other_service: OriginService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "RETIRED_AFTER_S", 0.05)
    origins = Origins(settings(users=behind(service)))
    await origins.start()
    old = origins.of("users")
    service.goes_on.clear()
    calls = [asyncio.create_task(load(old)) for _ in range(5)]
    async with asyncio.timeout(5):
        while service.under_way < 5:
            await asyncio.sleep(0.001)
    origins.apply(settings(users=behind(other_service)))
    assert await load(origins.of("users")) == {"n": 2}
    [retiring] = origins._retiring.values()
    service.goes_on.set()
    assert await asyncio.gather(*calls) == [{"n": 1}] * 5
    assert await load(old) == {"n": 1}  # of who had it before
    await retiring
    with pytest.raises(OriginUnavailable, match="not used any more"):
        await load(old)
    assert not origins._retiring
    await origins.stop()


async def test_a_stop_waits_for_no_retirement(
    service: OriginService, other_service: OriginService
) -> None:
    origins = Origins(settings(users=behind(service)))
    await origins.start()
    old = origins.of("users")
    assert await load(old) == {"n": 1}
    origins.apply(settings(users=behind(other_service)))
    async with asyncio.timeout(1):
        await origins.stop()
    with pytest.raises(OriginUnavailable, match="not used any more"):
        await load(old)
    assert not origins._channels._open


async def test_each_problem_is_logged_once_and_when_it_is_mended(tmp_path: Path) -> None:
    broken = {"origin": {"grpc": {"target": "localhost:1", "ca_file": tmp_path / "no.crt"}}}
    origins = Origins(settings(users=broken))
    await origins.start()
    async with asyncio.timeout(5):
        while origins.health()[0].detail in ("", "not looked at yet"):
            await asyncio.sleep(0.001)
    with capture_logs() as logs:
        origins.report()
        origins.report()
        origins.apply(settings(users={"origin": {"grpc": {"target": "localhost:1"}}}))
        origins.report()
    assert [(line["event"], line["namespace"]) for line in logs] == [
        ("origin can't serve", "users"),
        ("origin can serve", "users"),
    ]
    await origins.stop()


async def test_the_gauge_of_a_namespace_is_that_of_its_newest_origin(
    service: OriginService, other_service: OriginService
) -> None:
    def is_open() -> float | None:
        return REGISTRY.get_sample_value("pantler_origin_open", {"namespace": "gauged"})

    once = {"breaker": {"failures": 1}}
    origins = Origins(settings(gauged=behind(service, **once)))
    await origins.start()
    service.fails = other_service.fails = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(OriginUnavailable):
        await load(origins.of("gauged"))
    assert is_open() == 1
    origins.apply(settings(gauged=behind(other_service, **once)))
    assert is_open() == 0
    with pytest.raises(OriginUnavailable):
        await load(origins.of("gauged"))
    [old] = origins._retiring
    await old.stop()
    assert is_open() == 1
    await origins.stop()
    assert is_open() == 0
