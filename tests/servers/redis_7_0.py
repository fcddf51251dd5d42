"""The oldest server that is supported, from the distribution."""

import shutil
from pathlib import Path

from tests.servers.valkey import ValkeyServer


def redis_7_0() -> ValkeyServer:
    """Needs the component `redis-server`; not started yet."""
    binary = shutil.which("redis-server")
    assert binary is not None
    return ValkeyServer(binary=Path(binary))
