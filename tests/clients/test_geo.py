"""Places through the Python SDK, against a real server."""

from collections.abc import AsyncIterator
from itertools import count

import pantler
import pytest
import pytest_asyncio
from pantler import Point

from tests.servers.pantler import PantlerServer

_numbers = count()
CITIES: dict[str, Point | tuple[float, float]] = {
    "Berlin": (13.405, 52.52),
    "Potsdam": Point(13.0645, 52.3906),
    "Suva": (178.44, -18.14),
}


@pytest.fixture
def namespace() -> str:
    return f"sdkgeo{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def client(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address) as opened:
        yield opened


async def test_places_are_kept_and_removed(client: pantler.AsyncClient, namespace: str) -> None:
    assert await client.add_locations(namespace, "cities", CITIES) == 3
    assert await client.add_locations(namespace, "cities", CITIES) == 0
    found = await client.get_locations(namespace, "cities", ["nobody", "Berlin"])
    assert list(found) == ["Berlin"]
    assert found["Berlin"].longitude == pytest.approx(13.405, abs=1e-5)
    assert found["Berlin"].latitude == pytest.approx(52.52, abs=1e-5)
    removed = await client.remove_locations(namespace, "cities", ["nobody", "Berlin"])
    assert removed == {"nobody": False, "Berlin": True}
    assert await client.delete_places(namespace, "cities")
    assert not await client.delete_places(namespace, "cities")
    assert await client.get_locations(namespace, "cities", CITIES) == {}


async def test_what_is_near_is_found(client: pantler.AsyncClient, namespace: str) -> None:
    await client.add_locations(namespace, "cities", CITIES)
    at = Point(13.4, 52.5)
    near = await client.search_nearby(namespace, "cities", point=at, radius_meters=50_000)
    assert [one.member for one in near] == ["Berlin", "Potsdam"]
    assert near[0].distance_meters == pytest.approx(2_250, abs=5)
    assert near[0].point == (await client.get_locations(namespace, "cities", ["Berlin"]))["Berlin"]
    far = await client.search_nearby(
        namespace, "cities", point=(13.4, 52.5), box=(60_000, 60_000), limit=1, farthest_first=True
    )
    assert [one.member for one in far] == ["Potsdam"]
    around = await client.search_nearby(namespace, "cities", member="Potsdam", radius_meters=50_000)
    assert around is not None
    assert [one.member for one in around] == ["Potsdam", "Berlin"]
    apart = await client.measure_distance(namespace, "cities", "Potsdam", "Berlin")
    assert apart == around[1].distance_meters
    assert await client.measure_distance(namespace, "cities", "Potsdam", "nobody") is None
    nobody = await client.search_nearby(namespace, "cities", member="nobody", radius_meters=1)
    assert nobody is None


async def test_any_number_of_places_is_split_into_calls(
    client: pantler.AsyncClient, namespace: str
) -> None:
    places = {f"m{number}": (number / 100, 1.0) for number in range(2500)}
    assert await client.add_locations(namespace, "many", places) == 2500
    assert list(await client.get_locations(namespace, "many", places)) == list(places)
    with pytest.raises(pantler.PartialFailure) as failed:
        await client.add_locations(namespace, "many", {**places, "off": (181, 0)})
    refused = failed.value.errors["off"]
    assert isinstance(refused, pantler.InvalidArgument)
    assert [one.path for one in refused.violations] == ["locations[2500].longitude"]
    removed = await client.remove_locations(namespace, "many", places)
    assert removed == dict.fromkeys(places, True)


async def test_a_search_that_is_not_said_clearly_is_a_type_error(
    client: pantler.AsyncClient, namespace: str
) -> None:
    for wrong in (
        {"radius_meters": 1},
        {"point": (1, 2), "member": "m", "radius_meters": 1},
        {"point": (1, 2)},
        {"point": (1, 2), "radius_meters": 1, "box": (1, 1)},
    ):
        with pytest.raises(TypeError, match="give one of"):
            await client.search_nearby(namespace, "s", **wrong)


async def test_a_name_of_another_kind_is_said(client: pantler.AsyncClient, namespace: str) -> None:
    await client.increment(namespace, "c")
    with pytest.raises(pantler.WrongKind):
        await client.add_locations(namespace, "c", CITIES)
