"""Tags as CDNs are told them: in the headers of a response, and in the purges that are to meet
it."""

from functools import lru_cache
from hashlib import blake2b
from urllib.parse import quote

# What an HTTP header, and every vendor's list of tags, takes as it is. Spaces and commas separate
# tags, and `%` begins what is encoded.
_SAFE = "-._~:/@!$&'()*+;="

MAX_CHARACTERS = 1024  # of a tag that is purged, by Cloudflare and Fastly; callers' take 768


@lru_cache(maxsize=10_000)  # tags come again and again; a few MB at most
def wire_tag(tag: str) -> str:
    """`tag` in printable ASCII without space, comma, quote or control character: its UTF-8,
    percent-encoded where it must be. Different tags stay different."""
    return quote(tag, safe=_SAFE)


def namespace_tag(namespace: str) -> str:
    """The tag, wire encoded, of all responses made of a namespace's entries."""
    return wire_tag(f"pantler:{namespace}")


def key_tag(namespace: str, key: str) -> str:
    """The tag, wire encoded, of the responses made of the entry of a key. Of a key that is too long
    when it is encoded it has a hash: `#` stands in no other."""
    tag = quote(f"pantler:{namespace}/{key}", safe=_SAFE)
    if len(tag) <= MAX_CHARACTERS:
        return tag
    return f"pantler:{namespace}/#{blake2b(key.encode(), digest_size=16).hexdigest()}"
