"""The version of the installed server."""

from functools import cache
from importlib.metadata import version


@cache
def server_version() -> str:
    return version("pantler-server")
