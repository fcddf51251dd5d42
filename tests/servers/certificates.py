"""A certificate authority of the test's own, with a certificate for the server and one for a
client."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


class Certificates:
    """Needs the component `openssl`. The files go at the end of the block."""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="pantler-certificates-"))
        self.ca = self._folder / "ca.crt"
        ca_key = self._folder / "ca.key"
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=test authority", "-keyout", str(ca_key), "-out", str(self.ca)),
        )
        self.server = self._signed("server", ca_key)
        self.client = self._signed("client", ca_key)
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._folder)

    def _signed(self, name: str, ca_key: Path) -> Pair:
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request, extra = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extra.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", str(pair.key), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-days", "2", "-in", str(request), "-out", str(pair.cert)),
            *("-CA", str(self.ca), "-CAkey", str(ca_key), "-CAcreateserial"),
            *("-extfile", str(extra)),
        )
        return pair


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
