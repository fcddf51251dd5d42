"""An HTTP response as the response cache of `pantler.fastapi` keeps it: a line of JSON, and the
body."""

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]

UNKEPT = b"-"  # in place of a response that must not be kept: everybody makes their own
UNKEPT_STATUSES = frozenset({206, 304})  # what answers one request's Range or condition
# Of one request, or made anew for each answer.
_NOT_STORED = frozenset({"age", "connection", "date", "keep-alive", "server", "transfer-encoding"})
# What a 304 repeats, RFC 9110 section 15.4.5, and what the body is not there for.
_OF_THE_BODY = frozenset({"content-encoding", "content-language", "content-length", "content-type"})
_TAG = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class StoredResponse:
    status: int
    headers: Headers
    """Names are in lower case; an `etag` is among them."""
    body: bytes
    made_at_s: float

    @classmethod
    def of(cls, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> "StoredResponse":
        """It has the ETag that it was given, or else a strong one of its body."""
        kept = [(name.lower(), value) for name, value in headers]
        kept = [(name, value) for name, value in kept if name not in _NOT_STORED]
        if not any(name == "etag" for name, _ in kept):
            kept.append(("etag", f'"{hashlib.sha256(body).hexdigest()[:32]}"'))
        return cls(status, tuple(kept), body, time.time())

    @classmethod
    def read(cls, value: bytes) -> "StoredResponse":
        head, _, body = value.partition(b"\n")
        status, made_at_s, headers = json.loads(head)
        return cls(status, tuple((name, text) for name, text in headers), body, made_at_s)

    def written(self) -> bytes:
        head = (self.status, self.made_at_s, self.headers)
        return json.dumps(head).encode() + b"\n" + self.body

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name), None)

    @property
    def age_s(self) -> int:
        return max(0, int(time.time() - self.made_at_s))  # another machine's clock may be ahead

    def matches(self, if_none_match: str | None) -> bool:
        """Whether a condition is answered with 304, by weak comparison, RFC 9110 section 13.1.2."""
        if if_none_match is None or self.status != 200:
            return False
        etag = (self.header("etag") or "").removeprefix("W/")
        return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)

    def headers_of_304(self) -> Headers:
        return tuple(one for one in self.headers if one[0] not in _OF_THE_BODY)


def may_be_kept(
    status: int,
    headers: Iterable[tuple[str, str]],
    statuses: Collection[int],
    vary: Collection[str],
) -> bool:
    """Whether all may get the response, as far as it says itself. `statuses` are those of errors
    that may be kept, `vary` the request's headers (lower case) that are told apart."""
    if status in UNKEPT_STATUSES or (status >= 400 and status not in statuses):
        return False
    for name, value in headers:
        words = {word.strip().partition("=")[0] for word in value.lower().split(",")}
        match name.lower():
            case "set-cookie":
                return False
            case "cache-control" if words & {"private", "no-store"}:
                return False
            case "vary" if not words <= set(vary):
                return False
    return True
