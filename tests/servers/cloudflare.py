"""A stand-in for Cloudflare's API, as strict as its documentation.

    async with CloudflareServer() as cloudflare:
        config = {"cdn_targets": {"edge": cloudflare.target}}
        …
        assert cloudflare.purges == [Purge(tags=("a",))]

`VendorServer` says what else it can be told. `values` is its namespace of Workers KV. With
`plan="free"` (or pro, business, enterprise) it has that plan's limits, of rates too with
`limit_rate=True`.

Checked is what these pages say, as of 2026:

- https://developers.cloudflare.com/api/resources/cache/methods/purge/ and
  https://developers.cloudflare.com/cache/guides/invalidate-cache/: paths and bodies.
- https://developers.cloudflare.com/cache/how-to/purge-cache/: how many in a request, and how often.
- https://developers.cloudflare.com/cache/how-to/purge-cache/purge-by-tags/: up to 1,024 printable
  ASCII characters without spaces.
- https://developers.cloudflare.com/cache/how-to/purge-cache/purge-by-single-file/: URLs as files.
- https://developers.cloudflare.com/api/resources/kv/ and
  https://developers.cloudflare.com/kv/platform/limits/: Workers KV.
- https://developers.cloudflare.com/fundamentals/api/how-to/make-api-calls/: the token, and the
  envelope.
"""

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import web

from tests.servers.vendor import Purge, VendorError, VendorServer

ZONE = "023e105f4ecef8ad9ca31a8372d0c353"
ACCOUNT = "01a7362d577a6c3019a474fd6f485823"
NAMESPACE = "0f2ac74b498b48028cb68387c421e279"
PREFIX = "/client/v4"

RATES = {"free": (5 / 60, 25), "pro": (5.0, 25), "business": (10.0, 50), "enterprise": (50.0, 500)}
MAX_OPERATIONS = 100
MAX_TAG_CHARACTERS = 1024
MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 25 << 20
MAX_METADATA_BYTES = 1024
MIN_TTL_S = 60


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value of Workers KV."""

    value: bytes
    expires_s: int | None
    metadata: Any


class CloudflareServer(VendorServer):
    """A zone and a namespace of Workers KV."""

    def __init__(self, *, plan: str = "enterprise", limit_rate: bool = False) -> None:
        rate, bucket = RATES[plan]
        super().__init__(rate=rate if limit_rate else None, bucket=bucket)
        self.plan = plan
        self.values: dict[str, StoredValue] = {}

    @property
    def api(self) -> str:
        return f"{super().api}{PREFIX}"

    @property
    def target(self) -> dict[str, Any]:
        return {
            "cloudflare": {
                "zone": ZONE,
                "token": "token-of-the-stand-in",
                "account": ACCOUNT,
                "kv_namespace": NAMESPACE,
                "plan": self.plan,
                "api": self.api,
            }
        }

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._authorize(request)
        path = request.raw_path.partition("?")[0]
        for how, soft in (("purge_cache", False), ("invalidate_cache", True)):
            if path == f"{PREFIX}/zones/{ZONE}/{how}":
                return await self._purge(request, soft)
        store = f"{PREFIX}/accounts/{ACCOUNT}/storage/kv/namespaces/"
        if path.startswith(store):
            namespace, _, rest = path.removeprefix(store).partition("/")
            if namespace != NAMESPACE:
                raise VendorError(404, 10013, "list keys: 'namespace not found'")
            what, _, key = rest.partition("/")
            if what in ("values", "metadata"):
                return await self._value(request, what, key)
        if path.startswith(f"{PREFIX}/zones/"):
            raise VendorError(404, 7003, "Could not route to the zone")
        raise self._violation(request, "there is no such method", 404)

    def _authorize(self, request: web.Request) -> None:
        said = request.headers.get("Authorization", "")
        if not said.startswith("Bearer "):
            raise self._violation(request, "there is no bearer token", 403)
        if said != f"Bearer {self.token}":
            raise VendorError(403, 10000, "Authentication error")

    async def _purge(self, request: web.Request, soft: bool) -> web.Response:
        if request.method != "POST":
            raise self._violation(request, "must be POST", 405)
        if request.content_type != "application/json":
            raise self._violation(request, f"{request.content_type} is not application/json")
        if request.query_string:
            raise self._violation(request, "takes no query")
        try:
            body = await request.json()
        except ValueError:
            raise self._violation(request, "the body is not JSON") from None
        if not isinstance(body, dict) or len(body) != 1:
            raise self._violation(request, "the body must have one of files, tags and the others")
        [(kind, values)] = body.items()
        self.purges.append(self._checked(request, kind, values, soft))
        return _envelope({"id": ZONE})

    def _checked(self, request: web.Request, kind: str, values: Any, soft: bool) -> Purge:
        if kind == "purge_everything":
            if values is not True:
                raise self._violation(request, "purge_everything is true")
            return Purge(everything=True, soft=soft)
        most = 500 if kind == "files" and self.plan == "enterprise" else MAX_OPERATIONS
        if not isinstance(values, list) or not 1 <= len(values) <= most:
            raise self._violation(request, f"{kind} must be a list of 1 to {most}")
        if kind == "tags":
            for tag in values:
                if not _is_tag(tag):
                    raise self._violation(request, f"{tag!r} is not a tag")
            return Purge(tags=tuple(values), soft=soft)
        if kind == "files":
            for url in values:
                if not _is_url(url):
                    raise self._violation(request, f"{url!r} is not a URL")
            return Purge(urls=tuple(values), soft=soft)
        raise self._violation(request, f"{kind} is not documented, or not used")

    async def _value(self, request: web.Request, what: str, quoted: str) -> web.StreamResponse:
        key = self._key(request, quoted)
        stored = self.values.get(key)
        if stored is not None and stored.expires_s is not None and stored.expires_s <= time.time():
            stored = None
        match what, request.method:
            case "values", "PUT":
                return await self._put(request, key)
            case "values", "DELETE":
                if await request.read():
                    raise self._violation(request, "takes no body")
                self.values.pop(key, None)
                return _envelope({})
            case (("values" | "metadata"), "GET"):
                if stored is None:
                    raise VendorError(404, 10009, "get: 'key not found'")
                if what == "metadata":
                    return _envelope(stored.metadata)
                headers = {"Content-Type": "application/octet-stream"}
                if stored.expires_s is not None:
                    headers["expiration"] = str(stored.expires_s)
                return web.Response(body=stored.value, headers=headers)
        raise self._violation(request, "there is no such method", 405)

    def _key(self, request: web.Request, quoted: str) -> str:
        if "/" in quoted or not quoted.isascii():
            raise self._violation(request, "the key is not URL-encoded")
        key = unquote(quoted, errors="strict")
        if not key or key in (".", "..") or len(key.encode()) > MAX_KEY_BYTES:
            raise self._violation(request, f"{key!r} is not a key")
        return key

    async def _put(self, request: web.Request, key: str) -> web.Response:
        query = dict(request.query)
        ttl = query.pop("expiration_ttl", None)
        if query:
            raise self._violation(request, f"{query} is not documented, or not used")
        expires_s = None
        if ttl is not None:
            if not ttl.isdigit() or int(ttl) < MIN_TTL_S:
                raise self._violation(request, f"expiration_ttl {ttl} is less than {MIN_TTL_S}")
            expires_s = int(time.time()) + int(ttl)
        metadata: Any = None
        if request.content_type == "multipart/form-data":
            value, metadata = await self._form(request)
        else:
            value = await request.read()
        if len(value) > MAX_VALUE_BYTES:
            raise self._violation(request, "the value is too large", 413)
        self.values[key] = StoredValue(value, expires_s, metadata)
        return _envelope({})

    async def _form(self, request: web.Request) -> tuple[bytes, Any]:
        fields: dict[str, bytes] = {}
        async for part in await request.multipart():
            name = getattr(part, "name", None)
            if name not in ("value", "metadata") or name in fields:
                raise self._violation(request, f"the form has {name!r}")
            fields[name] = bytes(await part.read())  # type: ignore[union-attr]
        if fields.keys() != {"value", "metadata"}:
            raise self._violation(request, f"the form has only {sorted(fields)}")
        if len(fields["metadata"]) > MAX_METADATA_BYTES:
            raise self._violation(request, "the metadata is too large", 413)
        try:
            return fields["value"], json.loads(fields["metadata"])
        except ValueError:
            raise self._violation(request, "the metadata is not JSON") from None

    def _error(self, error: VendorError, retry_after: str) -> web.Response:
        headers = {"Retry-After": retry_after} if retry_after else {}
        envelope = {
            "success": False,
            "errors": [{"code": error.code, "message": error.message}],
            "messages": [],
            "result": None,
        }
        return web.json_response(envelope, status=error.status, headers=headers)


def _envelope(result: Any) -> web.Response:
    return web.json_response({"success": True, "errors": [], "messages": [], "result": result})


def _is_tag(tag: Any) -> bool:
    return (
        isinstance(tag, str)
        and 0 < len(tag) <= MAX_TAG_CHARACTERS
        and tag.isascii()
        and tag.isprintable()
        and not {" ", ","} & set(tag)
    )


def _is_url(url: Any) -> bool:
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        return False
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)
