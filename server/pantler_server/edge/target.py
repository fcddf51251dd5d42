"""What a request of the gateway is for: the namespace and the key in its path."""

import re
from urllib.parse import unquote_to_bytes

from pantler_server.core.keyspace import NAMESPACE
from pantler_server.servicers import validate

PREFIX = "/v1/"
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_EMPTY = "the path must be /v1/NAMESPACE/KEY"
_DOTS = "the key has a `.` or `..` between slashes, which those on the way take away"


class BadTarget(Exception):
    """The path names no key; the message says why."""


def target_of(raw_path: str) -> tuple[str, str]:
    """Namespace and key of a path as it came, which begins with PREFIX. The key is all that follows
    the namespace's slash up to a query, with its escapes resolved once. Raises BadTarget."""
    path, _, _ = raw_path.partition("?")
    namespace, _, key = path[len(PREFIX) :].partition("/")
    if not path.isascii() or not path.isprintable() or "#" in path or " " in path:
        raise BadTarget("the path must be printable ASCII: escape the rest (%C3%A9)")
    if "%" in path:
        namespace, key = _unescaped(namespace), _unescaped(key)
    if not key:
        raise BadTarget(_EMPTY)
    if NAMESPACE.fullmatch(namespace) is None:
        raise BadTarget(f"the namespace must match {NAMESPACE.pattern}")
    if not validate.is_key(key):
        raise BadTarget(f"the key {validate.key_violation(key, '').description}")
    if (key[0] == "." or "/." in key) and not {".", ".."}.isdisjoint(key.split("/")):
        raise BadTarget(_DOTS)
    return namespace, key


def _unescaped(part: str) -> str:
    if _BROKEN_ESCAPE.search(part):
        raise BadTarget("a % in the path must begin an escape (%25)")
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise BadTarget("the escapes in the path must be UTF-8") from None
