"""Connections of the HTTP port are bounded, over sockets on the event loop of workers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import pytest
import uvloop
from aiohttp import web
from pantler_server.edge.connections import Limits, Server

LARGE = b"x" * 16_000_000  # more than what the kernel takes
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """As in workers: its transports are not asyncio's."""

    @wraps(test)
    def run(*arguments: object, **named: object) -> None:
        uvloop.run(test(*arguments, **named))

    return run


@asynccontextmanager
async def serving(limits: Limits, body: bytes = b"here") -> AsyncIterator[tuple[Server, int]]:
    async def respond(request: web.BaseRequest) -> web.Response:
        return web.Response(body=body)

    server = Server(respond, limits)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield server, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(0.1)


async def within(seconds: float, reached: Callable[[], bool]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            while not reached():
                await asyncio.sleep(0.02)
    except TimeoutError:
        return False
    return True


async def rest(reading: Awaitable[bytes]) -> bytes:
    async with asyncio.timeout(10):
        return await reading


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost:", GET, GET + b"GET / HT"], ids=repr
)
@on_uvloop
async def test_who_sends_no_whole_head_is_let_go(sent: bytes) -> None:
    async with serving(Limits(idle_s=0.3)) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answers = await rest(reader.read())
        assert answers.count(b"200 OK") == sent.count(GET)
        assert await within(5, lambda: server.open == 0)
        writer.close()


@on_uvloop
async def test_who_sends_a_head_by_the_byte_is_let_go() -> None:
    async with serving(Limits(idle_s=0.3)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n")
        for _ in range(100):
            writer.write(b"A: b\r\n")
            await asyncio.sleep(0.05)
            if gone := reader.at_eof() or reader.exception() is not None:  # closed, or reset
                break
        assert gone
        writer.close()


def slow(port: int) -> socket.socket:
    taker = socket.socket()
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    taker.connect(("127.0.0.1", port))
    taker.sendall(GET)
    return taker


@on_uvloop
async def test_who_takes_nothing_of_a_response_is_let_go() -> None:
    async with serving(Limits(stalled_s=0.3), LARGE) as (server, port):
        with slow(port):
            assert await within(5, lambda: server.open == 1)
            assert await within(5, lambda: server.open == 0)


@on_uvloop
async def test_who_takes_it_slowly_gets_all_of_it() -> None:
    async with serving(Limits(stalled_s=1.0), LARGE) as (_, port):
        with slow(port) as taker:
            taker.setblocking(False)
            loop, taken = asyncio.get_running_loop(), 0
            began = loop.time()
            while taken < len(LARGE):
                taken += len(await rest(loop.sock_recv(taker, 400_000)))
                await asyncio.sleep(0.05)
            assert loop.time() - began > 2


@on_uvloop
async def test_there_are_only_so_many_connections() -> None:
    async with serving(Limits(connections=2)) as (server, port):
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert await within(5, lambda: server.open == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await rest(reader.read()) == b""
        writer.close()
        kept[0][1].close()
        assert await within(5, lambda: server.open == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert (await rest(reader.readuntil(b"here"))).startswith(b"HTTP/1.1 200 OK")
        for one in (writer, kept[1][1]):
            one.close()
