"""`pantler geo` against a real server."""

from itertools import count

import pytest

from tests.cli.test_commands import Done, pantler
from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def places() -> tuple[str, str]:
    """A namespace that no other test uses, and a set."""
    return f"cligeo{next(_numbers)}", "cities"


async def test_places_are_added_told_and_removed(
    server: PantlerServer, places: tuple[str, str]
) -> None:
    at = server.address
    cities = ("Berlin=13.405,52.52", "Suva=178.44,-18.14", "a=b=-0.5,-1e-1")
    assert await pantler("geo", "add", *places, *cities, address=at) == Done(
        0, b"stored, 3 of them new\n", ""
    )
    again = await pantler("geo", "add", *places, "Berlin=13.4,52.5", "--json", address=at)
    assert again.document == {"added": 0}
    told = await pantler("geo", "get", *places, "nobody", "Suva", "a=b", address=at)
    assert (told.code, told.error) == (0, "")
    assert told.out.decode().splitlines() == [
        "'nobody': not there",
        "'Suva': 178.44000,-18.14000",
        "'a=b': -0.50000,-0.10000",
    ]
    document = (await pantler("geo", "get", *places, "x", "Suva", "--json", address=at)).document
    assert document[0] == {"member": "x", "longitude": None, "latitude": None}
    assert document[1]["longitude"] == pytest.approx(178.44, abs=1e-5)
    removed = await pantler("geo", "remove", *places, "Suva", "x", address=at)
    assert removed == Done(0, b"'Suva': removed\n'x': not there\n", "")
    for command in ("get", "remove"):
        assert (await pantler("geo", command, *places, "Suva", address=at)).code == 1
    assert await pantler("geo", "delete", *places, address=at) == Done(0, b"deleted\n", "")
    gone = await pantler("geo", "delete", *places, address=at)
    assert gone == Done(1, b"", f"pantler: no set 'cities' in '{places[0]}'\n")


async def test_what_is_near_is_listed(server: PantlerServer, places: tuple[str, str]) -> None:
    at = server.address
    cities = ("New York=-74.006,40.7128", "Newark=-74.1724,40.7357", "[red]=-73.9,40.7")
    await pantler("geo", "add", *places, *cities, address=at)
    point = ("--point", "-74.006,40.7128")
    shown = await pantler("geo", "near", *places, *point, "--radius-meters", "20000", address=at)
    assert (shown.code, shown.error) == (0, "")
    title, first, second, third = (line.split() for line in shown.out.decode().splitlines())
    assert title == ["member", "meters", "longitude,latitude"]
    assert (first[:3], first[3]) == (["'New", "York'", "0.1"], "-74.00600,40.71280")
    assert (second[0], third[0]) == ("'[red]'", "'Newark'")
    options = ("--box-meters", "40000x6000", "--limit", "1", "--farthest-first", "--json")
    boxed = await pantler("geo", "near", *places, "--member", "Newark", *options, address=at)
    [found] = boxed.document
    assert found["member"] == "New York"
    apart = await pantler("geo", "distance", *places, "Newark", "New York", "--json", address=at)
    assert apart.document == {"found": True, "distance_meters": found["distance_meters"]}
    said = await pantler("geo", "distance", *places, "Newark", "New York", address=at)
    assert said == Done(0, f"{found['distance_meters']:.1f} m\n".encode(), "")
    nowhere = ("--point", "0,0", "--radius-meters", "1")
    assert (await pantler("geo", "near", *places, *nowhere, address=at)).out == b"nobody is there\n"


async def test_a_member_that_is_not_there_is_code_1(
    server: PantlerServer, places: tuple[str, str]
) -> None:
    around = ("geo", "near", *places, "--member", "x", "--radius-meters", "1")
    assert await pantler(*around, address=server.address) == Done(
        1, b"", "pantler: no member 'x' in 'cities'\n"
    )
    apart = ("geo", "distance", *places, "x", "y")
    assert await pantler(*apart, address=server.address) == Done(
        1, b"", "pantler: not both of 'x' and 'y' in 'cities'\n"
    )
    for command in (around, apart):
        done = await pantler(*command, "--json", address=server.address)
        assert (done.code, done.document) == (1, {"found": False})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "n", "s", "Berlin"), "'Berlin' is not MEMBER=LONGITUDE,LATITUDE"),
        (("add", "n", "s", "Berlin=1"), "'Berlin=1' is not MEMBER=LONGITUDE,LATITUDE"),
        (("near", "n", "s", "--radius-meters", "1"), "give one of --point and --member"),
        (("near", "n", "s", "--member", "m"), "give one of --radius-meters and --box-meters"),
        (("near", "n", "s", "--point", "1", "--radius-meters", "1"), "'1' is not LONGITUDE"),
        (("near", "n", "s", "--member", "m", "--box-meters", "9"), "'9' is not WIDTHxHEIGHT"),
    ],
)
async def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    done = await pantler("geo", *arguments, address="127.0.0.1:1")
    assert done.code == 2
    assert said in " ".join(done.error.replace("│", " ").split())


async def test_what_the_server_refuses_is_said(
    server: PantlerServer, places: tuple[str, str]
) -> None:
    refused = await pantler("geo", "add", *places, "m=1,86", address=server.address)
    rule = "locations[0].latitude must be -85.05112878 to 85.05112878"
    assert refused == Done(2, b"", f"pantler: {rule}\n")
