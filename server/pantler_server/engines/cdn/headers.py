"""From a policy to HTTP headers.

werkzeug writes Cache-Control, ETag and Last-Modified, http-sf writes CDN-Cache-Control, which is a
structured field (RFC 9213 section 2.1). What goes into them was checked: no value has a control
character.
"""

from collections.abc import Sequence
from hashlib import blake2b
from time import time

import http_sf
from werkzeug.datastructures import ResponseCacheControl
from werkzeug.http import http_date, quote_etag, unquote_etag

from pantler_server.engines.cdn.model import CachePolicy
from pantler_server.engines.cdn.tag import wire_tag

MAX_TAG_HEADER_BYTES = 8000  # Varnish takes 8 KiB a line; Cloudflare 16 KB, Fastly 16,384 bytes
_HASH_BYTES = 16  # of the content: two contents share a hash once in 2^64


def build(
    policy: CachePolicy | None,
    etag: str = "",
    last_modified_s: float | None = None,
    tags: Sequence[str] = (),
) -> dict[str, str]:
    """The headers, by name. `etag` as `etag_of` gives it; of tags as many as fit. Without a policy
    nothing is said of caching."""
    headers: dict[str, str] = {}
    if policy is not None:
        headers["Cache-Control"] = cache_control(policy)
        if policy.cdn_max_age_s is not None:
            headers["CDN-Cache-Control"] = cdn_cache_control(policy, policy.cdn_max_age_s)
        if policy.vary:
            headers["Vary"] = vary(policy)
    if etag:
        headers["ETag"] = etag
    if last_modified_s is not None:
        # None that is to come is told, RFC 9110 section 8.8.2.1.
        headers["Last-Modified"] = http_date(int(min(last_modified_s, time())))
    if tags:
        headers |= tag_headers([wire_tag(tag) for tag in tags])
    return headers


def cache_control(policy: CachePolicy) -> str:
    """Cache-Control. What must not be kept is not called public, which says that it may be."""
    control = ResponseCacheControl()
    if policy.private:
        control.private = True
    elif not policy.no_store:
        control.public = True
    control.no_store = policy.no_store
    control.max_age = policy.max_age_s
    control.s_maxage = policy.s_maxage_s
    control.immutable = policy.immutable
    control.must_revalidate = policy.must_revalidate
    control.stale_while_revalidate = policy.stale_while_revalidate_s
    control.stale_if_error = policy.stale_if_error_s
    return control.to_header()


def cdn_cache_control(policy: CachePolicy, max_age_s: int) -> str:
    """CDN-Cache-Control. Who heeds it passes over Cache-Control (RFC 9213 section 2.2), so that all
    of the policy that concerns CDNs is in it."""
    members: http_sf.DictionaryType = {"max-age": max_age_s}
    if policy.must_revalidate:
        members["must-revalidate"] = True
    if policy.stale_while_revalidate_s is not None:
        members["stale-while-revalidate"] = policy.stale_while_revalidate_s
    if policy.stale_if_error_s is not None:
        members["stale-if-error"] = policy.stale_if_error_s
    return http_sf.ser(members)


def vary(policy: CachePolicy) -> str:
    return ", ".join(policy.vary)


def content_etag(content: bytes, *, weak: bool = False) -> str:
    """An ETag that is the same for the same bytes."""
    return quote_etag(blake2b(content, digest_size=_HASH_BYTES).hexdigest(), weak)


def etag_of(said: str, *, weak: bool = False) -> str:
    """An ETag as it is sent, from `abc`, `"abc"` or `W/"abc"`. Raises ValueError if it can't be
    one."""
    opaque, said_weak = unquote_etag(said)
    if not opaque or not opaque.isascii() or not opaque.isprintable() or {" ", '"'} & {*opaque}:
        raise ValueError("must be printable ASCII without spaces, and without quotes but around it")
    return quote_etag(opaque, weak or bool(said_weak))


def tag_bytes(wire: Sequence[str]) -> int:
    """The length of each header of these tags."""
    return sum(map(len, wire)) + len(wire) - 1


def tag_headers(wire: Sequence[str]) -> dict[str, str]:
    """What tells CDNs the tags, which are wire encoded: Cloudflare, Fastly and Varnish, in this
    order."""
    spaced = " ".join(wire)
    return {"Cache-Tag": ",".join(wire), "Surrogate-Key": spaced, "xkey": spaced}
