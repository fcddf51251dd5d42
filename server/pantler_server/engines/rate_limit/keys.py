"""Where rate limits live in Redis (role `state`). Those of one rule and subject share a slot."""

from pantler_server.store import answers

WORKERS = "{pantler}:workers"
"""A zset: the workers of the deployment, by when each was last seen (seen.lua). Expires with the
last of them."""
FORGET = "pantler:limits"
"""The channel that tells which state was reset or refunded."""


def beginning(rule: str) -> bytes:
    """How the hash tag of a rule's subjects begins."""
    return b"l{%b:" % rule.encode()


def state(beginning: bytes, subject: str, kind: bytes) -> bytes:
    """`l{rule:subject}kind`: what the subject has taken (algorithms/*.lua). The kind is how it is
    counted, so that a rule that is to count otherwise begins anew. Expires when nothing counts."""
    return b"%b%b}%b" % (beginning, subject.encode(), kind)


def answer(state: bytes, kind: bytes, request_id: str) -> bytes:
    """`l{rule:subject}` and a digest of the request id, a string: the first answer to it
    (acquire.lua). Expires after 10 minutes. The digest has an equal length for all ids, so that a
    subject's braces can't make two of these the same."""
    return b"%br:%b" % (state.removesuffix(kind), answers.digest(request_id))
