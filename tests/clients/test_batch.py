"""Batches larger than one call, and what is left of them when a call fails."""

from collections.abc import Sequence

import pantler
import pytest
from pantler.batch import MAX_BATCH_ITEMS, in_parts, several

from tests.servers.pantler import PantlerServer
from tests.servers.valkey import free_port

KEYS = [f"k{index}" for index in range(2 * MAX_BATCH_ITEMS + 500)]
FIRST, SECOND = KEYS[:MAX_BATCH_ITEMS], KEYS[MAX_BATCH_ITEMS : 2 * MAX_BATCH_ITEMS]


async def test_a_call_that_is_refused_takes_nothing_from_the_others(
    server: PantlerServer,
) -> None:
    wrong = ["", *KEYS[1:]]  # the first of three calls holds a key that the server refuses
    async with pantler.AsyncClient(server.address) as client:
        with pytest.raises(pantler.PartialFailure) as failed:
            await client.set_many("batch", dict.fromkeys(wrong, b"v"))
        assert list(failed.value.results) == KEYS[MAX_BATCH_ITEMS:]
        assert list(failed.value.errors) == wrong[:MAX_BATCH_ITEMS]
        assert {type(error) for error in failed.value.errors.values()} == {pantler.InvalidArgument}
        found = await client.get_many("batch", KEYS)
        assert list(found) == KEYS[MAX_BATCH_ITEMS:]


async def test_an_error_of_all_keys_is_raised_itself() -> None:
    async with pantler.AsyncClient(f"127.0.0.1:{free_port()}") as client:
        with pytest.raises(pantler.Unavailable):
            await client.get_many("batch", KEYS)


@pytest.mark.parametrize(
    "error",
    [pantler.Unavailable("away"), pantler.OutcomeUnknown("away"), pantler.DeadlineExceeded("late")],
)
async def test_nothing_is_sent_to_a_server_that_is_away(error: pantler.PantlerError) -> None:
    sent: list[Sequence[str]] = []

    async def send(part: Sequence[str]) -> list[bool | pantler.PantlerError | None]:
        sent.append(part)
        if len(sent) == 2:
            raise error
        return [True] * len(part)

    with pytest.raises(pantler.PartialFailure) as failed:
        await in_parts(several(KEYS), send)
    assert sent == [FIRST, SECOND]
    assert failed.value.results == dict.fromkeys(FIRST, True)
    assert failed.value.errors == dict.fromkeys(KEYS[MAX_BATCH_ITEMS:], error)


async def test_what_waits_for_replicas_stops_nothing_that_follows() -> None:
    async def send(part: Sequence[str]) -> list[bool | pantler.PantlerError | None]:
        if part == SECOND:
            raise pantler.NotReplicated("done, on too few replicas")
        return [True] * len(part)

    with pytest.raises(pantler.PartialFailure) as failed:
        await in_parts(several(KEYS), send)
    assert list(failed.value.errors) == SECOND
    assert list(failed.value.results) == [*FIRST, *KEYS[2 * MAX_BATCH_ITEMS :]]


async def test_errors_that_differ_are_all_kept() -> None:
    async def send(part: Sequence[str]) -> list[bool | pantler.PantlerError | None]:
        raise pantler.ResourceExhausted(part[0])

    with pytest.raises(pantler.PartialFailure) as failed:
        await in_parts(several(KEYS), send)
    assert failed.value.results == {}
    assert list(failed.value.errors) == KEYS
    assert str(failed.value.errors[SECOND[0]]) == SECOND[0]
