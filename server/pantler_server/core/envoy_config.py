"""Domains of Envoy's rate limits in the configuration, written as envoyproxy/ratelimit has them.

docs/envoy.md explains them.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    model_validator,
)

from pantler_server.core.event_config import Name
from pantler_server.core.keyspace import CONTROL
from pantler_server.core.rate_limit import Algorithm, OnUnavailable, Rule
from pantler_server.core.rate_limit_config import RateLimitRule
from pantler_server.core.setting_types import Problem, refuse

MAX_DOMAIN_BYTES = 128
FOREIGN = ("detailed_metric", "value_to_metric", "quota_mode", "metadata")
"""What envoyproxy/ratelimit has besides, and Pantler has not."""


class Unit(StrEnum):
    """What the length of a window is given in."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"

    @property
    def ms(self) -> int:
        return _UNIT_MS[self]


_UNIT_MS = {
    Unit.SECOND: 1000,
    Unit.MINUTE: 60_000,
    Unit.HOUR: 3_600_000,
    Unit.DAY: 86_400_000,
    Unit.WEEK: 7 * 86_400_000,
    Unit.MONTH: 30 * 86_400_000,
    Unit.YEAR: 365 * 86_400_000,
}


def _text(value: Any) -> Any:
    if isinstance(value, bool | int | float):  # YAML's: 010 would be 8
        raise ValueError(f"{value!r} is no text: put it in quotes")
    return value


def _domain(value: str) -> str:
    if not 1 <= len(value.encode()) <= MAX_DOMAIN_BYTES or CONTROL.search(value):
        raise ValueError(f"must be 1 to {MAX_DOMAIN_BYTES} bytes without control characters")
    return value


def _name(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _key(value: str) -> str:
    if "*" in value:
        raise ValueError("must have no *: that is for values")
    return _name(value)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_text)]
AnyCase = Annotated[Unit, BeforeValidator(_lower)]


class Replaced(BaseModel):
    """Limits that another replaces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Text, AfterValidator(_name)]
    """Their name."""


class EnvoyRateLimit(BaseModel):
    """How much is allowed: a rule of `rate_limits`, one of its own, or everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Name | None = None
    """A rule of `rate_limits`."""
    unit: AnyCase | None = None
    """What the window is measured in."""
    requests_per_unit: int | None = None
    """Hits in a window."""
    unit_multiplier: int = 1
    """How many units make up the window."""
    algorithm: Algorithm = Algorithm.FIXED_WINDOW
    """How it is counted."""
    burst: int = 0
    """Of token_bucket and gcra, as that of a rule."""
    on_unavailable: OnUnavailable | None = None
    """What is decided while Redis is away; unset: the call fails."""
    unlimited: bool = False
    """Whether everything is allowed."""
    name: Text = ""
    """By which it can be replaced."""
    replaces: tuple[Replaced, ...] = ()
    """The limits of other descriptors that do not count where this one is met."""

    @model_validator(mode="after")
    def _holds_together(self) -> "EnvoyRateLimit":
        refuse("EnvoyRateLimit", self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        if self.name and Replaced(name=self.name) in self.replaces:
            yield ("replaces",), f"must not have its own name, {self.name!r}"
        if self.unlimited or self.rule is not None:
            kept = "unlimited" if self.unlimited else "rule"
            for field in sorted(self.model_fields_set - {kept, "name", "replaces"}):
                yield (field,), f"must be left out where there is {kept}"
        elif self.unit is None:
            yield ("unit",), "must be set, or rule, or unlimited"
        else:
            fields = {"limit": "requests_per_unit", "window": "unit_multiplier"}
            for field, message in self.own_rule("").problems():
                yield (fields.get(field, field),), message

    def own_rule(self, name: str, *, shadow: bool = False) -> Rule:
        """The rule that it is itself, where it has a unit."""
        assert self.unit is not None
        return Rule(
            self.algorithm,
            self.requests_per_unit or 0,
            self.unit.ms * self.unit_multiplier,
            self.burst,
            name=name,
            shadow=shadow,
            on_unavailable=self.on_unavailable,
        )


class EnvoyDescriptor(BaseModel):
    """An entry of a descriptor, with the limit of descriptors that end with it and what may follow
    it in others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[Text, AfterValidator(_key)]
    value: Text = ""
    """Each * stands for any characters; empty: any value."""
    rate_limit: EnvoyRateLimit | None = None
    """Unset: there is no limit."""
    shadow_mode: bool = False
    """Whether the limit only counts, and allows everything."""
    share_threshold: bool = False
    """Whether the values that a * stands for are counted together."""
    descriptors: tuple["EnvoyDescriptor", ...] = ()
    """What may follow."""

    @model_validator(mode="before")
    @classmethod
    def _has_nothing_foreign(cls, said: Any) -> Any:
        if isinstance(said, Mapping):
            message = "is not for Pantler, which has no such thing: leave it out"
            refuse("EnvoyDescriptor", (((one,), message) for one in FOREIGN if one in said))
        return said

    @model_validator(mode="after")
    def _holds_together(self) -> "EnvoyDescriptor":
        refuse("EnvoyDescriptor", self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        if self.share_threshold and "*" not in self.value:
            yield ("share_threshold",), "is of use only with a value that has a *"
        if self.shadow_mode and (self.rate_limit is None or self.rate_limit.unlimited):
            yield ("shadow_mode",), "is of use only with a limit"
        yield from _twins(self.descriptors)


class EnvoyDomain(BaseModel):
    """The limits of one domain, which Envoy's filter names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: Annotated[Text, AfterValidator(_domain)]
    descriptors: tuple[EnvoyDescriptor, ...] = ()
    """With what a descriptor may begin."""
    response_headers: bool = True
    """Whether answers carry x-ratelimit headers for the client."""

    @model_validator(mode="after")
    def _holds_together(self) -> "EnvoyDomain":
        refuse("EnvoyDomain", _twins(self.descriptors))
        return self


def _twins(descriptors: Sequence[EnvoyDescriptor]) -> Iterator[Problem]:
    first: dict[tuple[str, str], int] = {}
    for index, one in enumerate(descriptors):
        before = first.setdefault((one.key, one.value), index)
        if before != index:
            yield ("descriptors", index), f"has the key and value of descriptors.{before} too"


def check_domains(domains: Sequence[EnvoyDomain], rules: Mapping[str, RateLimitRule]) -> None:
    """That no two have one name, and that rules are there. Raises ValidationError with the place of
    each problem."""

    def problems() -> Iterator[Problem]:
        first: dict[str, int] = {}
        for index, one in enumerate(domains):
            before = first.setdefault(one.domain, index)
            if before != index:
                message = f"{one.domain!r} is the domain of envoy_domains.{before} too"
                yield ("envoy_domains", index, "domain"), message
            yield from _rule_problems(one.descriptors, ("envoy_domains", index), rules)

    refuse("Settings", problems())


def _rule_problems(
    descriptors: Sequence[EnvoyDescriptor],
    place: tuple[str | int, ...],
    rules: Mapping[str, RateLimitRule],
) -> Iterator[Problem]:
    for index, one in enumerate(descriptors):
        at = (*place, "descriptors", index)
        name = one.rate_limit.rule if one.rate_limit is not None else None
        if name is not None and name not in rules:
            yield (*at, "rate_limit", "rule"), f"{name!r} is not under rate_limits"
        yield from _rule_problems(one.descriptors, at, rules)
