"""Channels: what is published comes once and in order."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pantler_server.core.errors import InvalidFields, ShuttingDown
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import feed, keys, metrics
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.engines.pubsub.model import Heartbeat
from pantler_server.store.store import Store

from tests.engines.listening import Heard, listening, publish, subscribed, with_history
from tests.engines.pubsub.conftest import Do, worker


async def test_what_a_worker_publishes_another_gives_in_order(
    one: PubSubEngine, other: PubSubEngine, space: Namespace
) -> None:
    expected = [str(number) for number in range(200)]
    async with listening(one, space, "a") as heard:
        assert [type(event) for event in heard.events] == [Heartbeat]
        await publish(other, space, "a", *expected)
        await heard.count(200)
        assert heard.payloads == expected
        assert set(heard.sequences) == {0}
        assert not heard.gaps


async def test_a_message_has_what_was_given_with_it(
    one: PubSubEngine, other: PubSubEngine, space: Namespace, kept: Namespace
) -> None:
    for place in (space, replace(kept, name=f"{kept.name}-kept")):
        async with listening(one, place, "a") as heard:
            await publish(other, place, "a", "", content_type="text/plain")
            await publish(other, place, "a", "\0ö" * 1000)
            await heard.count(2)
            first, second = heard.messages
            assert (first.channel, first.payload, first.content_type) == ("a", b"", "text/plain")
            assert (second.payload.decode(), second.content_type) == ("\0ö" * 1000, "")


@pytest.mark.parametrize("history", [False, True])
async def test_each_message_comes_once_by_channel_and_pattern(
    one: PubSubEngine, other: PubSubEngine, space: Namespace, *, history: bool
) -> None:
    if history:
        space = with_history(space)
    async with (
        listening(one, space, "news:a", "plain") as exact,
        listening(one, space, patterns=["news:*"]) as by_pattern,
        listening(one, space, "news:a", patterns=["news:*", "*:b", "news:[^b]"]) as by_all,
        listening(one, space, patterns=["*"]) as everything,
    ):
        for channel in ("news:a", "news:b", "plain", "other:b"):
            await publish(other, space, channel, channel)
        await publish(other, space, "news:a", "end")
        everyone: list[Heard] = [exact, by_pattern, by_all, everything]
        for heard in everyone:
            await heard.payload("end")
        assert exact.payloads == ["news:a", "plain", "end"]
        assert by_pattern.payloads == ["news:a", "news:b", "end"]
        assert by_all.payloads == ["news:a", "news:b", "other:b", "end"]
        assert everything.payloads == ["news:a", "news:b", "plain", "other:b", "end"]


async def test_patterns_are_ours_and_not_those_of_redis(
    one: PubSubEngine, other: PubSubEngine, space: Namespace
) -> None:
    """Redis's `?` is a byte, and its classes know no characters of several."""
    odd = ["ö", "a*b[c]\\", "a-b", "axb", "{x}", "a\nb".replace("\n", " ")]
    async with listening(one, space, patterns=["?", "a\\*b\\[c\\]\\\\", "a[-x]b", "{x}"]) as heard:
        for channel in [*odd, "end"]:
            await publish(other, space, channel, channel)
        await publish(other, space, "z", "end")
        await heard.payload("end")
        assert heard.payloads == ["ö", "a*b[c]\\", "a-b", "axb", "{x}", "end"]


async def test_another_namespace_is_not_heard(
    one: PubSubEngine, other: PubSubEngine, space: Namespace
) -> None:
    longer = replace(space, name=f"{space.name}0")
    async with listening(one, space, patterns=["*"]) as heard:
        await publish(other, longer, "a", "theirs")
        await publish(other, space, "a", "ours")
        await heard.count(1)
        assert heard.payloads == ["ours"]


async def test_nothing_is_left_in_redis_when_all_have_gone(
    one: PubSubEngine, other: PubSubEngine, space: Namespace, run: Do,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def channels() -> Any:
        return run("PUBSUB", "CHANNELS", f"pantler:channel:{space.name}:*")

    monkeypatch.setattr(feed, "LINGER_S", 0.1)
    patterns_before = await run("PUBSUB", "NUMPAT")
    async with listening(one, space, "a") as staying:
        async with listening(one, space, "a", "b", patterns=["a*"]):
            assert len(await channels()) == 2
        await publish(other, space, "a", "still")
        await staying.count(1)
        assert await channels() == [f"pantler:channel:{space.name}:a".encode()]
        assert await run("PUBSUB", "NUMPAT") == patterns_before
    async with asyncio.timeout(5):
        while space.name in one._feeds:
            await asyncio.sleep(0.02)
        while await channels():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("history", [False, True])
async def test_a_request_id_publishes_once(
    one: PubSubEngine, other: PubSubEngine, space: Namespace, run: Do, *, history: bool
) -> None:
    if history:
        space = with_history(space)
    async with listening(one, space, "a", "b") as heard:
        first = await publish(other, space, "a", "x", request_id="id")
        assert await publish(one, space, "a", "x", request_id="id") == first
        for channel, payload, content_type in (("a", "y", ""), ("b", "x", ""), ("a", "x", "t")):
            with pytest.raises(InvalidFields, match="request_id"):
                await publish(
                    one, space, channel, payload, request_id="id", content_type=content_type
                )
        await publish(other, space, "a", "end")
        await heard.payload("end")
        assert heard.payloads == ["x", "end"]
    assert 590_000 < await run("PTTL", keys.answer(space, "id")) <= 600_000


async def test_a_dismissed_worker_ends_subscriptions_and_takes_none(
    store: Store, space: Namespace
) -> None:
    async with worker(store) as leaving, listening(leaving, space, "a") as heard:
        leaving.dismiss()
        with pytest.raises(ShuttingDown):
            await heard.until(lambda: False)
        with pytest.raises(ShuttingDown):
            await anext(subscribed(leaving, space, "a"))


async def test_what_others_publish_on_its_channels_is_left_alone(
    one: PubSubEngine, space: Namespace, run: Do
) -> None:
    async with listening(one, space, "a", patterns=["b*"]) as heard:
        await run("PUBLISH", keys.channel(space, "a"), "short")
        await run("PUBLISH", keys.channel(space, "a"), bytes(16) + b"\xff")
        await run("PUBLISH", keys.channel(space, "b").encode() + b"\xff", bytes(17))
        await publish(one, space, "a", "ours")
        await heard.payload("ours")


async def test_routing_forgets_what_it_does_not_need(one: PubSubEngine, space: Namespace) -> None:
    async with listening(one, space, "end", patterns=["*"]) as heard:
        routes = one._feeds[space.name]._routes
        await asyncio.gather(*(publish(one, space, f"c{n}", "x") for n in range(1_100)))
        await heard.count(1_100)
    assert not routes._takers
    assert not routes._groups
    assert not routes._matched
    assert not one._backlog.bytes


async def test_what_is_done_is_counted(
    one: PubSubEngine, space: Namespace, kill_subscriptions: Do
) -> None:
    def values() -> list[float]:
        metrics.flush()
        gaps = metrics._GAPS.labels("disconnected")
        counted: list[Any] = [metrics._PUBLISHED, metrics._GIVEN, gaps, metrics.SUBSCRIBERS]
        return [one._value.get() for one in counted]

    before = values()
    async with listening(one, space, "a") as heard, listening(one, space, "a", "b"):
        await publish(one, space, "a", "x")
        await heard.count(1)
        await kill_subscriptions()
        await heard.until(lambda: heard.gaps)
        grown = [now - then for now, then in zip(values(), before, strict=True)]
        assert grown == [1, 2, 2, 2]
