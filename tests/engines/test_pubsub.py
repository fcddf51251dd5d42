"""Channels: what is published comes once and in order, and what may be missing is told as a gap."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.core.channel_config import ChannelsConfig
from pantler_server.core.config import Settings
from pantler_server.core.errors import InvalidFields, NoHistory, ShuttingDown, WrongKind
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import engine, feed, keys, metrics, scripts
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.engines.pubsub.feed import Feed
from pantler_server.engines.pubsub.model import Gap, GapReason, Heartbeat, Message
from pantler_server.engines.pubsub.scripts import Counts
from pantler_server.engines.pubsub.subscriber import MAX_MESSAGES
from pantler_server.store import subscription
from pantler_server.store.link import Link, Reply
from pantler_server.store.request import Request, pack
from pantler_server.store.store import Store
from structlog.testing import capture_logs

from tests.engines.conftest import Deadline
from tests.engines.listening import Heard, listening, publish, subscribed, with_history

Do = Callable[..., Any]


@asynccontextmanager
async def worker(store: Store) -> AsyncIterator[PubSubEngine]:
    running = PubSubEngine(store)
    running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(scope="module")
async def one(store: Store) -> AsyncIterator[PubSubEngine]:
    async with worker(store) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def other(store: Store) -> AsyncIterator[PubSubEngine]:
    """As another worker has it: it shares nothing with `one` but Redis and its address."""
    async with worker(store) as running:
        yield running


@pytest.fixture
def kept(space: Namespace) -> Namespace:
    """A namespace of its own with a history."""
    return with_history(space)


@pytest.fixture
def run(store: Store, space: Namespace, deadline: Deadline) -> Do:
    """Runs a command at the namespace's primary."""

    async def command(*words: str | bytes | int) -> Any:
        request = Request(
            keys.partition(space).slot, (pack(*words),), "", repeatable=False, writes=True
        )
        [reply] = await store.call(request, deadline())
        return reply

    return command


@pytest.fixture
def kill_subscriptions(run: Do) -> Do:
    async def kill() -> None:
        await run("CLIENT", "KILL", "TYPE", "pubsub")

    return kill


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


async def test_without_a_history_nothing_is_kept(
    one: PubSubEngine, space: Namespace, run: Do
) -> None:
    async with listening(one, space, "a") as heard:
        assert await publish(one, space, "a", "x") == [0]
        await heard.until(lambda: len(heard.heartbeats) == 2)
        assert heard.heartbeats == [0, 0]
    assert not await run("EXISTS", keys.counts(space), keys.history(space))
    with pytest.raises(NoHistory):
        await anext(subscribed(one, space, "a", resume_after=0))


async def test_sequences_are_consecutive_in_a_namespace(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace
) -> None:
    async with listening(one, kept, "a", "b") as heard:
        published = []
        for number in range(20):
            published += await publish(other, kept, "ab"[number % 2], str(number))
        first = published[0]
        assert published == list(range(first, first + 20))
        await heard.count(20)
        assert heard.sequences == published
        assert heard.heartbeats[0] == first - 1


@pytest.mark.parametrize("after", [0, 7, 20])
async def test_a_resume_gives_exactly_what_came_after(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace, after: int
) -> None:
    payloads = [str(number) for number in range(20)]
    sequences = []
    for payload in payloads:
        sequences += await publish(other, kept, "a", payload)
        await publish(other, kept, "unheard", payload)
    resume_after = sequences[after - 1] if after else 0
    async with listening(one, kept, "a", resume_after=resume_after) as heard:
        assert heard.heartbeats[0] == resume_after
        sequences += await publish(other, kept, "a", "live")
        await heard.payload("live")
        assert heard.payloads == [*payloads[after:], "live"]
        assert heard.sequences == sequences[after:]
        assert not heard.gaps


async def test_a_long_history_is_read_in_pages(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace
) -> None:
    [first] = await publish(other, kept, "a", "first")
    await asyncio.gather(*(publish(other, kept, f"a{n % 3}", str(n)) for n in range(300)))
    async with listening(one, kept, patterns=["a*"], resume_after=first) as heard:
        await heard.count(300)
        assert heard.sequences == list(range(first + 1, first + 301))


async def test_short_messages_take_few_round_trips_whatever_the_longest_may_be(
    one: PubSubEngine, other: PubSubEngine, space: Namespace, run: Do
) -> None:
    channels = ChannelsConfig.model_validate({"max_payload_bytes": "4MiB", "history": {}})
    kept = replace(space, config=space.config.model_copy(update={"channels": channels}))

    async def reads() -> int:
        told = (await run("INFO", "commandstats")).decode()
        return int(told.partition("cmdstat_xrange:calls=")[2].partition(",")[0] or 0)

    await asyncio.gather(*(publish(other, kept, "a", "x") for _ in range(1_000)))
    before = await reads()
    async with listening(one, kept, "a", resume_after=0) as heard:
        await heard.count(1_000)
    assert await reads() - before < 100


async def test_who_resumes_past_much_for_others_hears_how_far_it_is(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.PageSize, "learn", lambda *_: None)
    monkeypatch.setattr(scripts, "_PAGE_BYTES", 1)  # one message at a time
    sequences = await publish(other, kept, "others", *map(str, range(50)))
    async with listening(one, kept, "a", resume_after=0, heartbeat_s=0.001) as heard:
        await heard.until(lambda: sequences[-1] in heard.heartbeats)
    assert set(heard.heartbeats) & set(sequences[:-1])
    assert heard.heartbeats == sorted(heard.heartbeats)


async def test_what_was_trimmed_is_a_gap(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace, run: Do
) -> None:
    sequences = await publish(other, kept, "a", *map(str, range(10)))
    await run("XTRIM", keys.history(kept), "MAXLEN", 3)
    async with listening(one, kept, "a", resume_after=sequences[2]) as heard:
        await heard.count(3)
        gap = heard.events[0]
        assert isinstance(gap, Gap)
        assert (gap.reason, gap.sequence) == (GapReason.HISTORY, sequences[6])
        assert heard.payloads == ["7", "8", "9"]
    async with listening(one, kept, "a", resume_after=0) as heard:
        await heard.count(3)
        assert not heard.gaps
    async with listening(one, kept, "a", resume_after=sequences[6]) as heard:
        await heard.count(3)
        assert not heard.gaps


async def test_a_history_keeps_about_as_many_as_it_is_told(
    one: PubSubEngine, space: Namespace, run: Do
) -> None:
    few = with_history(space, max_messages=10)
    await asyncio.gather(*(publish(one, few, "a", str(n)) for n in range(500)))
    assert 10 <= await run("XLEN", keys.history(few)) < 250


@pytest.mark.parametrize("how", ["deleted", "expired"])
async def test_a_history_that_has_gone_is_a_gap(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace, run: Do, how: str
) -> None:
    first, *_, last = await publish(other, kept, "a", "0", "1", "2")
    if how == "deleted":
        await run("DEL", keys.history(kept))
    else:
        await run("PEXPIRE", keys.history(kept), 1)
        await asyncio.sleep(0.01)
    async with listening(one, kept, "a", resume_after=first) as heard:
        await publish(other, kept, "a", "live")
        await heard.count(1)
        assert heard.gaps == [GapReason.HISTORY]
        assert heard.events[0].sequence == last
        assert heard.payloads == ["live"]
        assert heard.sequences == [last + 1]
    async with listening(one, kept, "a", resume_after=last) as heard:
        await heard.count(1)
        assert not heard.gaps


async def test_a_sequence_of_the_future_is_refused(one: PubSubEngine, kept: Namespace) -> None:
    [newest] = await publish(one, kept, "a", "x")
    with pytest.raises(InvalidFields, match="more than any sequence so far") as refused:
        await anext(subscribed(one, kept, "a", resume_after=newest + 1))
    assert [violation.path for violation in refused.value.violations] == ["resume_after"]


@pytest.mark.parametrize("feed_knows", [False, True])
async def test_a_sequence_that_a_former_primary_has_not_heard_of_is_waited_for(
    one: PubSubEngine, kept: Namespace, monkeypatch: pytest.MonkeyPatch, *, feed_knows: bool
) -> None:
    first, second, third = await publish(one, kept, "a", *"123")
    read_page, former = one._page, 5
    if feed_knows:
        monkeypatch.setattr(engine, "FORMER_S", 0)

    async def page(space: Namespace, sequence: int, size: int) -> Any:
        nonlocal former
        former -= 1
        if former > 0:
            epoch = first - 1 if not feed_knows else first - 100
            return Counts(epoch, epoch, b"former.."), []
        return await read_page(space, sequence, size)

    monkeypatch.setattr(one, "_page", page)
    async with listening(one, kept, "a", resume_after=second) as heard:
        await heard.count(1)
        assert heard.sequences == [third]
        assert not heard.gaps


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


async def test_every_key_expires_but_the_counts(
    one: PubSubEngine, space: Namespace, run: Do
) -> None:
    short = with_history(space, ttl="20s")
    await publish(one, short, "a", "x")
    assert await run("PTTL", keys.counts(short)) == -1
    assert 19_000 < await run("PTTL", keys.history(short)) <= 20_000
    await run("PEXPIRE", keys.history(short), 1_000)
    await publish(one, short, "a", "y")
    assert 19_000 < await run("PTTL", keys.history(short)) <= 20_000


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


async def test_a_dismissed_worker_ends_subscriptions_and_takes_none(
    store: Store, space: Namespace
) -> None:
    async with worker(store) as leaving, listening(leaving, space, "a") as heard:
        leaving.dismiss()
        with pytest.raises(ShuttingDown):
            await heard.until(lambda: False)
        with pytest.raises(ShuttingDown):
            await anext(subscribed(leaving, space, "a"))


async def test_a_reload_turns_the_history_on_and_off(
    store: Store, other: PubSubEngine, space: Namespace
) -> None:
    def configured(**channels: Any) -> Settings:
        return Settings.model_validate({"namespaces": {space.name: {"channels": channels}}})

    async with worker(store) as one, listening(one, space, "a") as heard:
        await publish(other, with_history(space), "a", "early")  # before this one was told
        await heard.until(lambda: heard.payloads == ["early"])
        one.apply(configured(history={}))
        await heard.until(lambda: heard.gaps)
        [sequence] = await publish(other, with_history(space), "a", "kept")
        await publish(other, space, "a", "plain")
        await heard.count(3)
        assert heard.sequences == [0, sequence, 0]
        await heard.until(lambda: heard.heartbeats[-1] == sequence)
        one.apply(configured())
        await heard.until(lambda: len(heard.gaps) == 2)
        await publish(other, space, "a", "plain")
        await publish(other, with_history(space), "a", "late")
        await heard.count(5)
        assert heard.sequences[3:] == [0, 0]
        assert set(heard.gaps) == {GapReason.DISCONNECTED}


async def test_a_history_that_is_turned_off_and_on_again_is_a_gap(
    store: Store, other: PubSubEngine, space: Namespace
) -> None:
    """The same primary, and nothing kept meanwhile: it goes on with the same sequence."""
    kept = with_history(space)

    def configured(**channels: Any) -> Settings:
        return Settings.model_validate({"namespaces": {space.name: {"channels": channels}}})

    async with worker(store) as one, listening(one, kept, "a") as heard:
        await publish(other, kept, "a", "first")
        await heard.count(1)
        one.apply(configured())
        await heard.until(lambda: len(heard.gaps) == 1)
        one.apply(configured(history={}))
        await publish(other, space, "a", "lost")  # by a worker that was told of it later
        await heard.until(lambda: len(heard.gaps) == 2)
        assert set(heard.gaps) == {GapReason.DISCONNECTED}
        [sequence] = await publish(other, kept, "a", "last")
        await heard.payload("last")
        assert heard.sequences[-1] == sequence


async def test_what_waits_for_the_history_is_dropped_once_it_was_read(
    one: PubSubEngine, kept: Namespace
) -> None:
    async with listening(one, kept, "a") as heard:
        await publish(one, kept, "a", "x")
        await heard.count(1)
        feed_ = one._feeds[kept.name]
        read, unread, plain = (
            [b"message", b"a", scripts.pack_message(Message("a", b"", "", sequence, feed_.epoch))]
            for sequence in (feed_.sequence, feed_.sequence + 1, 0)
        )
        link = feed_._subscription._link
        assert link is not None
        feed_._held.extend([plain, read, unread, read])
        await feed_._read_on(link)
        assert list(feed_._held) == [plain, unread]
        feed_._held.clear()


async def test_what_comes_while_the_history_is_read_is_bounded_and_read_from_there(
    one: PubSubEngine, other: PubSubEngine, kept: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_HELD_BYTES", 100)
    async with listening(one, kept, "a") as heard:
        await publish(other, kept, "a", "0")
        await heard.count(1)
        hearing, ask = one._feeds[kept.name], Feed._ask
        published, most = ["0"], 0

        async def amid_much(self: Feed, link: Link, commands: Sequence[bytes]) -> list[Reply]:
            """Ten more are published behind each of the first answers."""
            nonlocal most
            answer = await ask(self, link, commands)
            if len(published) < 40:
                more = [str(len(published) + number) for number in range(10)]
                published.extend(more)
                await publish(other, kept, "a", *more)
            await link.submit((subscription.PING,), asyncio.get_running_loop().time() + 5)
            most = max(most, hearing._held_bytes)
            return answer

        monkeypatch.setattr(Feed, "_ask", amid_much)
        hearing._subscription.reopen()
        await heard.until(lambda: len(heard.payloads) >= len(published) > 40)
        assert heard.payloads == published
        assert not heard.gaps
        assert 0 < most <= 100


@pytest.mark.parametrize("place", [keys.counts, keys.history])
async def test_foreign_data_is_refused_and_left_alone(
    one: PubSubEngine, kept: Namespace, run: Do, place: Callable[[Namespace], bytes]
) -> None:
    await run("SET", place(kept), "theirs")
    with pytest.raises(WrongKind):
        await publish(one, kept, "a", "x", request_id="id")
    assert await run("GET", place(kept)) == b"theirs"
    assert not await run("EXISTS", keys.answer(kept, "id"))


@pytest.mark.parametrize("place", [keys.counts, keys.history])
async def test_foreign_data_is_said_to_who_subscribes(
    one: PubSubEngine, kept: Namespace, run: Do, place: Callable[[Namespace], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def connections() -> int:
        told = (await run("INFO", "stats")).decode()
        return int(told.partition("total_connections_received:")[2].split()[0])

    monkeypatch.setattr(subscription, "REFUSED_RETRY_S", 0.4)
    await run("SET", place(kept), "theirs")
    before = await connections()
    with capture_logs() as logged:
        for _ in range(2):
            with pytest.raises(WrongKind):
                await anext(subscribed(one, kept, "a", wait_s=1))
    assert [entry["event"] for entry in logged if entry["log_level"] == "warning"] == [
        "can't subscribe"
    ]
    assert await connections() - before < 15
    await run("DEL", place(kept))
    async with listening(one, kept, "a") as heard:
        await publish(one, kept, "a", "x")
        await heard.count(1)


async def test_what_others_publish_on_its_channels_is_left_alone(
    one: PubSubEngine, space: Namespace, run: Do
) -> None:
    async with listening(one, space, "a", patterns=["b*"]) as heard:
        await run("PUBLISH", keys.channel(space, "a"), "short")
        await run("PUBLISH", keys.channel(space, "a"), bytes(16) + b"\xff")
        await run("PUBLISH", keys.channel(space, "b").encode() + b"\xff", bytes(17))
        await publish(one, space, "a", "ours")
        await heard.payload("ours")


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
