"""Servers that are killed, cut off and promoted: each test takes seconds, so all run with the slow
tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "failover":
            item.add_marker(pytest.mark.slow)
