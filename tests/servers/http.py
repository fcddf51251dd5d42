"""Requests of HTTP as bytes, so that nothing on the way mends them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Names of headers are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


async def ask(
    address: str,
    path: str | bytes,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
) -> Answer:
    """On a connection of its own, with the Host `pantler.example` if the headers name none."""
    sent = {"Host": "pantler.example", "Connection": "close", **(headers or {})}
    lines = "".join(f"{name}: {text}\r\n" for name, text in sent.items())
    target = path.encode() if isinstance(path, str) else path
    return await send(
        address, b"%b %b HTTP/1.1\r\n%b\r\n" % (method.encode(), target, lines.encode())
    )


async def send(address: str, request: bytes) -> Answer:
    """Whatever it is; the server must close the connection behind its answer."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        raw = await reader.read()
        writer.close()
    head, separator, body = raw.partition(b"\r\n\r\n")
    assert separator, raw
    first, *rest = head.decode("ascii").split("\r\n")
    version, status, reason = first.split(" ", 2)
    assert version in ("HTTP/1.1", "HTTP/1.0")
    named = [line.partition(": ") for line in rest]
    answered = {name.lower(): text for name, _, text in named}
    assert len(answered) == len(named), f"a header came twice: {head!r}"
    assert "transfer-encoding" not in answered
    return Answer(int(status), reason, answered, body)
