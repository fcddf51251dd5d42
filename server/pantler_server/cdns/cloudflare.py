"""Cloudflare: its cache, and Workers KV as the edge store.

What its documentation says, as of 2026:

- https://developers.cloudflare.com/api/resources/cache/methods/purge/: POST
  /zones/{zone_id}/purge_cache with one of `files`, `tags` and `purge_everything: true`.
- https://developers.cloudflare.com/cache/how-to/purge-cache/: up to 100 operations in a request
  (of URLs 500 on Enterprise). Requests take from a token bucket of the account: 5 a minute
  (bucket 25) on Free, 5 a second (25) on Pro, 10 (50) on Business, 50 (500) on Enterprise.
- https://developers.cloudflare.com/cache/how-to/purge-cache/purge-by-tags/: a tag in a request has
  at most 1,024 characters; case does not matter.
- https://developers.cloudflare.com/cache/guides/invalidate-cache/: POST
  /zones/{zone_id}/invalidate_cache takes the same, everything too, and only makes it stale.
- https://developers.cloudflare.com/fundamentals/api/reference/limits/: 429 comes with Retry-After.
- https://developers.cloudflare.com/api/resources/kv/: PUT, GET and DELETE
  /accounts/{account_id}/storage/kv/namespaces/{namespace_id}/values/{key_name}, with the key
  URL-encoded; `expiration_ttl` in the query, 60 s or more; with metadata the body is a form of
  `value` and `metadata`. GET has the Unix time of expiry in the header `expiration`. GET
  …/metadata/{key_name} has the metadata in `result`.
- https://developers.cloudflare.com/kv/platform/limits/: keys up to 512 bytes, values up to 25 MiB,
  metadata up to 1,024 bytes.

All answer an envelope: `success`, `errors` with `code` and `message` each, `result`.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp

from pantler_server.cdns.http import Answer, Link, Session
from pantler_server.cdns.limits import limits
from pantler_server.cdns.target import EVERY_KIND, Batch, EdgeValue, TargetFailed
from pantler_server.core import canonical_json
from pantler_server.core.cdn_config import CdnTarget, CloudflareTarget

MAX_TAG_CHARACTERS = 1024
MAX_VALUE_BYTES = 25 << 20
RATES = {  # requests in a second, and the bucket
    "free": (5 / 60, 25),
    "pro": (5.0, 25),
    "business": (10.0, 50),
    "enterprise": (50.0, 500),
}
_TIME = re.compile(r"[0-9]{1,11}")
_NO_KEY = 10009  # the code of an envelope that says that there is no such key in the namespace


class Cloudflare:
    """A zone. Where a soft purge is asked for, what it keeps is invalidated, not purged."""

    kinds = EVERY_KIND
    can_soft = True

    def __init__(self, config: CdnTarget, cloudflare: CloudflareTarget, session: Session) -> None:
        rate, bucket = RATES[cloudflare.plan]
        self.fingerprint = config.fingerprint()
        self.limits = limits(
            config,
            tags_per_request=100,
            urls_per_request=500 if cloudflare.plan == "enterprise" else 100,
            tag_bytes_per_request=100 * (MAX_TAG_CHARACTERS + 1),
            requests_per_second=rate,
            burst=bucket,
        )
        self._zone = f"{cloudflare.api}/zones/{cloudflare.zone}"
        self._link = _link(config, cloudflare, session)
        self._headers = {**_authorization(cloudflare), "Content-Type": "application/json"}

    async def purge(self, batch: Batch) -> None:
        what: dict[str, object]
        if batch.everything:
            what = {"purge_everything": True}
        elif batch.tags:
            what = {"tags": list(batch.tags)}
        else:
            what = {"files": list(batch.urls)}
        url = f"{self._zone}/{'invalidate_cache' if batch.soft else 'purge_cache'}"
        answer = await self._link.send("POST", url, self._headers, json.dumps(what))
        _envelope(self._link, answer)


class WorkersKv:
    """A namespace of Workers KV."""

    def __init__(self, config: CdnTarget, cloudflare: CloudflareTarget, session: Session) -> None:
        self._namespace = (
            f"{cloudflare.api}/accounts/{cloudflare.account}/storage/kv/namespaces/"
            f"{cloudflare.kv_namespace}"
        )
        self._link = _link(config, cloudflare, session)
        self._headers = _authorization(cloudflare)

    async def put(
        self, key: str, value: bytes, ttl_s: int | None, metadata: dict[str, object] | None
    ) -> None:
        url = self._url("values", key)
        if ttl_s is not None:
            url += f"?expiration_ttl={ttl_s}"
        if metadata is None:
            headers = {**self._headers, "Content-Type": "application/octet-stream"}
            answer = await self._link.send("PUT", url, headers, value)
        else:
            text = canonical_json.encode(metadata).decode()
            answer = await self._link.send("PUT", url, self._headers, lambda: _form(value, text))
        _envelope(self._link, answer)

    async def get(self, key: str) -> EdgeValue | None:
        """By two requests, since none gives both: metadata of a value that is put meanwhile may be
        that of the one before or after."""
        found, described = await asyncio.gather(self._value(key), self._metadata(key))
        if found is None:
            return None
        if len(found.body) > MAX_VALUE_BYTES:
            raise TargetFailed("its answer is longer than a value may be")
        expires = found.headers.get("expiration", "")
        expires_s = int(expires) if _TIME.fullmatch(expires) else None
        return EdgeValue(found.body, expires_s, described)

    async def delete(self, key: str) -> None:
        answer = await self._link.send(
            "DELETE", self._url("values", key), self._headers, passes=(HTTPStatus.NOT_FOUND,)
        )
        if not self._is_absent(answer):
            _envelope(self._link, answer)

    async def _value(self, key: str) -> Answer | None:
        answer = await self._link.send(
            "GET",
            self._url("values", key),
            self._headers,
            max_bytes=MAX_VALUE_BYTES,
            passes=(HTTPStatus.NOT_FOUND,),
        )
        return None if self._is_absent(answer) else answer

    async def _metadata(self, key: str) -> dict[str, object] | None:
        answer = await self._link.send(
            "GET",
            self._url("metadata", key),
            self._headers,
            passes=(HTTPStatus.NOT_FOUND,),
        )
        if self._is_absent(answer):
            return None
        result = _envelope(self._link, answer).get("result")
        return result if isinstance(result, dict) else None  # others put what they like

    def _is_absent(self, answer: Answer) -> bool:
        """Whether there is no such key. There may also be no such namespace, which is refused."""
        if answer.status != HTTPStatus.NOT_FOUND:
            return False
        if _NO_KEY in (code for code, _ in _errors(answer)):
            return True
        raise self._link.error(answer)

    def _url(self, what: str, key: str) -> str:
        return f"{self._namespace}/{what}/{quote(key, safe='')}"


def _link(config: CdnTarget, cloudflare: CloudflareTarget, session: Session) -> Link:
    return Link(session, config.timeout, (cloudflare.token.get_secret_value(),), _said)


def _authorization(cloudflare: CloudflareTarget) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {cloudflare.token.get_secret_value()}"}


def _form(value: bytes, metadata: str) -> aiohttp.FormData:
    """A new one for each attempt: a form is sent once."""
    form = aiohttp.FormData()
    form.add_field("value", value, filename="value", content_type="application/octet-stream")
    form.add_field("metadata", metadata, content_type="application/json")
    return form


def _envelope(link: Link, answer: Answer) -> dict[str, Any]:
    """What an answer of status 2xx says. Raises TargetRefused if it is no success, and TargetFailed
    if it is none of Cloudflare's."""
    envelope = answer.document
    if envelope.get("success") is True:
        return envelope
    if _errors(answer):
        raise link.error(answer)
    raise TargetFailed(f"{answer.status}: the answer is not one of Cloudflare's API")


def _said(answer: Answer) -> str:
    errors = _errors(answer)
    if not errors:
        return answer.said
    return "; ".join(f"{message} ({code})" if code else message for code, message in errors)


def _errors(answer: Answer) -> list[tuple[int, str]]:
    """Code and message of each."""
    errors = answer.document.get("errors")
    return [
        (code if isinstance(code := one.get("code"), int) else 0, str(one.get("message", "")))
        for one in (errors if isinstance(errors, list) else [])
        if isinstance(one, dict)
    ]
