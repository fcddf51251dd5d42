"""What holds for the code as a whole."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pantler_server.cli import COMMANDS

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / "server/pantler_server/engines"
FUNCTIONS = sorted(  # parts of scripts; the store's are for those of several engines
    {
        *ENGINES.glob("*/functions/*.lua"),
        *ENGINES.glob("*/algorithms/*.lua"),
        *ENGINES.parent.glob("store/functions/*.lua"),
    }
)
SERVER_OF_HTTP = {
    *("web", "hdrs", "HttpVersion10", "HttpVersion11"),
    *("aiohttp.http_exceptions", "aiohttp.web_protocol"),
}
SCRIPTS = sorted({*ENGINES.rglob("*.lua")} - {*FUNCTIONS})


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def tracked() -> list[Path]:
    return [ROOT / name for name in run("git", "ls-files").stdout.splitlines()]


def test_the_import_contracts_hold() -> None:
    done = run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout


def of_aiohttp(module: Path) -> set[str]:
    """What a module has of it: names of the package, and modules in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names if one.name.split(".")[0] == "aiohttp"}
        elif isinstance(node, ast.ImportFrom) and node.module == "aiohttp":
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiohttp."):
            found.add(node.module or "")
    return found


def test_only_cdns_are_clients_of_http() -> None:
    server = ROOT / "server/pantler_server"
    clients = {
        module.relative_to(server).parts[0]
        for module in server.rglob("*.py")
        if of_aiohttp(module) - SERVER_OF_HTTP
    }
    assert clients == {"cdns"}


def modules_after(statement: str) -> set[str]:
    """What is imported in a fresh interpreter after a statement."""
    done = run(sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_generated_code_comes_without_the_sdk() -> None:
    loaded = modules_after("from pantler.v1 import cache_pb2")
    assert "pantler.v1.cache_pb2" in loaded
    assert not {"pantler.client", "pantler.errors", "pantler.model", "grpc"} & loaded


def test_a_worker_loads_neither_the_sdk_nor_the_command_line() -> None:
    loaded = modules_after("import pantler_server.worker")
    assert "pantler.v1.cache_pb2" in loaded
    assert not {"pantler.client", "typer", "watchfiles", "pantler_server.cli"} & loaded


def test_the_supervisor_loads_neither_grpc_nor_redis() -> None:
    assert not {"grpc", "redis", "hiredis"} & modules_after("import pantler_server.supervisor")


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    # pydantic comes with the values of the command that is called.
    modules = {f"pantler_server.cli.{where.partition('.')[0]}" for where in COMMANDS.values()}
    loaded = modules_after(f"import {', '.join(sorted(modules))}")
    assert modules <= loaded
    assert not {"grpc", "pydantic", "google.protobuf"} & loaded


def test_the_command_line_loads_only_the_command_that_is_called() -> None:
    assert "pantler_server.cli.cache" not in modules_after("import pantler_server.cli")


def test_the_sdk_gives_its_public_names() -> None:
    import pantler

    assert {name: getattr(pantler, name).__name__ for name in pantler.__all__} == {
        name: name for name in pantler.__all__
    }
    with pytest.raises(AttributeError, match="Clientt"):
        _ = pantler.Clientt


def test_the_synchronous_client_is_what_the_asynchronous_one_makes_it(tmp_path: Path) -> None:
    made = tmp_path / "sync_client.py"
    done = run(sys.executable, "scripts/generate_sync_client.py", str(made))
    assert done.returncode == 0, done.stderr
    there = ROOT / "clients/python/pantler/sync_client.py"
    assert made.read_text() == there.read_text(), "run: make gen"
    assert "asyncio" not in made.read_text()


def test_the_reference_is_what_the_docstrings_say(tmp_path: Path) -> None:
    done = run(sys.executable, "scripts/generate_python_reference.py", str(tmp_path))
    assert done.returncode == 0, done.stderr
    there = ROOT / "docs/reference"
    made = {page.name: page.read_text() for page in tmp_path.iterdir()}
    assert made == {page.name: page.read_text() for page in there.iterdir()}, "run: make gen"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_opens_with_its_signature(script: Path) -> None:
    header = re.match(r"(--.*\n)+", script.read_text())
    assert header is not None
    for word in ("KEYS[1", "returns", "clock:", "expiry:"):
        assert word in header[0]
    assert header[0].startswith(f"-- {script.stem}: ")


@pytest.mark.parametrize("part", FUNCTIONS, ids=lambda path: path.name)
def test_every_function_of_scripts_is_named_after_its_file(part: Path) -> None:
    text = part.read_text()
    assert text.startswith(f"-- {part.stem}: ")
    assert f"\nlocal function {part.stem}(" in text
    including = f"-- include {part.parent.name}/{part.name}\n"
    assert any(including in script.read_text() for script in (*SCRIPTS, *FUNCTIONS))
    if part.parent.name == "algorithms":
        for word in ("Source: ", "Error: ", "Expiry: "):
            assert f"\n-- {word}" in text.partition("local function")[0]


def test_there_are_scripts() -> None:
    assert SCRIPTS
    assert FUNCTIONS


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


def test_no_file_names_a_developers_machine() -> None:
    pattern = re.compile(r"/(home/\w+|root|Users/\w+|work)/")
    for path in tracked():
        if path.exists() and path.suffix not in {".lock", ".svg"} and path != Path(__file__):
            assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_make_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    listed = {
        line.split()[1] for line in run("make", "--no-print-directory", "help").stdout.splitlines()
    }
    assert listed == set(phony[1].split())
