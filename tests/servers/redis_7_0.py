"""The oldest server that is supported, from the distribution."""

import shutil
from pathlib import Path

from tests.servers.certificates import Pair
from tests.servers.valkey import ValkeyServer


def redis_7_0(*arguments: str, certificate: Pair | None = None) -> ValkeyServer:
    """Needs the component `redis-server`; not started yet. With a certificate it speaks TLS
    only."""
    binary = shutil.which("redis-server")
    assert binary is not None
    if certificate is not None:
        files = ("--tls-cert-file", str(certificate.cert), "--tls-key-file", str(certificate.key))
        arguments = (*arguments, *files)
    return ValkeyServer(*arguments, binary=Path(binary), tls=certificate is not None)
