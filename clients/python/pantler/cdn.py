"""The calls of CdnService."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, get_args
from uuid import uuid4

from pantler.arguments import checked_ttl
from pantler.batch import listed
from pantler.cdn_model import CachePolicy, EdgeValue, PurgeReceipt, PurgeState, PurgeStatus
from pantler.connection import Connection
from pantler.errors import DeadlineExceeded, answer_to
from pantler.record_messages import fields_of, struct
from pantler.v1 import cdn_pb2, cdn_pb2_grpc

# How soon a purge is looked at again: soon at first, then more seldom.
FIRST_LOOK_S, MAX_LOOK_S = 0.05, 1.0

_VISIBILITIES = {
    "public": cdn_pb2.CACHE_VISIBILITY_PUBLIC,
    "private": cdn_pb2.CACHE_VISIBILITY_PRIVATE,
}
_STATES: dict[cdn_pb2.PurgeState, PurgeState] = {
    getattr(cdn_pb2, f"PURGE_STATE_{name.upper()}"): name for name in get_args(PurgeState)
}


class CdnCalls(Connection):
    """How a client deals with CDNs and proxies, the targets of the server's configuration: headers
    that say how long they may keep a response, purges, and values in a store at their edge.

    Invalidations of a namespace that names targets purge them by themselves; `purge` is for the
    rest.
    """

    async def build_headers(
        self,
        policy: CachePolicy | None = None,
        *,
        namespace: str = "",
        content: bytes | None = None,
        etag: str | None = None,
        weak: bool = False,
        last_modified: datetime | None = None,
        tags: Iterable[str] = (),
    ) -> dict[str, str]:
        """The headers of a response: Cache-Control and, as far as they apply, CDN-Cache-Control,
        ETag, Last-Modified, Vary, Cache-Tag, Surrogate-Key and xkey.

            policy = pantler.CachePolicy(max_age=timedelta(minutes=1), s_maxage=timedelta(hours=1))
            headers = await client.build_headers(policy, content=page, tags=["prices"])

        Without a policy that of the `namespace` is taken. The ETag is given, or made of the
        content; with `weak` it is the same for responses that differ in bytes but not in meaning.
        """
        if content is not None and etag is not None:
            raise TypeError("give content or etag, not both")
        request = cdn_pb2.BuildHeadersRequest(
            policy=None if policy is None else _policy(policy),
            namespace=namespace,
            content=content,
            etag=etag,
            weak=weak,
            last_modified=_aware(last_modified),
            tags=listed(tags),
        )
        answer = await answer_to(self._cdn_service.BuildHeaders, request, self._timeout_s)
        return dict(answer.headers)

    async def check_freshness(
        self,
        *,
        if_none_match: str = "",
        if_modified_since: str = "",
        etag: str = "",
        last_modified: datetime | None = None,
    ) -> bool:
        """Whether a conditional GET or HEAD is answered with 304 Not Modified: the headers of the
        request as they came, against the ETag and the time of the response."""
        request = cdn_pb2.CheckFreshnessRequest(
            if_none_match=if_none_match,
            if_modified_since=if_modified_since,
            etag=etag,
            last_modified=_aware(last_modified),
        )
        answer = await answer_to(self._cdn_service.CheckFreshness, request, self._timeout_s)
        return answer.not_modified

    async def purge(
        self,
        *,
        urls: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        everything: bool = False,
        soft: bool = False,
        target: str = "",
        request_id: str | None = None,
    ) -> str:
        """Has a target, or all, forget what they keep for URLs or with tags (up to 1,000), or
        everything; the id of the purge. It is on its way then, and nothing is lost if the server
        goes away; `wait_purge` waits for its end.

            purge_id = await client.purge(tags=["prices"])
            status = await client.wait_purge(purge_id)

        With `soft` it only becomes stale, where the target can do that. The call has a request id,
        made up unless it is given, and is sent again if the server is away or went away meanwhile:
        it purges once. With `request_id=""` it is sent once.
        """
        if (urls is not None) + (tags is not None) + everything != 1:
            raise TypeError("give one of urls, tags and everything")
        request = cdn_pb2.PurgeRequest(
            target=target,
            urls=None if urls is None else cdn_pb2.UrlList(urls=listed(urls)),
            tags=None if tags is None else cdn_pb2.TagList(tags=listed(tags)),
            all=everything or None,
            soft=soft,
            request_id=uuid4().hex if request_id is None else request_id,
        )
        return (await answer_to(self._cdn_service.Purge, request, self._timeout_s)).purge_id

    async def get_purge(self, purge_id: str) -> PurgeStatus:
        """What became of a purge, for a day. Raises NotFound if there is none with the id."""
        request = cdn_pb2.GetPurgeRequest(purge_id=purge_id)
        answer = await answer_to(self._cdn_service.GetPurge, request, self._timeout_s)
        return PurgeStatus(
            tuple(map(_receipt, answer.receipts)), answer.create_time.ToDatetime(UTC)
        )

    async def wait_purge(
        self, purge_id: str, *, timeout: timedelta = timedelta(minutes=1)
    ) -> PurgeStatus:
        """Waits until no target has the purge still to do; what became of it then. Raises
        DeadlineExceeded if that takes longer: the purge goes on."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout.total_seconds()
        pause_s = FIRST_LOOK_S
        while (status := await self.get_purge(purge_id)).pending:
            if loop.time() + pause_s >= ends:
                raise DeadlineExceeded(f"purge {purge_id!r} is not over: {_waiting(status)}")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, MAX_LOOK_S)
        return status

    async def put_edge_value(
        self,
        target: str,
        key: str,
        value: bytes,
        *,
        ttl: timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Stores a value at the edge of a target (Cloudflare Workers KV), for good or for a `ttl`
        of 60 s or more. `metadata`, kept beside it, is up to 1,024 bytes as JSON. Other places of
        the vendor may still give the old value for a minute."""
        request = cdn_pb2.PutEdgeValueRequest(
            target=target,
            key=key,
            value=value,
            ttl=checked_ttl(ttl),
            metadata=None if metadata is None else struct(metadata),
        )
        await answer_to(self._cdn_service.PutEdgeValue, request, self._timeout_s)

    async def get_edge_value(self, target: str, key: str) -> EdgeValue | None:
        """A value from the edge of a target; None if there is none."""
        request = cdn_pb2.GetEdgeValueRequest(target=target, key=key)
        answer = await answer_to(self._cdn_service.GetEdgeValue, request, self._timeout_s)
        if not answer.HasField("value"):
            return None
        found = answer.value
        return EdgeValue(
            found.value,
            found.expire_time.ToDatetime(UTC) if found.HasField("expire_time") else None,
            fields_of(found.metadata) if found.HasField("metadata") else None,
        )

    async def delete_edge_value(self, target: str, key: str) -> None:
        """Deletes a value from the edge of a target. Deleting what is not there succeeds."""
        request = cdn_pb2.DeleteEdgeValueRequest(target=target, key=key)
        await answer_to(self._cdn_service.DeleteEdgeValue, request, self._timeout_s)

    @cached_property
    def _cdn_service(self) -> "cdn_pb2_grpc.CdnServiceAsyncStub":
        return cdn_pb2_grpc.CdnServiceStub(self._channel)


def _policy(policy: CachePolicy) -> cdn_pb2.CachePolicy:
    if policy.visibility not in _VISIBILITIES:
        raise ValueError(f"visibility must be public or private, not {policy.visibility!r}")
    return cdn_pb2.CachePolicy(
        visibility=_VISIBILITIES[policy.visibility],
        max_age=policy.max_age,
        s_maxage=policy.s_maxage,
        cdn_max_age=policy.cdn_max_age,
        immutable=policy.immutable,
        must_revalidate=policy.must_revalidate,
        stale_while_revalidate=policy.stale_while_revalidate,
        stale_if_error=policy.stale_if_error,
        no_store=policy.no_store,
        vary=listed(policy.vary),
    )


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.utcoffset() is None:
        raise ValueError("last_modified has no time zone: datetime.now(UTC), say, has one")
    return moment


def _receipt(message: cdn_pb2.PurgeReceipt) -> PurgeReceipt:
    return PurgeReceipt(
        target=message.target,
        state=_STATES.get(message.state, "pending"),
        attempts=message.attempts,
        last_error=message.last_error,
        finish_time=(
            message.finish_time.ToDatetime(UTC) if message.HasField("finish_time") else None
        ),
    )


def _waiting(status: PurgeStatus) -> str:
    """Who has it still to do, and why."""
    return "; ".join(
        f"{one.target} ({one.last_error})" if one.last_error else one.target
        for one in status.receipts
        if one.state == "pending"
    )
