"""Channels with a history: who comes back gets what it has missed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pantler_server.core.channel_config import ChannelsConfig
from pantler_server.core.config import Settings
from pantler_server.core.errors import InvalidFields, NoHistory, WrongKind
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import engine, feed, keys, scripts
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.engines.pubsub.feed import Feed
from pantler_server.engines.pubsub.model import Gap, GapReason, Message
from pantler_server.engines.pubsub.scripts import Counts
from pantler_server.store import subscription
from pantler_server.store.link import Link, Reply
from pantler_server.store.store import Store
from structlog.testing import capture_logs

from tests.engines.listening import listening, publish, subscribed, with_history
from tests.engines.pubsub.conftest import Do, worker


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
