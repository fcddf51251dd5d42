"""Load on a gRPC method from h2load, which costs less than any gRPC client (Debian:
nghttp2-client)."""

import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass

from google.protobuf.message import Message

STREAMS = 32  # calls in flight on the one connection


@dataclass(frozen=True, slots=True)
class Target:
    """A method, and the request to send to it over and over."""

    address: str
    method: str
    request: Message


def calls_per_second(target: Target, seconds: float, cpu: int) -> float:
    """Calls answered with success in a second, with h2load pinned to one processor."""
    program = shutil.which("h2load")
    if program is None:
        raise SystemExit(
            "bench: h2load is missing: make setup-system, or apt install nghttp2-client"
        )
    message = target.request.SerializeToString()
    with tempfile.NamedTemporaryFile() as body:
        body.write(
            b"\0" + struct.pack(">I", len(message)) + message
        )  # uncompressed, length, message
        body.flush()
        command = [
            *("taskset", "--cpu-list", str(cpu), program),
            *("--clients=1", f"--max-concurrent-streams={STREAMS}"),
            *(f"--duration={seconds}", "--warm-up-time=1", f"--data={body.name}"),
            *("--header=te: trailers", "--header=content-type: application/grpc"),
            f"http://{target.address}/{target.method}",
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", output)
    failed = re.search(r"(\d+) failed, (\d+) errored", output)
    if rate is None or failed is None or failed.groups() != ("0", "0"):
        raise SystemExit(f"bench: {target.method} did not answer every call:\n{output}")
    return float(rate[1])
