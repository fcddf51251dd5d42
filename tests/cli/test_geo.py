"""`pantler geo` against a real server."""

import re
from itertools import count

import pytest

from tests.cli.test_commands import Done, on_a_terminal, pantler
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
    unsure = await pantler("geo", "delete", *places, address=at)
    assert (unsure.code, unsure.out) == (2, b"")
    assert "add --yes where nobody can be asked" in " ".join(unsure.error.split())
    assert (await pantler("geo", "get", *places, "Berlin", address=at)).code == 0
    delete = ("geo", "delete", *places, "--yes")
    assert await pantler(*delete, address=at) == Done(0, b"deleted\n", "")
    gone = await pantler(*delete, address=at)
    assert gone == Done(1, b"", f"pantler: no set 'cities' in '{places[0]}'\n")
    as_json = await pantler(*delete, "--json", address=at)
    assert (as_json.code, as_json.document, as_json.error) == (1, {"deleted": False}, "")


async def test_what_is_near_is_listed(server: PantlerServer, places: tuple[str, str]) -> None:
    at = server.address
    cities = ("New York=-74.006,40.7128", "Newark=-74.1724,40.7357", "[red]=-73.9,40.7")
    await pantler("geo", "add", *places, *cities, address=at)
    point = ("--point", "-74.006,40.7128")
    around = ("geo", "near", *places, *point, "--radius-meters", "20000")
    shown = await on_a_terminal(*around, "--address", at)
    rows = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    title, first, second, third = (row.split() for row in rows)
    assert title == ["member", "meters", "longitude,latitude"]
    assert (first[:3], first[3]) == (["'New", "York'", "0.1"], "-74.00600,40.71280")
    assert (second[0], third[0]) == ("'[red]'", "'Newark'")
    piped = await pantler(*around, address=at)
    assert (piped.code, piped.error) == (0, "")
    lines = [line.split("\t") for line in piped.out.decode().splitlines()]
    assert lines == [
        ["New York", first[2], "-74.00600", "40.71280"],
        ["[red]", second[1], "-73.90000", "40.70000"],
        ["Newark", third[1], "-74.17240", "40.73570"],
    ]
    options = ("--box-meters", "40000x6000", "--limit", "1", "--farthest-first", "--json")
    boxed = await pantler("geo", "near", *places, "--member", "Newark", *options, address=at)
    [found] = boxed.document
    assert found["member"] == "New York"
    apart = await pantler("geo", "distance", *places, "Newark", "New York", "--json", address=at)
    assert apart.document == {"found": True, "distance_meters": found["distance_meters"]}
    said = await pantler("geo", "distance", *places, "Newark", "New York", address=at)
    assert said == Done(0, f"{found['distance_meters']:.1f} m\n".encode(), "")
    nowhere = ("--point", "0,0", "--radius-meters", "1")
    nobody = await pantler("geo", "near", *places, *nowhere, address=at)
    assert nobody == Done(0, b"", "pantler: nobody is there\n")


async def test_long_names_are_whole_lines_to_a_pipe(
    server: PantlerServer, places: tuple[str, str]
) -> None:
    name = "x" * 200
    await pantler("geo", "add", *places, f"{name}=1,2", address=server.address)
    around = ("geo", "near", *places, "--member", name, "--radius-meters", "1")
    piped = await pantler(*around, address=server.address)
    assert piped.out.decode() == f"{name}\t0.0\t1.00000\t2.00000\n"


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
