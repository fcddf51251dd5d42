"""Keys made of the arguments of a call: as a template says, or of all of them.

Two lists of arguments that differ make different keys:

- In a template, `%` and the character that ends a field are written `%XX` in its value, so
  `{a}:{b}` keeps "1:2", "3" and "1", "2:3" apart. The last field ends with the key, and is written
  as it is. But a template says how a key looks: values that look the same, as 1 and "1", make one.
- Without one, a key is written like a call, `shop.find(name='Ada',page=1)`, with each value as a
  literal of Python, whose types differ; that of a subclass has the name of its type around it. One
  that is too long ends in its SHA-256.
"""

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time
from enum import Enum
from hashlib import sha256
from string import Formatter
from types import NoneType
from typing import Any, Self, cast
from uuid import UUID

from pantler.errors import UncacheableArgument

MAX_KEY_BYTES = 512  # both by the server's contract
MAX_TAG_BYTES = 256

Arguments = Mapping[str, object]
"""Of one call, by the names of the function's parameters, with its defaults."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_FORMATTER = Formatter()
_RECEIVERS = ("self", "cls")

_TEXTS: dict[type, Callable[[Any], str]] = {
    str: str.__str__,
    bool: str,
    int: int.__repr__,
    NoneType: str,
    bytes: bytes.hex,
    UUID: str,
    date: date.isoformat,
    datetime: datetime.isoformat,
    time: time.isoformat,
    Enum: lambda value: _form(value.value, _TEXTS),
}
_LITERALS: dict[type, Callable[[Any], str]] = {
    str: str.__repr__,
    bool: bool.__repr__,
    int: int.__repr__,
    NoneType: repr,
    bytes: bytes.__repr__,
    UUID: lambda value: f"UUID({value})",
    date: lambda value: f"date({value.isoformat()})",
    datetime: lambda value: f"datetime({value.isoformat()})",
    time: lambda value: f"time({value.isoformat()})",
    Enum: lambda value: f"{_name_of(type(value))}.{value.name or value.value}",
}


def bound(function: Callable[..., object]) -> Callable[..., dict[str, object]]:
    """A function that takes what `function` takes, and gives it as Arguments.

    It is compiled, as `dataclasses` does it, since `Signature.bind` takes 6 µs for each call.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    bare = [
        parameter.replace(
            annotation=parameter.empty,
            default=parameter.empty
            if parameter.default is parameter.empty
            else _Source(f"defaults[{parameter.name!r}]"),
        )
        for parameter in parameters
    ]
    taken = str(inspect.Signature(bare)).removeprefix("(").removesuffix(")")
    given = ", ".join(f"{parameter.name!r}: {parameter.name}" for parameter in parameters)
    defaults = {parameter.name: parameter.default for parameter in parameters}
    bind = eval(f"lambda {taken}: {{{given}}}", {"defaults": defaults})
    bind.__qualname__ = getattr(function, "__qualname__", repr(function))  # it says what is missing
    return cast(Callable[..., dict[str, object]], bind)


class _Source:
    """What a signature shows where a default stands."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __repr__(self) -> str:
        return self._source


class KeyTemplate:
    """A text in which `{…}` stands for an argument of a call, as in `str.format`."""

    def __init__(self, template: str, owner: str, max_bytes: int = MAX_KEY_BYTES) -> None:
        """`owner` is what has the arguments, as errors name it. Raises ValueError if the template
        does not say where one ends and the next begins, or has what no key has."""
        self._template = template
        self._owner = owner
        self._max_bytes = max_bytes
        self._fields: list[_Field] = []
        before = ""
        for text, name, spec, conversion in _FORMATTER.parse(template):
            before += text
            if name is None:
                continue
            field = _Field(before, name, spec or "", conversion)
            if conversion not in (None, "s", "r", "a") or "{" in (spec or ""):
                raise ValueError(f"{template!r}: how to show {name!r} is not known here")
            if self._fields and not self._fields[-1].ends_with(before):
                raise ValueError(f"{template!r}: separate {{{name}}} from what is before it by ':'")
            self._fields.append(field)
            before = ""
        self._end = before
        if _CONTROL.search(template) or not (self._fields or 0 < len(before.encode()) <= max_bytes):
            raise ValueError(f"{template!r} must be 1 to {max_bytes} bytes, none of them a control")

    @classmethod
    def of(
        cls, function: Callable[..., object], template: str, max_bytes: int = MAX_KEY_BYTES
    ) -> Self:
        """One of a function's arguments. Raises ValueError also if the function has not those."""
        made = cls(template, _name_of(function), max_bytes)
        made.check(inspect.signature(function).parameters)
        return made

    def check(self, names: Collection[str]) -> None:
        """Raises ValueError if the template names an argument that is not among these."""
        for field in self._fields:
            if field.argument not in names:
                raise ValueError(
                    f"{self._template!r}: {self._owner} has no argument {field.name!r}"
                )

    def __call__(self, arguments: Arguments) -> str:
        """Raises UncacheableArgument."""
        key = "".join([field.text(arguments, self._owner) for field in self._fields])
        key += self._end
        if not (key and key.isascii() and key.isprintable() and len(key) <= self._max_bytes):
            self._check(key, arguments)
        return key

    def _check(self, key: str, arguments: Arguments) -> None:
        """Names the argument that makes the key none."""
        texts = {field.name: field.text(arguments, self._owner) for field in self._fields}
        for name, text in texts.items():
            if _CONTROL.search(text):
                raise UncacheableArgument(self._owner, name, "it has control characters")
            if _SURROGATE.search(text):
                raise UncacheableArgument(self._owner, name, "it has what UTF-8 has no form for")
        size = len(key.encode())
        if not 0 < size <= self._max_bytes:
            longest = max(texts, key=lambda name: len(texts[name]))
            problem = f"with it there are {size} bytes, and may be 1 to {self._max_bytes}"
            raise UncacheableArgument(self._owner, longest, problem)


class _Field:
    """One `{…}` of a template, with the text before it."""

    def __init__(self, before: str, name: str, spec: str, conversion: str | None) -> None:
        self.name = name
        self.argument = re.split(r"[.\[]", name, maxsplit=1)[0]
        self._before = before
        self._is_argument = name == self.argument
        self._spec = spec
        self._conversion = conversion
        self._escaped: re.Pattern[str] | None = None

    def ends_with(self, text: str) -> bool:
        """Keeps the first character of the text that follows out of the value; False if that can't
        be, since `%XX` may have it too."""
        if not text or text[0].isalnum() or text[0] == "%":
            return False
        self._escaped = re.compile(f"[%{re.escape(text[0])}]")
        return True

    def text(self, arguments: Arguments, function: str) -> str:
        try:
            text = self._value(arguments)
        except Exception as exc:
            raise UncacheableArgument(function, self.name, str(exc)) from exc
        if self._escaped is not None:
            text = self._escaped.sub(_percent, text)
        return self._before + text

    def _value(self, arguments: Arguments) -> str:
        if self._is_argument:
            value = arguments[self.argument]
        else:
            value, _ = _FORMATTER.get_field(self.name, (), arguments)
        if not self._spec and self._conversion is None:
            return _form(value, _TEXTS)
        return format(_FORMATTER.convert_field(value, self._conversion), self._spec)


class CallKey:
    """The key of a function and all its arguments; of a method, but `self` or `cls`."""

    def __init__(self, function: Callable[..., object]) -> None:
        """Raises ValueError if the function's name does not say which it is."""
        self._function = _name_of(function)
        inner = inspect.unwrap(function)
        outer = set(getattr(getattr(inner, "__code__", None), "co_freevars", ())) - {"__class__"}
        if not hasattr(function, "__qualname__") or ("<locals>" in self._function and outer):
            raise ValueError(
                f"{self._function} has more than its arguments to tell calls apart "
                f"({', '.join(sorted(outer)) or 'what it was made with'}): give it a key template"
            )
        parameters = list(inspect.signature(function).parameters.values())
        in_class = "." in function.__qualname__.rpartition("<locals>.")[2]
        if in_class and parameters and parameters[0].name in _RECEIVERS:
            del parameters[0]
        self._parameters = [(parameter.name, parameter.kind) for parameter in parameters]

    def __call__(self, arguments: Arguments) -> str:
        """Raises UncacheableArgument."""
        texts = [
            f"{name}={self._text(name, kind, arguments[name])}" for name, kind in self._parameters
        ]
        key = f"{self._function}({','.join(texts)})"
        return key if len(key) <= MAX_KEY_BYTES // 4 else _shortened(key)  # of UTF-8: 4 bytes each

    def _text(self, name: str, kind: Any, value: Any) -> str:
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return f"({','.join([self._literal(name, one) for one in value])})"
        if kind is inspect.Parameter.VAR_KEYWORD:
            named = sorted(value.items())
            texts = [f"{str.__repr__(key)}:{self._literal(key, one)}" for key, one in named]
            return f"{{{','.join(texts)}}}"
        return self._literal(name, value)

    def _literal(self, name: str, value: object) -> str:
        kind = type(value)
        try:
            text = _form(value, _LITERALS)
        except TypeError as exc:
            raise UncacheableArgument(self._function, name, str(exc)) from None
        if kind in _LITERALS or issubclass(kind, Enum):
            return text
        return f"{_name_of(kind)}({text})"


def _form(value: object, forms: Mapping[type, Callable[[Any], str]]) -> str:
    """Raises TypeError if there is none for its type."""
    form = forms.get(type(value))
    if form is None:
        kinds = type(value).__mro__
        # Enum before the others: some of its kinds are texts or numbers too.
        known = (Enum,) if issubclass(type(value), Enum) else tuple(filter(forms.get, kinds))
        if not known:
            raise TypeError(f"{type(value).__qualname__} has no form that is always the same")
        form = forms[known[0]]
    return form(value)


def _shortened(key: str) -> str:
    """No other key is like it: one that is not shortened ends with a bracket."""
    data = key.encode()
    if len(data) <= MAX_KEY_BYTES:
        return key
    tail = f"#{sha256(data).hexdigest()}"
    return data[: MAX_KEY_BYTES - len(tail)].decode(errors="ignore") + tail


def _percent(character: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in character[0].encode())


def _name_of(named: Any) -> str:
    name = getattr(named, "__qualname__", None)
    return f"{named.__module__}.{name}" if name else repr(named)
