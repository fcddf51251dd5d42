"""Writes docs/reference from the docstrings of the Python client: a page for each area, by what
`griffe` reads of the source, without importing it. Nobody edits the pages.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
WIDTH = 92  # of a signature on one line

CALLS = {  # what the client derives from, and what its calls are about
    "AsyncClient": "Entries",
    "TagCalls": "Tags",
    "InvalidationCalls": "Invalidation, events and watches",
    "RateLimitCalls": "Rate limits",
    "LeaderboardCalls": "Leaderboards",
    "GeoCalls": "Places",
    "CounterCalls": "Counters",
    "ChannelCalls": "Channels",
    "RecordCalls": "Records",
    "CdnCalls": "HTTP and CDNs",
    "AdminCalls": "The server",
    "Connection": "The connection",
}
PAGES = {  # page: its title, and what it shows: modules, or objects of them
    "namespace": (
        "Namespaces and cached functions",
        ("namespace.Namespace", "cached.CachedFunction"),
    ),
    "codecs": ("Codecs", ("codecs",)),
    "near-cache": ("Near cache", ("near_cache",)),
    "errors": ("Errors", ("errors",)),
    "hooks": (
        "Hooks for metrics and traces",
        ("telemetry.Hook", "prometheus", "opentelemetry"),
    ),
    "testing": ("pantler.testing", ("testing",)),
    "fastapi": ("pantler.fastapi", ("fastapi",)),
}
CLIENT, VALUES = "The client", "What calls take and give"
UNSHOWN = {
    "answer_to",
    "answers_to",
    "from_rpc_error",
    "from_status",
    "encoded",
    "reader",
    "Encoded",
}
CONSTRUCTED = {"ResponseCache"}  # with arguments that are not its attributes
HEAD = "<!-- Made from docstrings by `make gen`: don't edit it. -->\n"


class Reference:
    """The pages, by name."""

    def __init__(self) -> None:
        loaded = griffe.load(
            "pantler", search_paths=[ROOT / "clients/python"], allow_inspection=False
        )
        assert isinstance(loaded, griffe.Module)
        self._package = loaded
        self._shown: set[str] = set()

    def pages(self) -> dict[str, str]:
        pages = {"client": _page(CLIENT, self._client())}
        for name, (title, paths) in PAGES.items():
            pages[name] = _page(title, [text for path in paths for text in self._texts(path)])
        pages["values"] = _page(VALUES, self._others())
        titles = {
            "client": CLIENT,
            **{name: one[0] for name, one in PAGES.items()},
            "values": VALUES,
        }
        listed = "\n".join(f"- [{titles[name]}]({name}.md)" for name in titles)
        about = (
            "Each call of the Python client, as its docstring says. [The tutorial](../python.md)"
        )
        pages["README"] = _page("Reference", [f"{about} comes before it.\n\n{listed}"])
        return pages

    def _client(self) -> Iterator[str]:
        client = self._package["client.AsyncClient"]
        begin = self._package["connection.Connection.__init__"]
        self._shown.add(client.name)
        yield _signature(begin, name=client.name)
        yield _docstring(client)
        yield "`pantler.Client` has the same methods, and they block."
        for owner in (client, *client.mro()):
            yield f"## {CALLS[owner.name]}"
            for member in _public(owner):
                yield from self._member(member, "###")

    def _texts(self, path: str) -> Iterator[str]:
        """Of a module or a class."""
        found = self._package[path]
        if isinstance(found, griffe.Class):
            yield from self._member(found, "##")
            return
        yield _docstring(found)
        for member in _public(found):
            if not member.is_attribute or member.docstring or getattr(member, "annotation", None):
                yield from self._member(member, "##")

    def _others(self) -> Iterator[str]:
        """What `pantler` has beside."""
        exported = self._package.exports
        assert exported is not None
        for name in sorted(map(str, exported)):
            if name in self._shown or name in ("Client", "codecs"):
                continue
            yield from self._member(self._class(name), "##")

    def _class(self, name: str) -> griffe.Object:
        """Wherever it is; `pantler` itself imports nothing."""
        for module in self._package.modules.values():
            found = module.members.get(name)
            if isinstance(found, griffe.Class) and module.name != "sync_client":
                return found
        raise ValueError(f"where is {name}?")

    def _member(self, member: griffe.Object, level: str) -> Iterator[str]:
        self._shown.add(member.name)
        yield f"{level} {member.name}"
        if isinstance(member, griffe.Function):
            yield _signature(*(member.overloads or [member]))
            yield _docstring(member)
        elif isinstance(member, griffe.Class):
            if bases := ", ".join(map(str, member.bases)):
                yield f"```python\nclass {member.name}({bases})\n```"
            if member.name in CONSTRUCTED:
                yield _signature(member.members["__init__"], name=member.name)
            yield _docstring(member)
            inner = list(_public(member))
            yield "\n".join(_attribute(one, member) for one in inner if one.is_attribute)
            for one in inner:
                if isinstance(one, griffe.Function):
                    yield from self._member(one, f"{level}#")
        else:
            annotation = getattr(member, "annotation", None)
            yield f"```python\n{member.name}{f': {annotation}' if annotation else ''}\n```"
            yield _docstring(member)


def _page(title: str, texts: Iterable[str]) -> str:
    return "\n\n".join([f"{HEAD}\n# {title}", *filter(None, texts)]) + "\n"


def _public(owner: griffe.Object) -> Iterator[griffe.Object]:
    """The public names that a class or a module has itself, as they stand there."""
    for member in owner.members.values():
        is_private = member.name.startswith("_") or member.name in UNSHOWN
        if not is_private and not member.is_alias and "TypeVar(" not in str(_value(member)):
            assert isinstance(member, griffe.Object)
            if "ParamSpec(" not in str(_value(member)) and member.name != "log":
                yield member


def _value(member: griffe.Object | griffe.Alias) -> object:
    return getattr(member, "value", None) if not member.is_alias else None


def _docstring(found: griffe.Object) -> str:
    return found.docstring.value if found.docstring else ""


def _attribute(found: griffe.Object, owner: griffe.Class) -> str:
    kind = getattr(found, "annotation", None)
    begin = owner.members.get("__init__")
    if kind is None and isinstance(begin, griffe.Function):
        kind = next((one.annotation for one in begin.parameters if one.name == found.name), None)
    value = _value(found) if "dataclass" in owner.labels or not begin else None
    default = f" = {value}" if value is not None else ""
    said = " ".join(_docstring(found).split())
    typed = f"{found.name}: {_type(kind)}" if kind else found.name
    return f"- `{typed}{default}`" + (f": {said}" if said else "")


def _type(annotation: object) -> str:
    return re.sub(r"""^(['"])(.*)\1$""", r"\2", str(annotation))


def _signature(*functions: griffe.Object | griffe.Alias, name: str = "") -> str:
    """As it is called; `name`: of the class that it makes one of."""
    return "```python\n" + "\n".join(_line(one, name) for one in functions) + "\n```"


def _line(function: griffe.Object | griffe.Alias, name: str) -> str:
    """Over several lines if it is long."""
    assert isinstance(function, griffe.Function)
    words = list(_parameters(function))
    kind = "async " if "async" in function.labels else ""
    head, tail = f"{kind}{name or function.name}(", ")"
    if not name and function.returns is not None:
        tail += f" -> {_type(function.returns)}"
    line = head + ", ".join(words) + tail
    if len(line) > WIDTH:
        line = head + "\n" + "".join(f"    {word},\n" for word in words) + tail
    return line


def _parameters(function: griffe.Function) -> Iterator[str]:
    was_named = False
    for one in function.parameters:
        if one.name in ("self", "cls"):
            continue
        stars = {
            griffe.ParameterKind.var_positional: "*",
            griffe.ParameterKind.var_keyword: "**",
        }.get(one.kind or griffe.ParameterKind.positional_or_keyword, "")
        if one.kind is griffe.ParameterKind.keyword_only and not was_named:
            yield "*"
        was_named = was_named or stars == "*" or one.kind is griffe.ParameterKind.keyword_only
        kind = f": {_type(one.annotation)}" if one.annotation else ""
        has_default = one.default is not None and not stars
        default = (f" = {one.default}" if kind else f"={one.default}") if has_default else ""
        yield f"{stars}{one.name}{kind}{default}"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in Reference().pages().items():
        (folder / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
