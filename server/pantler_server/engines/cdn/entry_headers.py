"""The headers of responses that are made of a namespace's entries.

All that the policy alone decides is worked out once for each namespace, and what comes again from
one response to the next is remembered: a response costs a few microseconds.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial

from werkzeug.http import http_date

from pantler_server.core.cdn_config import HttpPolicy
from pantler_server.engines.cdn import headers
from pantler_server.engines.cdn.model import CachePolicy
from pantler_server.engines.cdn.tag import key_tag, namespace_tag, wire_tag

_REMEMBERED = 4096  # strings of some 50 bytes, each about 5 us to make
_US = 1_000_000

last_modified = lru_cache(_REMEMBERED)(http_date)
"""Last-Modified, from whole seconds of Unix time."""


class EntryHeaders:
    """Those of one namespace. `tagged`: responses have the tags by which invalidations of the key
    and of the namespace purge them, since it has a CDN."""

    def __init__(self, namespace: str, http: HttpPolicy, *, tagged: bool) -> None:
        self._namespace = namespace
        self._policy = policy = CachePolicy.of(http)
        self._tagged = tagged
        self._tag = namespace_tag(namespace)
        self._base = {"Vary": headers.vary(policy)} if policy.vary else {}
        self._unkept = {
            **self._base,
            "Cache-Control": headers.cache_control(
                CachePolicy(private=policy.private, no_store=True)
            ),
        }
        not_found = CachePolicy(
            private=policy.private, max_age_s=int(http.not_found_max_age.total_seconds())
        )
        self._not_found = (
            self._unkept
            if policy.no_store
            else {**self._base, "Cache-Control": headers.cache_control(not_found)}
        )
        self._control = lru_cache(_REMEMBERED)(self._make_control)
        self._cdn_control = lru_cache(_REMEMBERED)(partial(headers.cdn_cache_control, policy))

    def of_entry(
        self,
        key: str,
        created_us: int,
        expires_us: int,
        tags: tuple[str, ...],
        now_us: int,
        *,
        stale: bool,
    ) -> dict[str, str]:
        """What says how long a response may be kept, and by which tags it is purged, with its Age.

        max-age counts from the creation of the entry, as Age does, and is never past its expiry; a
        stale entry has none left. What has more tags than fit must not be kept: it could not be
        purged."""
        age_s = (now_us - created_us) // _US
        age_s = max(age_s, 0)  # Redis's clock may be ahead of this worker's
        policy = self._policy
        told = self._tags(key, tags)
        if policy.no_store or told is None:
            return {**self._unkept, "Age": str(age_s)}
        lifetime_s = age_s if stale else max(0, (expires_us - created_us) // _US)
        max_age_s, s_maxage_s = policy.max_age_s, policy.s_maxage_s
        max_age_s = lifetime_s if max_age_s is None else min(age_s + max_age_s, lifetime_s)
        if s_maxage_s is not None:
            s_maxage_s = min(age_s + s_maxage_s, lifetime_s)
        made = {
            **self._base,
            "Cache-Control": self._control(max_age_s, s_maxage_s),
            "Age": str(age_s),
            **told,
        }
        if policy.cdn_max_age_s is not None:
            cdn_max_age_s = min(age_s + policy.cdn_max_age_s, lifetime_s)
            made["CDN-Cache-Control"] = self._cdn_control(cdn_max_age_s)
        return made

    def unkept(self) -> Mapping[str, str]:
        """Of what nobody may keep."""
        return self._unkept

    def not_found(self, key: str) -> Mapping[str, str]:
        """Of the answer that there is no entry. It is purged as the entry would be."""
        if not self._tagged or self._policy.no_store:
            return self._not_found
        told = self._tags(key, ())
        return self._unkept if told is None else {**self._not_found, **told}

    def _make_control(self, max_age_s: int, s_maxage_s: int | None) -> str:
        return headers.cache_control(
            replace(self._policy, max_age_s=max_age_s, s_maxage_s=s_maxage_s)
        )

    def _tags(self, key: str, tags: tuple[str, ...]) -> Mapping[str, str] | None:
        """None if they don't fit."""
        if not self._tagged:
            return _of_tags(tags) if tags else _NONE
        wire = [self._tag, key_tag(self._namespace, key), *map(wire_tag, tags)]
        return _fitting(wire)


_NONE: Mapping[str, str] = {}


@lru_cache(512)
def _of_tags(tags: tuple[str, ...]) -> Mapping[str, str] | None:
    return _fitting([wire_tag(tag) for tag in tags])


def _fitting(wire: list[str]) -> Mapping[str, str] | None:
    if headers.tag_bytes(wire) > headers.MAX_TAG_HEADER_BYTES:
        return None
    return headers.tag_headers(wire)
