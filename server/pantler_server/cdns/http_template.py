"""Anything that purges by an HTTP request, by the templates of its configuration."""

import json
import re
from collections.abc import Mapping
from urllib.parse import quote

from pantler_server.cdns.http import Link, Session
from pantler_server.cdns.limits import limits
from pantler_server.cdns.target import Batch, Kind, TargetRefused
from pantler_server.core.cdn_config import CdnTarget, HttpTarget

REQUESTS_PER_SECOND = 50.0  # of what documents nothing
MAX_TAG_BYTES = 8000  # of the one tag of a request: longer than any

_PLACE = re.compile(r"\{(tag|url|soft)\}")


class HttpTemplate:
    """One request for each tag or URL."""

    def __init__(self, config: CdnTarget, http: HttpTarget, session: Session) -> None:
        self.fingerprint = config.fingerprint()
        self.limits = limits(
            config,
            tags_per_request=1,
            urls_per_request=1,
            tag_bytes_per_request=MAX_TAG_BYTES,
            requests_per_second=REQUESTS_PER_SECOND,
            burst=int(REQUESTS_PER_SECOND),
        )
        templates = (http.tag_url, http.url_url, http.all_url, http.body)
        self.can_soft = any("{soft}" in one for one in templates if one is not None)
        ways = {Kind.TAG: http.tag_url, Kind.URL: http.url_url, Kind.EVERYTHING: http.all_url}
        self.kinds = frozenset(kind for kind, url in ways.items() if url is not None)
        self._http = http
        self._headers = {name: one.get_secret_value() for name, one in http.headers.items()}
        self._link = Link(session, config.timeout, tuple(self._headers.values()))
        if http.body is not None and "content-type" not in map(str.lower, self._headers):
            self._headers["Content-Type"] = "application/json"

    async def purge(self, batch: Batch) -> None:
        soft = "1" if batch.soft else "0"
        if batch.everything:
            await self._send("all_url", self._http.all_url, {"soft": soft})
        for tag in batch.tags:
            await self._send("tag_url", self._http.tag_url, {"tag": tag, "soft": soft})
        for url in batch.urls:
            await self._send("url_url", self._http.url_url, {"url": url, "soft": soft})

    async def _send(self, setting: str, template: str | None, values: Mapping[str, str]) -> None:
        if template is None:
            raise TargetRefused(f"it can't purge that: it has no {setting}")
        url = _PLACE.sub(lambda place: quote(values.get(place[1], ""), safe=""), template)
        body = self._http.body
        if body is not None:
            body = _PLACE.sub(lambda place: json.dumps(values.get(place[1], ""))[1:-1], body)
        await self._link.send(self._http.method, url, self._headers, body)
