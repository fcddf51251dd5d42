"""URLs as CDNs and proxies are asked for them, and as purges name them."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from urllib.parse import quote, urlsplit

from yarl import URL

# RFC 3986 section 3.3: what a path may have as it is; section 2.3: what needs no escape anywhere.
_OF_PATHS = "/:@!$&'()*+,;=~-._"
_OF_QUERIES = "/:@!$'()*,;~-._"  # `&`, `=` and `+` would become others there
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_HEX = "0123456789ABCDEFabcdef"
_PLACE = "{key}"
_TEMPLATES = 1024  # that are remembered as they are asked for
_PORT = re.compile(r":[0-9]*$")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _escaped(code: str) -> str:
    """Upper case, or what it stands for if that needs no escape."""
    letter = chr(int(code, 16))
    return letter if _UNRESERVED.fullmatch(letter) else f"%{code.upper()}"


_ESCAPES = {code: _escaped(code) for code in map("".join, product(_HEX, repeat=2))}


def wire_url(url: str) -> str:
    """An absolute URL as RFC 3986 section 6.2.2 writes it, without a default port or a fragment: so
    visitors ask for it. Raises ValueError if it is none."""
    if not url.isascii():
        url = str(URL(url))  # IDNA, and percent-encoded UTF-8
    before, *escaped = url.split("%")
    parts = urlsplit(before + "".join(map(_unescaped, escaped)))
    port = parts.port
    host = _PORT.sub("", parts.netloc.lower())
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{host}{_without_dots(parts.path)}{query}"


def entry_urls(templates: Sequence[str], key: str) -> Iterator[str]:
    """The URLs that show an entry, some µs for each: `{key}` is filled in as a part of the path,
    slashes as they are, or of the query."""
    of_path = quote(key, safe=_OF_PATHS)
    of_query = quote(key, safe=_OF_QUERIES)
    for template in templates:
        path, mark, query, is_plain = _template(template)
        path = path.replace(_PLACE, of_path)
        url = path + mark + query.replace(_PLACE, of_query)
        yield url if is_plain and "/." not in path else wire_url(url)


@lru_cache(_TEMPLATES)
def _template(template: str) -> tuple[str, str, str, bool]:
    """Path, question mark and query, and whether what they are filled into needs no more than a
    look at its dots."""
    is_plain = template.isascii() and "/." not in template
    path, mark, query = (wire_url(template) if is_plain else template).partition("?")
    return path, mark, query, is_plain


def _unescaped(part: str) -> str:
    """What follows a percent sign, and that."""
    return _ESCAPES.get(part[:2], f"%{part[:2]}") + part[2:]


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
