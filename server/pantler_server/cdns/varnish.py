"""Varnish servers with the xkey module of varnish-modules, and a VCL that takes PURGE as
docs/cdn.md shows it:

- `PURGE /` with `xkey-purge: a b`, or softly `xkey-softpurge: a b`, purges tags; with
  `purge-all: 1` everything.
- `PURGE /path?query` with the Host of a URL purges that URL, with `soft-purge: 1` softly.

What purges tags or everything says so: `Purged 3`, `Purged all`. Any VCL that takes a PURGE answers
200 `Purged`, and has forgotten the URL.

https://github.com/varnish/varnish-modules/blob/master/src/vmod_xkey.vcc: `xkey.purge` and
`xkey.softpurge` take keys with spaces between them. A line of a header may have 8 KiB
(`http_req_hdr_len`, https://varnish-cache.org/docs/trunk/reference/varnishd.html).
"""

import asyncio
from collections.abc import Iterator, Mapping

from pantler_server.cdns.http import Link, Session, split_url
from pantler_server.cdns.limits import limits
from pantler_server.cdns.target import EVERY_KIND, Batch, TargetFailed, TargetRefused
from pantler_server.core.cdn_config import CdnTarget, VarnishTarget

MAX_TAG_BYTES = 8000  # of a line, with room for the header's name
REQUESTS_PER_SECOND = 100.0  # to each server; purges are cheap, and it has other work

_Request = tuple[str, Mapping[str, str]]  # path with query, and headers


class Varnish:
    """Some servers, each of which must purge."""

    kinds = EVERY_KIND
    can_soft = True

    def __init__(self, config: CdnTarget, varnish: VarnishTarget, session: Session) -> None:
        self.fingerprint = config.fingerprint()
        self.limits = limits(
            config,
            tags_per_request=1000,
            urls_per_request=1,
            tag_bytes_per_request=MAX_TAG_BYTES,
            requests_per_second=REQUESTS_PER_SECOND,
            burst=int(REQUESTS_PER_SECOND),
        )
        self._servers = varnish.servers
        self._host = {} if varnish.host is None else {"Host": varnish.host}
        self._link = Link(session, config.timeout)

    async def purge(self, batch: Batch) -> None:
        """A server that fails counts before one that refuses: so that all others have purged before
        it is given up."""
        for path, headers in self._requests(batch):
            came_of = await asyncio.gather(
                *(self._send(one, path, headers, not batch.urls) for one in self._servers),
                return_exceptions=True,
            )
            errors = [error for error in came_of if error is not None]
            for error in errors:
                if isinstance(error, TargetFailed):
                    error.in_part = len(errors) < len(came_of)
            for kind in (TargetFailed, TargetRefused, BaseException):
                for error in errors:
                    if isinstance(error, kind):
                        raise error

    def _requests(self, batch: Batch) -> Iterator[_Request]:
        if batch.everything:
            yield "/", {**self._host, "purge-all": "1"}
        elif batch.tags:
            name = "xkey-softpurge" if batch.soft else "xkey-purge"
            yield "/", {**self._host, name: " ".join(batch.tags)}
        for url in batch.urls:
            _, authority, target = split_url(url)
            soft = {"soft-purge": "1"} if batch.soft else {}
            yield target, {"Host": authority, **soft}

    async def _send(
        self, server: str, path: str, headers: Mapping[str, str], needs_vcl: bool
    ) -> None:
        where = server.partition("://")[2]
        try:
            answer = await self._link.send("PURGE", f"{server}{path}", headers)
        except TargetFailed as exc:
            raise TargetFailed(f"{where}: {exc}", exc.retry_after_s) from exc
        except TargetRefused as exc:
            raise TargetRefused(f"{where}: {exc}", of_rights=exc.of_rights) from exc
        if needs_vcl and not answer.reason.startswith("Purged "):
            raise TargetRefused(
                f"{where}: its VCL purges URLs alone; examples/varnish/pantler.vcl has the rest",
                of_rights=True,
            )
