"""What the HTTP gateway is measured against: an aiohttp handler that gives what Redis has.

`python -m bench.bare_http PORT REDIS_SOCKET` serves /v1/bench/KEY. It runs on uvloop, as Pantler's
workers do, and asks Redis with redis-py, which has a connection for each request under way.
"""

import asyncio
import sys

import uvloop
from aiohttp import web
from redis.asyncio import Redis


async def serve(redis_socket: str) -> None:
    redis = Redis(unix_socket_path=redis_socket, protocol=3)

    async def get(request: web.Request) -> web.Response:
        value = await redis.get(request.match_info["key"])
        if value is None:
            raise web.HTTPNotFound
        return web.Response(body=value, content_type="application/octet-stream")

    app = web.Application()
    app.router.add_get("/v1/bench/{key}", get)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
