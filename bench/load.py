"""Load from h2load, which costs less than any client in Python (Debian: nghttp2-client): on a gRPC
method, or on a URL."""

import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass

from google.protobuf.message import Message

STREAMS = 32  # calls in flight on the one connection
CLIENTS = 32  # connections of HTTP/1.1, each with a request in flight


@dataclass(frozen=True, slots=True)
class Target:
    """A method, and the request to send to it over and over."""

    address: str
    method: str
    request: Message


@dataclass(frozen=True, slots=True)
class Page:
    """A URL to ask for over and over, with a header of the request if one is given."""

    url: str
    header: str = ""


def calls_per_second(target: Target, seconds: float, cpu: int) -> float:
    """Calls answered with success in a second, with h2load pinned to one processor."""
    message = target.request.SerializeToString()
    with tempfile.NamedTemporaryFile() as body:
        body.write(
            b"\0" + struct.pack(">I", len(message)) + message
        )  # uncompressed, length, message
        body.flush()
        return _rate(
            *("--clients=1", f"--max-concurrent-streams={STREAMS}", f"--data={body.name}"),
            *("--header=te: trailers", "--header=content-type: application/grpc"),
            f"http://{target.address}/{target.method}",
            seconds=seconds,
            cpu=cpu,
        )


def pages_per_second(page: Page, seconds: float, cpu: int) -> float:
    """Responses of success, 304 too, in a second."""
    header = [f"--header={page.header}"] if page.header else []
    return _rate("--h1", f"--clients={CLIENTS}", *header, page.url, seconds=seconds, cpu=cpu)


def _rate(*options: str, seconds: float, cpu: int) -> float:
    program = shutil.which("h2load")
    if program is None:
        raise SystemExit(
            "bench: h2load is missing: make setup-system, or apt install nghttp2-client"
        )
    command = [
        *("taskset", "--cpu-list", str(cpu), program),
        *(f"--duration={seconds}", "--warm-up-time=1", *options),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", output)
    failed = re.search(r"(\d+) failed, (\d+) errored", output)
    if rate is None or failed is None or failed.groups() != ("0", "0"):
        raise SystemExit(f"bench: {options[-1]} did not answer every call:\n{output}")
    return float(rate[1])
