"""Fastly.

What its documentation says, as of 2026:

- https://www.fastly.com/documentation/reference/api/purging/: POST /service/{service_id}/purge
  with a JSON body `surrogate_keys` of up to 256 keys; POST /service/{service_id}/purge_all, which
  can't be soft; POST /purge/{cached_url}, where the URL is without its scheme. The header
  `fastly-soft-purge: 1` makes a purge soft. `Fastly-Key` has the token.
- https://www.fastly.com/documentation/reference/http/http-headers/Surrogate-Key/: a key has at most
  1,024 bytes, and all of a response 16,384.
- https://www.fastly.com/documentation/reference/api/#rate-limiting: purges by URL and by key are
  limited to 100,000 an hour for a customer on average, and 429 comes with the Unix time of a new
  window in `Fastly-RateLimit-Reset`. A batch of keys is one request; if it counted as more, 429
  would say so.

All answers are JSON objects; errors have `msg`, and often `detail`.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus

from pantler_server.cdns.http import Answer, Link, Session, retry_after_s, split_url, until
from pantler_server.cdns.limits import limits
from pantler_server.cdns.target import EVERY_KIND, Batch, TargetFailed
from pantler_server.core.cdn_config import CdnTarget, FastlyTarget

MAX_KEY_BYTES = 1024
MAX_KEYS = 256
PURGES_PER_SECOND = 100_000 / 3600
BURST = 100  # well below an hour's
MAX_ANSWER_BYTES = MAX_KEYS * (MAX_KEY_BYTES + 128)  # each key, and the id of its purge


class Fastly:
    """A service. It forgets everything at once, never softly."""

    kinds = EVERY_KIND
    can_soft = True

    def __init__(self, config: CdnTarget, fastly: FastlyTarget, session: Session) -> None:
        self.fingerprint = config.fingerprint()
        self.limits = limits(
            config,
            tags_per_request=MAX_KEYS,
            urls_per_request=1,
            tag_bytes_per_request=MAX_KEYS * (MAX_KEY_BYTES + 1),
            requests_per_second=PURGES_PER_SECOND,
            burst=BURST,
        )
        self._api = fastly.api
        self._service = f"{fastly.api}/service/{fastly.service}"
        token = fastly.token.get_secret_value()
        self._link = Link(session, config.timeout, (token,), _said, _patience_s)
        self._headers = {"Fastly-Key": token, "Accept": "application/json"}

    async def purge(self, batch: Batch) -> None:
        headers = self._headers
        if batch.soft and not batch.everything:
            headers = {**headers, "fastly-soft-purge": "1"}
        if batch.everything:
            await self._send(f"{self._service}/purge_all", headers)
        elif batch.tags:
            keys = json.dumps({"surrogate_keys": list(batch.tags)})
            headers = {**headers, "Content-Type": "application/json"}
            await self._send(f"{self._service}/purge", headers, keys)
        else:
            for url in batch.urls:
                _, authority, target = split_url(url)
                await self._send(f"{self._api}/purge/{authority}{target}", headers)

    async def _send(self, url: str, headers: Mapping[str, str], body: str | None = None) -> None:
        answer = await self._link.send("POST", url, headers, body, max_bytes=MAX_ANSWER_BYTES)
        if not answer.document:
            raise TargetFailed(f"{answer.status}: the answer is not one of Fastly's API")


def _said(answer: Answer) -> str:
    error = answer.document
    if not isinstance(error.get("msg"), str):
        return answer.said
    detail = error.get("detail")
    return f"{error['msg']}: {detail}" if detail and isinstance(detail, str) else error["msg"]


def _patience_s(answer: Answer) -> float:
    """Until the window ends in which too many were sent."""
    if said := retry_after_s(answer.headers):
        return said
    reset = answer.headers.get("Fastly-RateLimit-Reset", "")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS and reset.isascii() and reset.isdigit():
        return until(float(reset[:12]))
    return 0.0
