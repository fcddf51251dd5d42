"""Who takes what comes: found without matching each pattern for each subscriber and message."""

import re
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pantler_server.core.glob import Glob, compile_glob
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import routes
from pantler_server.engines.pubsub.backlog import Backlog
from pantler_server.engines.pubsub.routes import Routes
from pantler_server.engines.pubsub.subscriber import Subscriber

WAY = "pantler:channel:shop:order:*"


class Counted:
    """A compiled pattern that counts how often it is asked."""

    def __init__(self, matcher: re.Pattern[str]) -> None:
        self.times = 0
        self._matcher = matcher

    def fullmatch(self, text: str) -> Any:
        self.times += 1
        return self._matcher.fullmatch(text)


def counted(pattern: str) -> tuple[Glob, Counted]:
    glob = compile_glob(pattern)
    matcher = Counted(glob.matcher)
    return replace(glob, matcher=cast(Any, matcher)), matcher


def subscriber(*channels: str, globs: tuple[tuple[Glob, str], ...] = ()) -> Subscriber:
    return Subscriber(channels, globs, Backlog(()))


@pytest.fixture
def table() -> Routes:
    return Routes(cast(Namespace, SimpleNamespace(name="shop")))


def test_a_pattern_of_many_is_matched_once(table: Routes) -> None:
    glob, asked = counted("order:*")
    many = [subscriber(globs=((glob, WAY),)) for _ in range(500)]
    for one in many:
        table.add(one)
    assert list(table.by_glob(WAY, "order:1")) == many
    assert list(table.by_glob(WAY, "order:1")) == many
    assert asked.times == 1


def test_channels_in_turn_are_matched_once_each(table: Routes) -> None:
    glob, asked = counted("order:*")
    one = subscriber(globs=((glob, WAY),))
    table.add(one)
    for _ in range(3):
        for number in range(1_100):
            assert list(table.by_glob(WAY, f"order:{number}")) == [one]
    assert asked.times == 1_100


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(
    table: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MAX_WEIGHT", 31 * 10)
    glob, asked = counted("order:*")
    table.add(subscriber(globs=((glob, WAY),)))
    for number in range(1, 50):
        list(table.by_glob(WAY, "order:0"))
        list(table.by_glob(WAY, f"order:{number}"))
        assert len(table._matched) <= 10
    assert asked.times == 50


def test_who_comes_and_goes_is_found_at_once(table: Routes) -> None:
    wide = compile_glob("order:*")
    narrow = compile_glob("order:1*")
    first = subscriber(globs=((wide, WAY),))
    same = subscriber(globs=((compile_glob("order:*"), WAY),))
    by_name = subscriber("order:1", globs=((wide, WAY),))
    other = subscriber(globs=((narrow, WAY),))
    table.add(first)
    assert list(table.by_glob(WAY, "order:1")) == [first]
    for one in (same, by_name, other):
        table.add(one)
    assert set(table.by_glob(WAY, "order:1")) == {first, same, other}
    assert set(table.by_glob(WAY, "order:2")) == {first, same, by_name}
    assert sorted(map(id, table.takers("order:1"))) == sorted(
        map(id, (first, same, by_name, other))
    )
    assert not table.remove(first)
    assert not table.remove(other)
    assert set(table.by_glob(WAY, "order:1")) == {same}
    assert not table.remove(same)
    assert {name.text for name in table.remove(by_name)} == {WAY, "pantler:channel:shop:order:1"}
    assert not list(table.takers("order:1"))


def test_takers_are_found_without_a_walk_over_all_channels(table: Routes) -> None:
    many = [subscriber(f"c{number}") for number in range(10_000)]
    for one in many:
        table.add(one)
    began = time.thread_time()
    for number in range(2_000):
        assert list(table.takers(f"c{number}")) == [many[number]]
    assert time.thread_time() - began < 0.5  # 1.6 s with the walk, else some milliseconds
