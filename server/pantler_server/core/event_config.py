"""Event rules in the configuration: what an event of a type invalidates.

docs/events.md explains them. What is wrong with a rule is found when it is loaded, so that a rule
in force can only be at a loss for what an event lacks.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from pantler_server.core.keyspace import CONTROL, MAX_KEY_BYTES, MAX_TAG_BYTES, NAMESPACE
from pantler_server.core.setting_types import Problem, refuse
from pantler_server.core.template import Template, field_path

MAX_TYPE_BYTES = 128
MAX_RULES = 1000
MAX_TEMPLATES = 100  # of keys and of tags of one rule

Scalar = str | int | float | bool


def _name(value: str) -> str:
    if not NAMESPACE.fullmatch(value):
        raise ValueError(f"{value!r} does not match {NAMESPACE.pattern}")
    return value


def _type(value: str) -> str:
    if not 1 <= len(value.encode()) <= MAX_TYPE_BYTES or CONTROL.search(value):
        raise ValueError(f"must be 1 to {MAX_TYPE_BYTES} bytes without control characters")
    return value


def _field(value: str) -> str:
    field_path(value)
    return value


def _wanted(value: Any) -> Any:
    """One value, or several of which each will do, as several."""
    values = value if isinstance(value, list) else [value]
    for one in values:
        if not isinstance(one, Scalar) or (isinstance(one, float) and not math.isfinite(one)):
            raise ValueError(f"{one!r} is neither text nor a number, true or false")
    if not values:
        raise ValueError("must have a value, or several")
    return values


def _texts(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError("must be a list of templates, such as ['user:{user_id}']")
    for one in value:
        if not isinstance(one, str):
            raise ValueError(f"{one!r} is no text: put the template in quotes")
    return value


def _template(max_bytes: int) -> AfterValidator:
    def check(value: str) -> str:
        Template.parse(value, max_bytes)
        return value

    return AfterValidator(check)


Name = Annotated[str, AfterValidator(_name)]
Wanted = Annotated[tuple[Scalar, ...], BeforeValidator(_wanted)]


class EventRule(BaseModel):
    """What an event of one type invalidates: keys and tags, or a whole namespace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    """Tells the rule from the others, in answers and errors."""
    type: Annotated[str, AfterValidator(_type)]
    """The type of the events that the rule is for."""
    when: dict[Annotated[str, AfterValidator(_field)], Wanted] = {}
    """Fields with the value, or one of the values, that each must have; otherwise the event is left
    alone. Text, numbers and true or false differ, and a field that is not there has no value."""
    namespace: Name
    """Where it invalidates."""
    mode: Literal["hard", "soft"] = "hard"
    """hard: entries are gone; soft: they are stale."""
    keys: Annotated[
        tuple[Annotated[str, _template(MAX_KEY_BYTES)], ...], BeforeValidator(_texts)
    ] = Field((), max_length=MAX_TEMPLATES)
    """Templates of keys."""
    cascade: bool = False
    """Whether what depends on the keys is invalidated too."""
    tags: Annotated[
        tuple[Annotated[str, _template(MAX_TAG_BYTES)], ...], BeforeValidator(_texts)
    ] = Field((), max_length=MAX_TEMPLATES)
    """Templates of tags."""
    all: bool = False
    """Whether all entries of the namespace are invalidated."""

    @model_validator(mode="after")
    def _has_targets(self) -> "EventRule":
        if not (self.keys or self.tags or self.all):
            raise ValueError("invalidates nothing: give it keys, tags, or all: true")
        if self.all and (self.keys or self.tags):
            raise ValueError("all: true covers every key and tag: leave those out")
        if self.cascade and not self.keys:
            raise ValueError("cascade starts from keys: give it keys, or leave it out")
        return self


def check_rules(rules: Sequence[EventRule], known: Collection[str] | None) -> None:
    """That names are unique and namespaces known, if only some are (None: all). Raises
    ValidationError with the place of each that is not."""

    def problems() -> Iterator[Problem]:
        first: dict[str, int] = {}
        for index, rule in enumerate(rules):
            before = first.setdefault(rule.name, index)
            if before != index:
                message = f"{rule.name!r} is the name of events.{before} too"
                yield ("events", index, "name"), message
            if known is not None and rule.namespace not in known:
                message = (
                    f"{rule.namespace!r} is not under namespaces, and strict_namespaces is set"
                )
                yield ("events", index, "namespace"), message

    refuse("Settings", problems())
