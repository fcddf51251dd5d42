"""Names that boards, sets of places and counters share."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import pytest
from pantler.v1 import (
    counter_pb2,
    counter_pb2_grpc,
    geo_pb2,
    geo_pb2_grpc,
    leaderboard_pb2,
    leaderboard_pb2_grpc,
)

from tests.wire.test_cache_service import details

Use = Callable[[Any, str], Awaitable[Any]]


async def as_board(channel: Any, namespace: str) -> None:
    entries = [leaderboard_pb2.ScoreEntry(member="m", score=1)]
    request = leaderboard_pb2.SubmitScoresRequest(
        namespace=namespace, board="name", entries=entries
    )
    await leaderboard_pb2_grpc.LeaderboardServiceStub(channel).SubmitScores(request)


async def as_places(channel: Any, namespace: str) -> None:
    locations = [geo_pb2.Location(member="m", longitude=1, latitude=1)]
    request = geo_pb2.AddLocationsRequest(namespace=namespace, set="name", locations=locations)
    await geo_pb2_grpc.GeoServiceStub(channel).AddLocations(request)


async def as_counter(channel: Any, namespace: str) -> None:
    request = counter_pb2.IncrementRequest(namespace=namespace, counter="name")
    await counter_pb2_grpc.CounterServiceStub(channel).Increment(request)


@pytest.mark.parametrize("first", [as_board, as_places, as_counter])
async def test_a_name_is_of_the_kind_that_it_was_first_used_for(
    channel: grpc.aio.Channel, first: Use
) -> None:
    namespace = f"names-{first.__name__[3:]}"
    await first(channel, namespace)
    for other in {as_board, as_places, as_counter} - {first}:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await other(channel, namespace)
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        found = details(failed.value)
        assert found["ErrorInfo"].reason == "ERROR_REASON_WRONG_KIND"
        assert found["PreconditionFailure"].violations[0].subject == "name"
    await first(channel, namespace)
