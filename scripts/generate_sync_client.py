"""Writes the synchronous client to a file: the methods of the asynchronous one, with `await`
done for the caller. `scripts/generate` puts it into the package; nobody edits it there.

A class that methods of the client return, and that has async methods itself, is listed in VIEWS: a
stream, a context manager, or any other object, generic or not.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "clients/python/pantler"
CLIENT = ("client", "AsyncClient")

VIEWS = {  # class: the module that has it
    "ChannelSubscription": "channel_subscription",
    "InvalidationWatch": "watch",
    "Namespace": "namespace",
    "Permits": "permits",
    "Warming": "warming",
}
HANDWRITTEN = {"close"}  # of the client, in blocking.py
UNMADE = {"Awaitable": 0, "Coroutine": 2}  # which of their arguments it is that `await` gives
RENAMED = {
    "AsyncClient": "Client",
    "AsyncGenerator": "Generator",
    "AsyncIterable": "Iterable",
    "AsyncIterator": "Iterator",
    "CachedFunction": "BlockingCachedFunction",
}
WORDS = {  # of docstrings; spaces are any white space
    r"\bawait ": "",
    r"\basync (with|for|def)\b": r"\1",
    "an async function or method": "a function or method",
    "for the event loop that first uses it": "for any number of threads",
    ": bound it with `asyncio.timeout`": "",
    ", or cancel the task that it runs in": "",
    "the block is cancelled, as by `asyncio.timeout`, and SlotNotHeld is raised": (
        "SlotNotHeld is raised at the end of the block"
    ),
}
HEAD = '''\
"""The synchronous client. Made from `pantler.client` by `make gen`: don't edit it.

    with pantler.Client("127.0.0.1:50051") as client:
        client.set("users", "42", b"Ada", ttl=timedelta(minutes=5))
        entry = client.get("users", "42")
"""

# ruff: noqa: A002
'''

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """A module of the package, and where the names come from that it uses."""

    name: str
    imports: dict[str, str] = field(default_factory=dict)  # name: statement that gives it
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> "Module":
        module = cls(name)
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    one = ast.ImportFrom(node.module, [alias], node.level)
                    module.imports[alias.asname or alias.name] = ast.unparse(one)
            elif isinstance(node, ast.ClassDef):
                module.classes[node.name] = node
                module.imports[node.name] = f"from pantler.{name} import {node.name}"
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                target = node.targets[0].id
                is_variable = re.match(r"(TypeVar|ParamSpec)\(", ast.unparse(node.value))
                module.imports[target] = (
                    ast.unparse(node) if is_variable else f"from pantler.{name} import {target}"
                )
        return module

    def bases(self, name: str) -> Iterator[tuple["Module", ast.ClassDef]]:
        """The class and those it derives from, first found first, as far as they are Pantler's."""
        node = self.classes[name]
        yield self, node
        for base in node.bases:
            named = base.value if isinstance(base, ast.Subscript) else base
            assert isinstance(named, ast.Name)
            origin = re.match(r"from pantler\.(\w+) import", self.imports.get(named.id, ""))
            if origin is not None:
                yield from Module.read(origin[1]).bases(named.id)


class Awaited(ast.NodeTransformer):
    """An annotation, as it is for who blocks."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        name = ast.unparse(node.value)
        if name == "Literal":
            return node
        if name in UNMADE:
            inner = (
                node.slice.elts[UNMADE[name]] if isinstance(node.slice, ast.Tuple) else node.slice
            )
            return self.visit(inner)  # type: ignore[no-any-return]
        self.generic_visit(node)
        if name == "AsyncGenerator" and isinstance(node.slice, ast.Tuple):
            node.slice.elts.append(ast.Constant(None))
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(RENAMED.get(node.id, node.id))

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, str):  # quoted
            return self.visit(ast.parse(node.value, mode="eval").body)  # type: ignore[no-any-return]
        return node


class Writer:
    """The text of the module, as it grows, and the names that it needs."""

    def __init__(self) -> None:
        self._needed: dict[str, str] = {}
        self._body: list[str] = []
        self._overloaded: set[str] = set()  # methods of the class that is being written

    def text(self) -> str:
        imports = [one for one in self._needed.values() if one.startswith("from ")]
        variables = [one for one in self._needed.values() if not one.startswith("from ")]
        own = (
            "from typing import ParamSpec, TypeVar",
            "from pantler.blocking import BlockingClient, BlockingContext, BlockingStream",
            "from pantler.blocking import decorating, in_caller",
            "from pantler.blocking_cached import BlockingCachedFunction, cached",
            "from pantler.loop_thread import LoopThread",
        )
        return "\n".join((HEAD, *own, *sorted(imports), "", *variables, "", *self._body))

    def client(self) -> None:
        module, name = Module.read(CLIENT[0]), CLIENT[1]
        self._overloaded = set()
        self._need(name, module.imports[name])
        self._body.append(f"class Client(BlockingClient):\n{_docstring(module.classes[name])}")
        for origin, node in _methods(module, name, HANDWRITTEN):
            self._method(origin, node)
        origin, begin = next(
            (of, one)
            for of, base in module.bases(name)
            for one in base.body
            if isinstance(one, ast.FunctionDef) and one.name == "__init__"
        )
        given = ", ".join(_passed(begin))
        self._function(origin, begin, f"super().__init__({name}({given}))")

    def view(self, name: str) -> None:
        module = Module.read(VIEWS[name])
        node = module.classes[name]
        self._overloaded = set()
        base = self._base(module, node)
        parameters = base.removeprefix("Generic") if base.startswith("Generic") else ""
        self._need(f"Async{name}", f"from pantler.{VIEWS[name]} import {name} as Async{name}")
        begun = "self._thread = thread" if _is_object(base) else "super().__init__(thread, of)"
        self._body.append(
            f"class {name}({base}):\n{_docstring(node)}"
            f"    def __init__(self, thread: LoopThread, of: Async{name}{parameters}) -> None:\n"
            f"        {begun}\n"
            "        self._async = of\n"
        )
        for attribute, annotation in _attributes(node):
            self._property(module, attribute, annotation, "")
        for origin, method in _methods(module, name, set()):
            self._method(origin, method)

    def _base(self, module: Module, node: ast.ClassDef) -> str:
        """What a view derives from here."""
        for base in node.bases:
            if isinstance(base, ast.Subscript) and ast.unparse(base.value) == "ResumedStream":
                return f"BlockingStream[{self._type(module, base.slice)}]"
            if isinstance(base, ast.Subscript) and ast.unparse(base.value) == "Generic":
                return self._type(module, base)
        for one in node.body:
            if isinstance(one, ast.AsyncFunctionDef) and one.name == "__aenter__":
                assert one.returns is not None
                return f"BlockingContext[{self._type(module, one.returns)}]"
        return "object"

    def _method(self, module: Module, node: Function) -> None:
        decorators = {ast.unparse(one) for one in node.decorator_list}
        if "property" in decorators:
            self._property(module, node.name, node.returns, _docstring(node, 8))
            return
        if decorators - {"overload"}:
            raise ValueError(f"{node.name}: what is to be done with {decorators}?")
        if decorators:
            self._need("overload", module.imports["overload"])
            self._overloaded.add(node.name)
            self._function(module, node, "...", "@overload")
            return
        given = self._given(node)
        if node.name in self._overloaded:  # what goes with what, mypy knows from these alone
            self._need("Any", "from typing import Any")
            given = given.replace("self._async.", "asked.", 1)
            assert node.returns is not None
            lines = (
                "asked: Any = self._async",
                f"answer: {self._type(module, node.returns)} = {given}",
                "return answer",
            )
            self._function(module, node, "\n        ".join(lines))
        else:
            self._function(module, node, f"return {given}")

    def _given(self, node: Function) -> str:
        """The expression that a method returns."""
        given = ", ".join(_passed(node))
        asking = f"self._async.{node.name}({given})"
        returned = ast.unparse(node.returns) if node.returns else ""
        view = re.sub(r"\[.*|['\"]", "", returned)
        if isinstance(node, ast.AsyncFunctionDef):
            if _yields(node):
                return f"self._thread.iterate({asking})"
            answer = f"self._thread.run({asking})"
            return f"{view}(self._thread, {answer})" if view in VIEWS else answer
        if view in VIEWS:
            # gRPC wants to be called in the thread of the loop.
            made = f"self._thread.call(self._async.{node.name}, {given})"
            module = Module.read(VIEWS[view])
            is_object = _is_object(self._base(module, module.classes[view]))
            return f"{view}(self._thread, {asking if is_object else made})"
        if "CachedFunction[" in returned:
            return f"cached(self._thread, self._async, {given})"
        return f"decorating(self._thread, {asking})" if "Awaitable[" in returned else asking

    def _property(
        self, module: Module, name: str, annotation: ast.expr | None, docstring: str
    ) -> None:
        assert annotation is not None, name
        self._body.append(
            f"    @property\n    def {name}(self) -> {self._type(module, annotation)}:\n"
            f"{docstring}        return self._async.{name}\n"
        )

    def _function(self, module: Module, node: Function, body: str, decorator: str = "") -> None:
        arguments = node.args
        for one in ast.walk(arguments):
            if isinstance(one, ast.arg) and one.annotation is not None:
                one.annotation = self._annotation(module, one.annotation)
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self._names(module, default)
        assert node.returns is not None, node.name
        head = f"def {node.name}({ast.unparse(arguments)}) -> {self._type(module, node.returns)}:"
        lines = [f"    {decorator}\n"] if decorator else []
        lines += [f"    {head}\n", _docstring(node, 8), f"        {body}\n"]
        self._body.append("".join(lines))

    def _type(self, module: Module, annotation: ast.expr) -> str:
        return ast.unparse(self._annotation(module, annotation))

    def _annotation(self, module: Module, annotation: ast.expr) -> ast.expr:
        """For who blocks; what it names is imported."""
        awaited: ast.expr = Awaited().visit(annotation)
        self._names(module, awaited)
        return awaited

    def _names(self, module: Module, expression: ast.expr) -> None:
        known = {new: old for old, new in RENAMED.items()}
        for node in ast.walk(expression):
            if isinstance(node, ast.Name) and node.id not in VIEWS and node.id != "Client":
                statement = module.imports.get(node.id)
                if statement is None and known.get(node.id, "").startswith("Async"):
                    statement = f"from collections.abc import {node.id}"
                if statement is not None:
                    self._need(node.id, statement)

    def _need(self, name: str, statement: str) -> None:
        if self._needed.setdefault(name, statement) != statement:
            raise ValueError(f"two of {name}: {statement}, {self._needed[name]}")


def _methods(module: Module, name: str, without: set[str]) -> Iterator[tuple[Module, Function]]:
    """The public methods of a class, those that it inherits last."""
    seen = set(without)
    for origin, base in module.bases(name):
        found = [
            one
            for one in base.body
            if isinstance(one, Function) and not one.name.startswith("_") and one.name not in seen
        ]
        seen |= {one.name for one in found}
        for one in found:
            yield origin, one


def _attributes(node: ast.ClassDef) -> Iterable[tuple[str, ast.expr]]:
    """The public attributes that a class gives its instances; each has its type there."""
    types: dict[str, ast.expr] = {}
    set_there: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Attribute):
            types[one.target.attr] = one.annotation
        elif isinstance(one, ast.Assign):
            targets = re.findall(r"\bself\.([a-z]\w*) =", ast.unparse(one))
            set_there.update(targets)
    if untyped := set_there - set(types):
        raise ValueError(f"{node.name}: say of which type {untyped} are")
    return ((name, kind) for name, kind in types.items() if not name.startswith("_"))


def _passed(node: Function) -> Iterator[str]:
    """The arguments of a method's call, from its own."""
    arguments = node.args
    for one in arguments.args[1:]:
        yield _as_async(one)
    if arguments.vararg is not None:
        yield f"*{arguments.vararg.arg}"
    for one in arguments.kwonlyargs:
        yield f"{one.arg}={_as_async(one)}"
    if arguments.kwarg is not None:
        yield f"**{arguments.kwarg.arg}"


def _as_async(argument: ast.arg) -> str:
    """A function that the client awaits is one that runs in the calling thread."""
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    if "Callable[" not in annotation or "Awaitable[" not in annotation:
        return argument.arg
    made = f"in_caller({argument.arg})"
    return f"{made} if {argument.arg} is not None else None" if "None" in annotation else made


def _yields(node: Function) -> bool:
    """Whether it is a generator itself, whatever the functions in it are."""
    inner = {
        below
        for one in ast.walk(node)
        if isinstance(one, Function) and one is not node
        for below in ast.walk(one)
    }
    return any(isinstance(one, ast.Yield) and one not in inner for one in ast.walk(node))


def _is_object(base: str) -> bool:
    """Whether a view is neither a stream nor a context, but has methods to be called."""
    return not base.startswith("Blocking")


def _docstring(node: ast.ClassDef | Function, indent: int = 4) -> str:
    text = ast.get_docstring(node, clean=False)
    if text is None:
        return ""
    for pattern, instead in WORDS.items():
        text = re.sub(pattern.replace(" ", r"\s+"), instead, text)
    return f'{" " * indent}"""{text}"""\n'


def main(made: Path) -> None:
    writer = Writer()
    for name in VIEWS:
        writer.view(name)
    writer.client()
    made.write_text(writer.text())
    ruff = Path(sys.executable).with_name("ruff")
    config = ("--quiet", "--config", str(ROOT / "pyproject.toml"), str(made))
    for command in (("format",), ("check", "--fix"), ("format",)):
        subprocess.run([ruff, *command, *config], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
