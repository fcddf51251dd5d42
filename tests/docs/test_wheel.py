"""The client's wheel, in an environment that has nothing else: README's program works there."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.docs.page import ROOT, blocks, run_program
from tests.servers.pantler import PantlerServer

README = (ROOT / "README.md").read_text()


def uv(*words: str | Path) -> None:
    """As whoever has only uv: with the settings of this machine, and in no project."""
    program = Path(sys.executable).with_name("uv")
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [program, *words], env=env, stderr=subprocess.PIPE, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT / "clients/python")
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel: Path) -> str:
    """Of an environment with the wheel and what it needs, for README's program."""
    [line] = [line for line in "".join(blocks("sh", README)).splitlines() if "pip install" in line]
    assert line == "pip install './clients/python[pydantic]'"
    environment = wheel.parent / "environment"
    uv("venv", "--quiet", "--python", sys.executable, environment)
    program = environment / "bin/python"
    uv("pip", "install", "--quiet", "--python", program, f"{wheel}[pydantic]")
    return str(program)


def test_it_has_the_client_alone(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"pantler/py.typed", "pantler/v1/cache_pb2.py", "pantler/v1/cache_pb2.pyi"} <= names
    folders = {name.partition("/")[0] for name in names}
    assert folders == {"pantler", f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"}


def test_it_is_imported_at_once_and_without_grpc(python: str) -> None:
    code = "import sys, pantler; print([one for one in sys.modules if one[:4] in ('grpc', 'goog')])"
    began = time.perf_counter()
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    took_ms = (time.perf_counter() - began) * 1000
    print(f"a process that imports pantler takes {took_ms:.0f} ms")
    assert out == "[]\n"


async def test_readmes_program_works(python: str, server: PantlerServer) -> None:
    [program] = blocks("python", README)
    assert await run_program(program, server, python) == "loading\nUser(name='Ada')\nNone\n"


async def test_the_client_needs_no_extra(wheel: Path, python: str, server: PantlerServer) -> None:
    uv("pip", "uninstall", "--quiet", "--python", python, "pydantic", "pydantic-core")
    [program] = blocks("python", (ROOT / "clients/python/README.md").read_text())
    assert await run_program(program, server, python) == "b'Ada'\n"
