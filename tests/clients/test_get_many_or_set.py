"""get_many_or_set: one fetch for all keys that nobody else fetches."""

import asyncio
from collections.abc import Sequence

import pantler
import pytest
from pantler.batch import several

from tests.clients.fetching import Source


def test_a_single_text_is_not_taken_for_its_letters() -> None:
    with pytest.raises(TypeError, match="several"):
        several("abc")
    assert several(["a", "b", "a", "c"]) == {"a": 0, "b": 1, "c": 3}


async def test_many_keys_are_fetched_in_one_call_for_those_that_miss(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "there", b"cached")
    asked: list[Sequence[str]] = []
    source = Source()

    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        asked.append(keys)
        return await source.fetch_many(keys)

    keys = ["a", "there", "none", "b", "a"]
    values = await client.get_many_or_set(namespace, keys, fetch)
    assert values == {"there": b"cached", "a": b"value of a", "b": b"value of b"}
    assert asked == [["a", "none", "b"]]
    async with asyncio.timeout(1):  # nobody waits for the lease of what has no value
        await client.get_many_or_set(namespace, keys, fetch)
    assert asked[1:] == [["none"]]


async def test_many_keys_of_many_callers_are_fetched_once_each(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    fetched: list[str] = []

    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        fetched.extend(keys)
        await asyncio.sleep(0.05)
        return {key: key.encode() for key in keys}

    keys = [f"k{index}" for index in range(60)]
    parts = [keys[:40], keys[20:], list(reversed(keys)), keys[::2], ["k0"]]
    async with asyncio.timeout(5):  # those that hold what another waits for do not wait themselves
        results = await asyncio.gather(
            *(
                each.get_many_or_set(namespace, part, fetch)
                for part in parts
                for each in (client, other)
            )
        )
    for part, result in zip([part for part in parts for _ in range(2)], results, strict=True):
        assert result == {key: key.encode() for key in part}
    assert sorted(fetched) == sorted(keys)


async def test_who_is_given_a_lease_while_it_waits_fetches_at_once(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    failing, held, source = Source(), Source(), Source()
    failing.failure = RuntimeError("the source is down")
    for each in (failing, held):
        each.open.clear()
    first = asyncio.create_task(
        # What the next one stores would do for it, if that came soon enough.
        client.get_or_set(namespace, "k1", failing.fetch, accept_stale=False)
    )
    second = asyncio.create_task(client.get_or_set(namespace, "k2", held.fetch))
    await failing.asked.wait()
    await held.asked.wait()
    both = asyncio.create_task(other.get_many_or_set(namespace, ["k1", "k2"], source.fetch_many))
    await asyncio.sleep(0.05)
    failing.open.set()
    with pytest.raises(RuntimeError):
        await first
    async with asyncio.timeout(1):
        await source.asked.wait()
        assert await client.get_or_set(namespace, "k1", source.fetch) == b"value of k1"
    assert not both.done()
    held.open.set()
    assert await both == {"k1": b"value of k1", "k2": b"fetched"}
    assert await second == b"fetched"


async def test_any_number_and_size_of_values_is_stored(
    client: pantler.AsyncClient, namespace: str
) -> None:
    asked: list[int] = []

    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        asked.append(len(keys))
        return {key: b"x" * (1 << 20 if key.startswith("large") else 1) for key in keys}

    keys = [*(f"k{index}" for index in range(2300)), *(f"large{index}" for index in range(20))]
    assert list(await client.get_many_or_set(namespace, keys, fetch)) == keys
    assert asked == [1000, 1000, 320]
    assert await client.get_many_or_set(namespace, keys[:2300], fetch) == dict.fromkeys(
        keys[:2300], b"x"
    )
    assert len(asked) == 3
    large = {f"set{index}": b"x" * (1 << 20) for index in range(20)}
    assert list(await client.set_many(namespace, large)) == list(large)


async def test_a_value_that_is_refused_takes_nothing_from_the_others(
    client: pantler.AsyncClient, namespace: str
) -> None:
    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        return {key: b"x" * (5 << 20 if key == "large" else 10) for key in keys}

    with pytest.raises(pantler.PartialFailure) as partial:
        await client.get_many_or_set(namespace, ["a", "large", "b"], fetch)
    assert set(partial.value.results) == {"a", "b"}
    assert isinstance(partial.value.errors["large"], pantler.InvalidArgument)
    assert set(await client.get_many(namespace, ["a", "large", "b"])) == {"a", "b"}


async def test_a_failed_fetch_of_many_ends_all_their_leases(
    client: pantler.AsyncClient, namespace: str
) -> None:
    source = Source()
    source.failure = RuntimeError("the source is down")
    with pytest.raises(RuntimeError):
        await client.get_many_or_set(namespace, ["a", "b"], source.fetch_many)
    source.failure = None
    async with asyncio.timeout(1):
        values = await client.get_many_or_set(namespace, ["b", "a"], source.fetch_many)
    assert set(values) == {"a", "b"}
