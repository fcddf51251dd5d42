"""URLs as CDNs and proxies are asked for them, and as purges name them."""

import re
from urllib.parse import quote, urlsplit

from yarl import URL

# RFC 3986 section 3.3: what a path may have as it is; section 2.3: what needs no escape anywhere.
_OF_PATHS = "/:@!$&'()*+,;=~-._"
_OF_QUERIES = "/:@!$'()*,;~-._"  # `&`, `=` and `+` would become others there
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_PORT = re.compile(r":[0-9]*$")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def wire_url(url: str) -> str:
    """An absolute URL as RFC 3986 section 6.2.2 writes it, without a default port or a fragment: so
    visitors ask for it. Raises ValueError if it is none."""
    if not url.isascii():
        url = str(URL(url))  # IDNA, and percent-encoded UTF-8
    parts = urlsplit(_ESCAPED.sub(_escaped, url))
    port = parts.port
    host = _PORT.sub("", parts.netloc.lower())
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{host}{_without_dots(parts.path)}{query}"


def entry_url(template: str, key: str) -> str:
    """The URL that shows an entry: `{key}` is filled in as a part of the path, slashes as they are,
    or of the query."""
    path, mark, query = template.partition("?")
    path = path.replace("{key}", quote(key, safe=_OF_PATHS))
    return wire_url(path + mark + query.replace("{key}", quote(key, safe=_OF_QUERIES)))


def _escaped(found: re.Match[str]) -> str:
    """Upper case, or what it stands for if that needs no escape."""
    letter = chr(int(found[1], 16))
    return letter if _UNRESERVED.fullmatch(letter) else found[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    parts = path.split("/")[1:] or [""]
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
