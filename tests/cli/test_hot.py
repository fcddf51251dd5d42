"""`pantler hot` against a real server."""

import re

from tests.cli.test_commands import Done, on_a_terminal, pantler
from tests.servers.pantler import PantlerServer


async def test_the_keys_that_were_read_most_are_lines_for_scripts(
    hot_server: PantlerServer,
) -> None:
    done = await pantler("hot", "busy", address=hot_server.address)
    assert (done.code, done.error) == (0, "")
    hot, warm, rare = done.out.decode().splitlines()
    assert re.fullmatch(r"\[hot\]\t\d\.\d\thot", hot)
    assert re.fullmatch(r"warm\t\d\.\d", warm)
    assert re.fullmatch(r"rare\t0\.0", rare)
    first = await pantler("hot", "busy", "--limit", "1", address=hot_server.address)
    assert first.out.decode().splitlines()[0].startswith("[hot]\t")
    assert first.out.count(b"\n") == 1


async def test_json_has_all_digits(hot_server: PantlerServer) -> None:
    done = await pantler("hot", "busy", "--json", address=hot_server.address)
    assert [(one["key"], one["hot"]) for one in done.document] == [
        ("[hot]", True),
        ("warm", False),
        ("rare", False),
    ]
    assert done.document[2]["reads_per_second"] > 0


async def test_people_get_a_table(hot_server: PantlerServer) -> None:
    shown = await on_a_terminal("hot", "busy", "--address", hot_server.address)
    head, hot, warm, *_ = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()  # without colours
    assert head.split() == ["key", "reads/s", "hot"]
    assert hot.split()[0] == "[hot]"
    assert hot.rstrip().endswith("yes")
    assert hot.count("█") == 20
    assert warm.rstrip().endswith("no")
    assert "█" in warm


async def test_a_namespace_that_nobody_reads_is_code_1(hot_server: PantlerServer) -> None:
    done = await pantler("hot", "unread", address=hot_server.address)
    said = "pantler: no reads of 'unread' were counted in the last 5 minutes\n"
    assert done == Done(1, b"", said)
    as_json = await pantler("hot", "unread", "--json", address=hot_server.address)
    assert (as_json.code, as_json.document) == (1, [])


async def test_a_limit_out_of_range_is_wrong_usage() -> None:
    for limit in ("0", "1001"):
        assert (await pantler("hot", "n", "--limit", limit, address="127.0.0.1:1")).code == 2
