"""Event rules, ready to be applied: which events one is for, and what it makes of their fields."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from pantler_server.core.errors import FieldViolation, InvalidFields
from pantler_server.core.event_config import EventRule
from pantler_server.core.keyspace import CONTROL, MAX_KEY_BYTES, MAX_TAG_BYTES
from pantler_server.core.template import FieldPath, Template, field_path
from pantler_server.engines.events.model import Fields

MAX_TARGETS = 1000  # keys and tags of one rule, as many as one invalidation takes
MAX_ALL_TARGETS = 4000  # those of all rules of an event: their names must fit the answer
MAX_EXACT = (1 << 53) - 1  # a double has every whole number up to here

Texts = Mapping[FieldPath, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Targets:
    """What a rule invalidates for an event."""

    rule: EventRule
    keys: Sequence[str]
    tags: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the configuration, compiled."""

    config: EventRule
    conditions: Mapping[FieldPath, frozenset[object]]
    """What each field may be, as `_comparable` gives it."""
    keys: Sequence[Template]
    tags: Sequence[Template]

    @classmethod
    def of(cls, config: EventRule) -> "Rule":
        return cls(
            config,
            {
                field_path(field): frozenset(map(_comparable, wanted))
                for field, wanted in config.when.items()
            },
            [Template.parse(text, MAX_KEY_BYTES) for text in config.keys],
            [Template.parse(text, MAX_TAG_BYTES) for text in config.tags],
        )

    def matches(self, fields: Fields) -> bool:
        """Whether all conditions hold; of a list, one element is enough."""
        return all(
            any(_comparable(value) in wanted for _, value in _values(fields, path))
            for path, wanted in self.conditions.items()
        )

    def targets(self, fields: Fields) -> Targets:
        """Raises InvalidFields, with the name of the rule, for fields that it can't do with."""
        texts: dict[FieldPath, list[str]] = {}
        violations: list[FieldViolation] = []
        for template in (*self.keys, *self.tags):
            for path in template.fields:
                if path not in texts:
                    texts[path] = self._texts(fields, path, violations)
        if not violations:
            violations += self._too_many(texts)
        if violations:
            raise InvalidFields(violations)
        return Targets(
            self.config,
            self._rendered(self.keys, texts, MAX_KEY_BYTES, "key"),
            self._rendered(self.tags, texts, MAX_TAG_BYTES, "tag"),
        )

    def _texts(
        self, fields: Fields, path: FieldPath, violations: list[FieldViolation]
    ) -> list[str]:
        """A text for each value of a field; of values that have none, the first is told."""
        texts = []
        for place, value in _values(fields, path):
            try:
                texts.append(_text(value))
            except ValueError as exc:
                violations.append(self._violation(place, str(exc)))
                break
        return texts

    def _too_many(self, texts: Texts) -> Iterator[FieldViolation]:
        """Counted before they are made, since lists multiply."""
        templates = (*self.keys, *self.tags)
        count = sum(prod(len(texts[path]) for path in template.fields) for template in templates)
        if count > MAX_TARGETS:
            longest = max(texts, key=lambda path: len(texts[path]))
            said = f"must give at most {MAX_TARGETS} keys and tags, not {count}"
            yield self._violation(_place(longest), said)

    def _rendered(
        self, templates: Iterable[Template], texts: Texts, max_bytes: int, kind: str
    ) -> list[str]:
        """Each text once, for every combination of the values of a template's fields."""
        rendered: dict[str, None] = {}
        for template in templates:
            for values in product(*(texts[path] for path in template.fields)):
                chosen = dict(zip(template.fields, values, strict=True))
                text = template.render(chosen)
                length = len(text.encode())
                if not 1 <= length <= max_bytes:
                    longest = max(chosen, key=lambda path: len(chosen[path]))
                    said = f"must give a {kind} of 1 to {max_bytes} bytes, not {length}"
                    raise InvalidFields([self._violation(_place(longest), said)])
                rendered[text] = None
        return list(rendered)

    def _violation(self, place: str, problem: str) -> FieldViolation:
        return FieldViolation(place, f"{problem}: event rule {self.config.name!r} needs it")


def plan(rules: Iterable[Rule], fields: Fields) -> list[Targets]:
    """What each rule that the event matches invalidates. Raises InvalidFields with the first few
    fields that some rule can't do with."""
    planned: list[Targets] = []
    violations: list[FieldViolation] = []
    for rule in rules:
        if rule.matches(fields):
            try:
                planned.append(rule.targets(fields))
            except InvalidFields as exc:
                violations += exc.violations
    if violations:
        raise InvalidFields(violations)
    count = sum(len(targets.keys) + len(targets.tags) for targets in planned)
    if count > MAX_ALL_TARGETS:
        said = f"must give the rules at most {MAX_ALL_TARGETS} keys and tags in all, not {count}"
        raise InvalidFields([FieldViolation("fields", said)])
    return planned


def _place(path: FieldPath) -> str:
    """A field as errors call it: its path in the request."""
    return ".".join(("fields", *path))


def _values(fields: Fields, path: FieldPath) -> Iterator[tuple[str, Any]]:
    """The values of a field with their places: several if there is a list on the way, None where
    there is no such field."""

    def below(value: Any, place: str, rest: FieldPath) -> Iterator[tuple[str, Any]]:
        if isinstance(value, list):
            for index, one in enumerate(value):
                yield from below(one, f"{place}[{index}]", rest)
        elif rest:
            inner = value.get(rest[0]) if isinstance(value, Mapping) else None
            yield from below(inner, f"{place}.{rest[0]}", rest[1:])
        else:
            yield place, value

    return below(fields, "fields", path)


def _text(value: Any) -> str:
    """A value as it stands in a key. Raises ValueError that says what it must be."""
    match value:
        case None:
            raise ValueError("must be set")
        case bool():
            return "true" if value else "false"
        case "":
            raise ValueError("must not be empty")
        case str():
            if CONTROL.search(value):
                raise ValueError("must not contain control characters")
            return value
        case int() | float():
            if not float(value).is_integer() or abs(value) > MAX_EXACT:
                raise ValueError("must be a whole number below 2^53, or text")
            return str(int(value))
    raise ValueError("must be text, a whole number, true or false, not an object")


def _comparable(value: Any) -> object:
    """A value that equals another only if their types do too, in the sense of JSON: in Python, 1
    equals True."""
    match value:
        case bool() | str():
            return type(value), value
        case int() | float():
            return float, value
    return None  # equals no value of a rule
