"""Servers that are started, reloaded, restarted and killed: each test has some of its own, so all
run with the slow tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "supervisor":
            item.add_marker(pytest.mark.slow)
