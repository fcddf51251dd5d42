"""The registry of namespaces, on every topology."""

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.errors import NamespaceUnknown, NoOrigin, TooManyNamespaces
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline


async def test_the_number_of_partitions_is_fixed_at_the_first_use(
    store: Store, deadline: Deadline
) -> None:
    def worker(partitions: int) -> NamespaceEngine:
        settings = {"namespaces": {"fixed": {"partitions": partitions}}}
        return NamespaceEngine(store, store, Settings.model_validate(settings))

    first = await worker(5).resolve("fixed", deadline())
    later = await worker(9).resolve("fixed", deadline())
    assert len(first.partitions) == len(later.partitions) == 5


async def test_a_strict_server_knows_only_its_configuration(
    store: Store, deadline: Deadline
) -> None:
    settings = Settings.model_validate({"strict_namespaces": True, "namespaces": {"users": {}}})
    strict = NamespaceEngine(store, store, settings)
    assert (await strict.resolve("users", deadline())).configured
    with pytest.raises(NamespaceUnknown, match="userz"):
        await strict.resolve("userz", deadline())


async def test_a_use_of_records_creates_no_namespace_without_an_origin(
    store: Store, deadline: Deadline
) -> None:
    table = {"sql": {"url": "sqlite:////tmp/app.db", "table": "users"}}
    settings = Settings.model_validate({"namespaces": {"recorded": {"origin": table}}})
    engine = NamespaceEngine(store, store, settings)
    await engine.resolve("recorded", deadline(), for_records=True)
    with pytest.raises(NoOrigin):
        await engine.resolve("recorderd", deadline(), for_records=True)
    names = {one.name for one in await engine.list(deadline())}
    assert "recorded" in names
    assert "recorderd" not in names


async def test_one_namespace_too_many_is_refused(store: Store, deadline: Deadline) -> None:
    settings = Settings.model_validate({"max_dynamic_namespaces": 1, "namespaces": {"mine": {}}})
    bounded = NamespaceEngine(store, store, settings)
    await bounded.resolve("dynamic1", deadline())
    await bounded.resolve("mine", deadline())
    await bounded.resolve("dynamic1", deadline())
    with pytest.raises(TooManyNamespaces, match="max_dynamic_namespaces"):
        await bounded.resolve("dynamic2", deadline())


async def test_a_reload_changes_a_namespace_in_use(store: Store, deadline: Deadline) -> None:
    engine = NamespaceEngine(store, store, Settings())
    assert (await engine.resolve("reloaded", deadline())).ttl_ms == 3_600_000
    engine.apply(Settings.model_validate({"namespaces": {"reloaded": {"ttl": "5m"}}}))
    assert (await engine.resolve("reloaded", deadline())).ttl_ms == 300_000


async def test_the_list_has_configured_and_used_namespaces_by_name(
    store: Store, deadline: Deadline
) -> None:
    settings = Settings.model_validate(
        {"namespace_defaults": {"ttl": "2h"}, "namespaces": {"a-configured": {"max_ttl": "9h"}}}
    )
    engine = NamespaceEngine(store, store, settings)
    await engine.resolve("b-used", deadline())
    listed = {one.name: one for one in await engine.list(deadline())}
    assert list(listed) == sorted(listed)
    assert listed["a-configured"].configured
    assert listed["a-configured"].partitions == 0
    assert not listed["b-used"].configured
    assert listed["b-used"].partitions == store.topology.default_partitions
    assert listed["a-configured"].config.ttl == settings.namespace_defaults.ttl
