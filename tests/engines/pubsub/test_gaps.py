"""Channels: what may be missing is told as a gap, and heartbeats vouch for the rest."""

import asyncio
import random
from contextlib import aclosing
from typing import Any

import pytest
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import keys, scripts
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.engines.pubsub.model import Gap, GapReason, Message
from pantler_server.engines.pubsub.subscriber import MAX_MESSAGES

from tests.engines.listening import listening, publish, subscribed, with_history
from tests.engines.pubsub.conftest import Do


async def test_lost_counts_are_a_gap_also_to_who_listens(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace, run: Do
) -> None:
    async with (
        listening(one, kept, "a") as quiet,
        listening(other, kept, "a") as heard,
    ):
        [before] = await publish(one, kept, "a", "before")
        await heard.count(1)
        await run("DEL", keys.counts(kept))
        [after] = await publish(one, kept, "a", "after")
        assert after > before + 1
        for each in (heard, quiet):
            await each.payload("after")
            assert each.payloads == ["before", "after"]
            assert each.gaps == [GapReason.FAILOVER]
            gap = next(event for event in each.events if isinstance(event, Gap))
            assert gap.sequence == after - 1
        async with listening(one, kept, "a", resume_after=before) as resumed:
            await resumed.count(1)
            assert resumed.gaps == [GapReason.FAILOVER]
            assert resumed.payloads == ["after"]


async def test_lost_counts_are_noticed_before_anything_is_published(
    one: PubSubEngine, kept: Namespace, run: Do
) -> None:
    async with listening(one, kept, "a") as heard:
        await publish(one, kept, "a", "before")
        await heard.count(1)
        await run("DEL", keys.counts(kept), keys.history(kept))
        await heard.until(lambda: heard.gaps)
        await publish(one, kept, "a", "after")
        await heard.payload("after")
        assert heard.gaps == [GapReason.FAILOVER]


@pytest.mark.parametrize("history", [False, True])
async def test_a_slow_subscriber_gets_a_gap_and_holds_little(
    one: PubSubEngine, other: PubSubEngine, space: Namespace, *, history: bool
) -> None:
    if history:
        space = with_history(space)
    payload = "x" * 60_000
    async with (
        aclosing(subscribed(one, space, "a", heartbeat_s=60)) as slow,
        listening(one, space, "a") as fast,
    ):
        await anext(slow)
        sequences = await publish(other, space, "a", *[payload] * 100)
        await fast.count(100)
        [subscriber] = [one_ for one_ in one._subscribers if len(one_._queue) > 1]
        assert subscriber._bytes <= 4 << 20
        first = await anext(slow)
        assert isinstance(first, Gap)
        assert first.reason is GapReason.SLOW
        rest = [await anext(slow) for _ in range(len(subscriber._queue))]
        assert sum(isinstance(event, Message) for event in rest) == len(rest) < 100
        if history:
            assert [event.sequence for event in rest] == sequences[-len(rest) :]
            assert first.sequence == rest[0].sequence - 1
        assert not fast.gaps


async def test_many_small_messages_make_a_subscriber_slow_too(
    one: PubSubEngine, space: Namespace
) -> None:
    async with aclosing(subscribed(one, space, "a", heartbeat_s=60)) as slow:
        await anext(slow)
        [subscriber] = one._subscribers
        for _ in range(MAX_MESSAGES + 5):
            subscriber.put(Message("a", b"", "", 0, 0))
        assert len(subscriber._queue) == 6  # a gap, and what came after it
        assert isinstance(await anext(slow), Gap)


async def test_a_message_longer_than_the_bound_is_given(
    one: PubSubEngine, space: Namespace
) -> None:
    async with listening(one, space, "a") as heard:
        await publish(one, space, "a", "x" * (5 << 20))
        await heard.count(1)
        assert not heard.gaps


async def test_heartbeats_vouch_for_what_others_were_given(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace
) -> None:
    async with listening(one, kept, "quiet") as heard:
        [newest] = await publish(other, kept, "a", "x")
        await heard.until(lambda: newest in heard.heartbeats)
        assert heard.heartbeats == sorted(heard.heartbeats)
    async with listening(one, kept, "quiet", resume_after=newest) as heard:
        assert heard.heartbeats == [newest]


@pytest.mark.parametrize("history", [False, True])
async def test_a_lost_connection_loses_nothing_or_is_a_gap(
    one: PubSubEngine, other: PubSubEngine, space: Namespace, kill_subscriptions: Do,
    *, history: bool,
) -> None:  # fmt: skip
    if history:
        space = with_history(space)
    async with listening(one, space, "a", patterns=["b*"]) as heard:
        await publish(other, space, "a", "first")
        await heard.count(1)
        await kill_subscriptions()
        await publish(other, space, "a", "between")
        await publish(other, space, "b1", "between")
        if not history:
            await heard.until(lambda: heard.gaps)
            assert heard.gaps == [GapReason.DISCONNECTED]
        await publish(other, space, "a", "last")
        await heard.payload("last")
        if history:
            assert heard.payloads == ["first", "between", "between", "last"]
            assert not heard.gaps


async def test_with_a_history_kills_lose_and_repeat_nothing(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace, kill_subscriptions: Do
) -> None:
    chosen = random.Random(7)
    async with (
        listening(one, kept, patterns=["c*"]) as by_pattern,
        listening(one, kept, "c0", "c1", "c2") as exact,
    ):
        for _ in range(6):
            await asyncio.gather(
                *(publish(other, kept, f"c{chosen.randrange(3)}", "x") for _ in range(30)),
                kill_subscriptions(),
            )
            await asyncio.sleep(chosen.random() * 0.1)
        for heard in (by_pattern, exact):
            await heard.count(180)
            first = heard.sequences[0]
            assert heard.sequences == list(range(first, first + 180))
            assert not heard.gaps


async def test_what_is_published_while_the_history_is_read_comes_once(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = await publish(other, kept, "a", "0", "1")
    read_page = one._page

    async def page(space: Namespace, sequence: int, size: int) -> Any:
        await publish(other, kept, "a", "before the read")
        found = await read_page(space, sequence, size)
        await publish(other, kept, "a", "after the read")
        return found

    monkeypatch.setattr(one, "_page", page)
    async with listening(one, kept, "a", resume_after=first) as heard:
        await heard.payload("after the read")
        await heard.until(lambda: len(heard.heartbeats) >= 2)
        assert heard.payloads == ["1", "before the read", "after the read"]
        assert heard.sequences == [first + 1, first + 2, first + 3]


async def test_what_is_published_while_a_subscription_is_confirmed_comes_once(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace
) -> None:
    [newest] = await publish(other, kept, "c", "x")
    for number in range(20):
        async with aclosing(
            subscribed(one, kept, f"c{number}", resume_after=newest)
        ) as events:  # fmt: skip
            began, sequences = await asyncio.gather(
                anext(events), publish(other, kept, f"c{number}", *"abc")
            )
            assert began.sequence == newest
            given = [await anext(events) for _ in range(3)]
            assert [event.sequence for event in given] == sequences
            newest = sequences[-1]


async def test_the_first_heartbeat_says_from_where_on_all_is_given(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace
) -> None:
    for number in range(20):
        channel = f"c{number}"
        stream = subscribed(one, kept, channel)
        async with aclosing(stream) as events:
            began, sequences = await asyncio.gather(
                anext(events), publish(other, kept, channel, *map(str, range(5)))
            )
            sequences += await publish(other, kept, channel, "last")
            expected = [one_ for one_ in sequences if one_ > began.sequence]
            assert [(await anext(events)).sequence for _ in expected] == expected


async def test_a_message_of_an_epoch_that_is_not_known_makes_it_look(
    one: PubSubEngine, kept: Namespace, run: Do
) -> None:
    """In a Cluster it may be of the new primary, by way of the former, and not the first."""
    async with listening(one, kept, "a") as heard:
        [first] = await publish(one, kept, "a", "first")
        await heard.count(1)
        opened = one._feeds[kept.name]._subscription
        link = opened._link
        early = scripts.pack_message(Message("a", b"early", "", first + 9, first + 5))
        await run("PUBLISH", keys.channel(kept, "a"), early)
        async with asyncio.timeout(5):
            while opened._link is link or not opened.is_open:
                await asyncio.sleep(0.01)
        await publish(one, kept, "a", "second")
        await heard.count(2)
        late = scripts.pack_message(Message("a", b"late", "", first + 3, first - 5))
        await run("PUBLISH", keys.channel(kept, "a"), late)
        await publish(one, kept, "a", "third")
        await heard.count(3)
        assert heard.payloads == ["first", "second", "third"]
        assert not heard.gaps
