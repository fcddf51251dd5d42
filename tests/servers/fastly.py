"""A stand-in for Fastly's API, as strict as its documentation.

    async with FastlyServer() as fastly:
        config = {"cdn_targets": {"edge": fastly.target}}
        …
        assert fastly.purges == [Purge(tags=("a",), soft=True)]

`VendorServer` says what else it can be told.

Checked is what these pages say, as of 2026:

- https://www.fastly.com/documentation/reference/api/purging/: methods, paths, up to 256 keys, soft
  purges but of everything.
- https://www.fastly.com/documentation/reference/http/http-headers/Surrogate-Key/: keys of up to
  1,024 bytes with spaces between them.
- https://www.fastly.com/documentation/reference/api/#authentication: the token in `Fastly-Key`.
- https://www.fastly.com/documentation/reference/api/#rate-limiting: 429, and
  `Fastly-RateLimit-Reset` with the Unix time at which the window ends.
"""

import time
from typing import Any

from aiohttp import web

from tests.servers.vendor import Purge, VendorError, VendorServer

SERVICE = "SU1Z0isxPaozGVKXdv0eY"
MAX_KEYS = 256
MAX_KEY_BYTES = 1024


class FastlyServer(VendorServer):
    """A service. Where it is told to fail with 429 without `retry_after`, it says how long in
    Fastly-RateLimit-Reset: `reset_after_s`."""

    reset_after_s = 2

    @property
    def target(self) -> dict[str, Any]:
        token = "token-of-the-stand-in"
        return {"fastly": {"service": SERVICE, "token": token, "api": self.api}}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._authorize(request)
        if request.method != "POST":
            raise self._violation(request, "must be POST", 405)
        soft = request.headers.get("fastly-soft-purge")
        if soft not in (None, "1"):
            raise self._violation(request, f"fastly-soft-purge is {soft!r}")
        path = request.raw_path
        if path.startswith("/service/"):
            service, _, what = path.removeprefix("/service/").partition("/")
            if service != SERVICE:
                raise VendorError(404, 0, "Record not found")
            if what == "purge":
                return await self._purge_keys(request, soft is not None)
            if what == "purge_all":
                return await self._purge_all(request, soft is not None)
        elif path.startswith("/purge/"):
            return await self._purge_url(request, path.removeprefix("/purge/"), soft is not None)
        raise self._violation(request, "there is no such method", 404)

    def _authorize(self, request: web.Request) -> None:
        token = request.headers.get("Fastly-Key")
        if token is None:
            raise self._violation(request, "there is no Fastly-Key", 401)
        if token != self.token:
            raise VendorError(401, 0, "Provided credentials are missing or invalid")

    async def _purge_keys(self, request: web.Request, soft: bool) -> web.Response:
        if request.content_type != "application/json":
            raise self._violation(request, f"{request.content_type} is not application/json")
        if "Surrogate-Key" in request.headers:
            raise self._violation(request, "has keys in a header and in the body")
        try:
            body = await request.json()
        except ValueError:
            raise self._violation(request, "the body is not JSON") from None
        if not isinstance(body, dict) or list(body) != ["surrogate_keys"]:
            raise self._violation(request, "the body must have surrogate_keys and no more")
        keys = body["surrogate_keys"]
        if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS:
            raise self._violation(request, f"must have 1 to {MAX_KEYS} keys")
        for key in keys:
            if not isinstance(key, str) or not 0 < len(key.encode()) <= MAX_KEY_BYTES:
                raise self._violation(request, f"{key!r} is not a key")
            if len(key.split()) != 1 or not key.isprintable():
                raise self._violation(request, f"{key!r} would be several keys")
        self.purges.append(Purge(tags=tuple(keys), soft=soft))
        return web.json_response({key: self._id() for key in keys})

    async def _purge_all(self, request: web.Request, soft: bool) -> web.Response:
        if soft or await request.read():
            raise self._violation(request, "purge_all takes no body, and can't be soft")
        self.purges.append(Purge(everything=True))
        return web.json_response({"status": "ok"})

    async def _purge_url(self, request: web.Request, url: str, soft: bool) -> web.Response:
        host = url.partition("/")[0]
        if "//" in url or ("." not in host and ":" not in host) or await request.read():
            raise self._violation(request, f"{url!r} must be a URL without its scheme")
        self.purges.append(Purge(urls=(url,), soft=soft))
        return web.json_response({"status": "ok", "id": self._id()})

    def _id(self) -> str:
        return f"108-{len(self.purges)}-{self.requests}"

    def _error(self, error: VendorError, retry_after: str) -> web.Response:
        headers = {}
        if retry_after:
            headers["Retry-After"] = retry_after
        elif error.status == 429:
            headers["Fastly-RateLimit-Remaining"] = "0"
            headers["Fastly-RateLimit-Reset"] = str(int(time.time()) + self.reset_after_s)
        return web.json_response({"msg": error.message}, status=error.status, headers=headers)
