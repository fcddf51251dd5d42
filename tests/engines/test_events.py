"""Events: what the rules do to a real cache, once or again."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.errors import (
    CascadeTooWide,
    InvalidFields,
    OutcomeUnknown,
    ServiceError,
    WrongKind,
)
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.events import keys
from pantler_server.engines.events.engine import EventEngine
from pantler_server.engines.events.model import Event, Published, RuleOutcome
from pantler_server.engines.events.records import RECORD_MS
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.request import Argument, Request, pack
from pantler_server.store.store import Store

from tests.engines.caller import Caller
from tests.engines.purging import purging_of

_ids = count()


def an_id() -> str:
    return f"event{next(_ids)}"


class Crashing:
    """Invalidation that fails where a test says so."""

    def __init__(self, engine: CacheEngine) -> None:
        self._engine = purging_of(engine)
        self.failures: list[ServiceError | None] = []
        """Of the calls to come; None: it does what it is told."""
        self.calls = 0

    async def invalidate_keys(
        self, space: Namespace, named: Sequence[str], deadline: float, **said: bool
    ) -> tuple[list[str], str]:
        self._crash()
        return await self._engine.invalidate_keys(space, named, deadline, **said)

    async def invalidate_tags(
        self, space: Namespace, tags: Sequence[str], deadline: float, **said: bool
    ) -> str:
        self._crash()
        return await self._engine.invalidate_tags(space, tags, deadline, **said)

    async def invalidate_namespace(
        self, space: Namespace, deadline: float, **said: bool
    ) -> tuple[int, str]:
        self._crash()
        return await self._engine.invalidate_namespace(space, deadline, **said)

    def _crash(self) -> None:
        self.calls += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


@pytest.fixture
def invalidation(engine: CacheEngine) -> Crashing:
    return Crashing(engine)


class Publisher:
    """Events with rules in one namespace."""

    def __init__(self, engine: EventEngine, namespace: str) -> None:
        self._engine = engine
        self._namespace = namespace

    def rules(self, *rules: dict[str, Any]) -> "Publisher":
        """Puts rules in force for events of type `t`."""
        common = {"type": "t", "namespace": self._namespace}
        events = [{"name": f"r{index}", **common, **rule} for index, rule in enumerate(rules)]
        self._engine.apply(Settings.model_validate({"events": events}))
        return self

    async def publish(self, event_id: str = "", kind: str = "t", **fields: Any) -> Published:
        deadline = asyncio.get_running_loop().time() + 5.0
        return await self._engine.publish(Event(kind, fields, event_id), deadline)


@pytest.fixture
def events(
    store: Store, namespaces: NamespaceEngine, invalidation: Crashing, space: Namespace
) -> Publisher:
    return Publisher(EventEngine(store, Settings(), namespaces, invalidation), space.name)


async def there(one: Caller, *wanted: str, accept_stale: bool = False) -> list[str]:
    """Which of the keys have an entry."""
    found = [await one.get(key, accept_stale=accept_stale) for key in wanted]
    return [key for key, hit in zip(wanted, found, strict=True) if hasattr(hit, "value")]


async def test_keys_and_tags_of_an_event_are_invalidated(events: Publisher, one: Caller) -> None:
    await one.set("user:1")
    await one.set("user:2")
    await one.set("page", tags=("shop:7",))
    events.rules(
        {"keys": ["user:{user_id}", "orders:{user_id}"]},
        {"when": {"big": True}, "tags": ["shop:{shop}"]},
        {"when": {"big": False}, "all": True},
    )
    published = await events.publish(user_id=1.0, shop="7", big=True)
    name = one.space.name
    assert published == Published(
        [
            RuleOutcome("r0", name, False, ["user:1", "orders:1"], 0, [], False),
            RuleOutcome("r1", name, False, [], 0, ["shop:7"], False),
        ],
        duplicate=False,
    )
    assert await there(one, "user:1", "user:2", "page") == ["user:2"]


async def test_a_rule_may_take_the_namespace(events: Publisher, one: Caller) -> None:
    await one.set("a")
    events.rules({"all": True})
    published = await events.publish()
    assert published.outcomes[0].all
    assert await there(one, "a") == []


async def test_a_soft_rule_makes_stale(events: Publisher, graced: Caller) -> None:
    await graced.set("a")
    events.rules({"keys": ["a"], "mode": "soft", "namespace": graced.space.name})
    assert (await events.publish()).outcomes[0].soft
    assert await there(graced, "a") == []
    assert await there(graced, "a", accept_stale=True) == ["a"]


async def test_a_cascade_says_how_much_it_reached(events: Publisher, one: Caller) -> None:
    await one.set("page", depends_on=("user:1",))
    await one.set("site", depends_on=("page",))
    events.rules({"keys": ["user:{id}"], "cascade": True})
    [outcome] = (await events.publish(id="1")).outcomes
    assert (outcome.keys, outcome.cascaded) == (["user:1"], 2)
    assert await there(one, "page", "site") == []


async def test_an_event_without_a_rule_does_nothing(
    events: Publisher, invalidation: Crashing
) -> None:
    events.rules({"when": {"a": 1}, "all": True})
    for published in (
        await events.publish(an_id(), kind="other"),
        await events.publish(a=2.0),
        await events.publish(an_id(), a=2.0),
    ):
        assert published == Published(published.outcomes, duplicate=False)
        assert not published.outcomes
    assert invalidation.calls == 0


async def test_an_empty_list_invalidates_nothing(events: Publisher, invalidation: Crashing) -> None:
    events.rules({"keys": ["{ids}"], "tags": ["{ids}"], "cascade": True})
    [outcome] = (await events.publish(ids=[])).outcomes
    assert (outcome.keys, outcome.tags, outcome.cascaded) == ([], [], 0)
    assert invalidation.calls == 0


async def test_the_same_id_again_gets_the_first_answer_and_does_nothing(
    events: Publisher, one: Caller, invalidation: Crashing
) -> None:
    rules: list[dict[str, Any]] = [{"keys": ["{ids}"], "cascade": True}, {"tags": ["ü{ids}"]}]
    events.rules(*rules)
    await one.set("page", depends_on=("a",))
    event_id = an_id()
    first = await events.publish(event_id, ids=["a", "b"])
    assert not first.duplicate
    await one.set("a")
    events.rules({"keys": ["{other}"]})  # other rules by now, which the event would not do for
    again = await events.publish(event_id, ids=["a", "b"])
    assert again == Published(first.outcomes, duplicate=True)
    assert invalidation.calls == 2
    assert await there(one, "a") == ["a"]


async def test_an_event_without_an_id_is_another_each_time(events: Publisher, one: Caller) -> None:
    events.rules({"keys": ["a"]})
    for _ in range(2):
        await one.set("a")
        assert not (await events.publish()).duplicate
        assert await there(one, "a") == []


async def test_an_id_is_for_one_event(events: Publisher, one: Caller) -> None:
    events.rules({"keys": ["{id}"]}, {"type": "u", "keys": ["{id}"]})
    event_id = an_id()
    await events.publish(event_id, id="a", more=[1.0, {"x": None}])
    assert (await events.publish(event_id, more=[1.0, {"x": None}], id="a")).duplicate
    await one.set("b")
    for fields, kind in (({"id": "b"}, "t"), ({"id": "a", "more": [1.0, {"x": None}]}, "u")):
        with pytest.raises(InvalidFields) as failed:
            await events.publish(event_id, kind=kind, **fields)
        assert [one.path for one in failed.value.violations] == ["event_id"]
    assert await there(one, "b") == ["b"]


async def test_a_record_is_small_and_expires(events: Publisher, store: Store) -> None:
    events.rules({"keys": ["{ids}"]})
    event_id = an_id()
    await events.publish(event_id, ids=[f"product:{number}" for number in range(100)])
    place = keys.record(event_id)
    assert RECORD_MS - 60_000 < await on(store, place, "PTTL", place) <= RECORD_MS
    assert await on(store, place, "STRLEN", place) < 500


async def on(store: Store, place: str, *command: Argument) -> Any:
    request = Request(store.slot_of(place), (pack(*command),), place, repeatable=False)
    [reply] = await store.call(request, asyncio.get_running_loop().time() + 5.0)
    return reply


async def test_foreign_data_in_the_place_of_a_record_is_left_alone(
    events: Publisher, store: Store, invalidation: Crashing
) -> None:
    events.rules({"keys": ["a"]})
    event_id = an_id()
    place = keys.record(event_id)
    await on(store, place, "HSET", place, "f", "v")
    with pytest.raises(WrongKind):
        await events.publish(event_id)
    assert invalidation.calls == 0


async def test_a_missing_field_of_any_rule_keeps_all_from_being_applied(
    events: Publisher, one: Caller
) -> None:
    await one.set("a")
    events.rules({"keys": ["a"]}, {"name": "second", "keys": ["{user_id}"]})
    event_id = an_id()
    with pytest.raises(InvalidFields) as failed:
        await events.publish(event_id)
    assert str(failed.value) == "fields.user_id must be set: event rule 'second' needs it"
    assert await there(one, "a") == ["a"]
    assert not (await events.publish(event_id, user_id="1")).duplicate


async def test_what_a_crash_left_undone_is_done_by_the_repeat(
    events: Publisher, one: Caller, invalidation: Crashing
) -> None:
    events.rules({"keys": ["a"]}, {"tags": ["t"]}, {"keys": ["c"]})
    await one.set("a")
    await one.set("b", tags=("t",))
    await one.set("c")
    event_id = an_id()
    invalidation.failures = [None, OutcomeUnknown("away", "cache")]
    with pytest.raises(OutcomeUnknown) as failed:
        await events.publish(event_id)
    assert failed.value.metadata == {"role": "cache", "rule": "r1"}
    assert await there(one, "a", "b", "c") == ["b", "c"]
    again = await events.publish(event_id)
    assert not again.duplicate
    assert [outcome.rule for outcome in again.outcomes] == ["r0", "r1", "r2"]
    assert await there(one, "a", "b", "c") == []
    assert (await events.publish(event_id)).duplicate


async def test_a_rule_that_can_not_be_applied_keeps_no_other_from_it(
    events: Publisher, one: Caller, invalidation: Crashing
) -> None:
    events.rules({"keys": ["a"]}, {"keys": ["b"]}, {"keys": ["c"]})
    event_id = an_id()
    for _ in range(2):
        await one.set("b")
        invalidation.failures = [CascadeTooWide(10, 2), None, WrongKind("c")]
        with pytest.raises(CascadeTooWide) as failed:
            await events.publish(event_id)
        assert failed.value.metadata["rule"] == "r0"
        assert await there(one, "b") == []
    assert not (await events.publish(event_id)).duplicate


async def test_two_at_once_may_both_apply_it(events: Publisher, one: Caller) -> None:
    events.rules({"keys": ["a"]})
    await one.set("a")
    event_id = an_id()
    for published in await asyncio.gather(*(events.publish(event_id) for _ in range(5))):
        assert [outcome.rule for outcome in published.outcomes] == ["r0"]
    assert await there(one, "a") == []
    assert (await events.publish(event_id)).duplicate
