"""Reads the settings: command line over environment over YAML file over defaults.

Everything that is wrong is reported at once, each with its file and line or its variable.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from pantler_server.core.config import Settings
from pantler_server.core.duration import format_duration
from pantler_server.core.errors import ConfigInvalid, ConfigProblem

ENV_PREFIX = "PANTLER_"
# Variables of the command line that are not settings of the server.
CLIENT_VARIABLES = frozenset({"PANTLER_ADDRESS", "PANTLER_CONFIG", "PANTLER_TIMEOUT"})

SettingPath = tuple[str, ...]

_BOUNDS = {  # pydantic's types of errors, with the name of the bound
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def load_settings(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings for a file (None: no file) and the options given on the command line.

    Raises ConfigInvalid with every problem.
    """
    document, lines = ({}, {}) if path is None else _parse(path)
    problems = list(_unknown_variables())
    try:
        environment = EnvSettingsSource(
            Settings,  # type: ignore[arg-type]  # it reads the fields of any model
            case_sensitive=False,
            env_prefix=ENV_PREFIX,
            env_nested_delimiter="__",
        )()
    except SettingsError as exc:
        raise ConfigInvalid([ConfigProblem("environment", "", str(exc)), *problems]) from None
    merged = _merge(_merge(document, environment), overrides or {})
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as exc:
        problems = [*(_problem(error, lines, path) for error in exc.errors()), *problems]
    if problems:
        raise ConfigInvalid(problems)
    return settings


def _parse(path: Path) -> tuple[dict[str, Any], dict[SettingPath, int]]:
    """The document, and the line of each setting in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigInvalid([ConfigProblem(str(path), "", f"can't be read: {reason}")]) from None
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigInvalid([_yaml_problem(exc, path)]) from None
    if node is None:  # as a reload finds a file that is being written: the old one must stay
        problem = ConfigProblem(str(path), "", "is empty: {} stands for the defaults")
        raise ConfigInvalid([problem])
    if not isinstance(node, yaml.MappingNode):
        problem = ConfigProblem(f"{path}:1", "", "must be a mapping of settings to values")
        raise ConfigInvalid([problem])
    lines: dict[SettingPath, int] = {}
    repeated = list(_walk(node, (), lines, path))
    if repeated:
        raise ConfigInvalid(repeated)
    return document, lines


def _walk(
    node: yaml.Node, at: SettingPath, lines: dict[SettingPath, int], file: Path
) -> Iterator[ConfigProblem]:
    """Notes the line of each setting; yields those that stand twice, which YAML lets pass."""
    children: list[tuple[str, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(index), item, item) for index, item in enumerate(node.value)]
    for name, key, value in children:
        path = (*at, name)
        line = key.start_mark.line + 1
        if path in lines:
            yield ConfigProblem(
                f"{file}:{line}", ".".join(path), f"stands here and in line {lines[path]}"
            )
        lines[path] = line
        yield from _walk(value, path, lines, file)


def _yaml_problem(exc: yaml.YAMLError, path: Path) -> ConfigProblem:
    mark = getattr(exc, "problem_mark", None)
    place = f"{path}:{mark.line + 1}" if mark is not None else str(path)
    return ConfigProblem(place, "", f"is not YAML: {getattr(exc, 'problem', None) or exc}")


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[name] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _problem(error: Any, lines: Mapping[SettingPath, int], file: Path | None) -> ConfigProblem:
    """A pydantic error, with the place that the setting came from."""
    path: SettingPath = tuple(map(str, error["loc"]))
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such setting"
    elif error["type"] == "model_type":
        message = "must be a mapping of settings to values"
    elif error["type"] in _BOUNDS:
        name, words = _BOUNDS[error["type"]]
        given = error["input"]
        bound = error["ctx"][name]
        if isinstance(given, timedelta):
            given, bound = format_duration(given), _short(bound)
        message = f"must be {words} {bound} (it is {given})"
    elif error["type"] in ("tuple_type", "list_type"):
        message = "must be a list"
    elif error["type"] == "too_short" and error["ctx"]["field_type"] == "Tuple":
        message = f"must be a list of at least {error['ctx']['min_length']}"
    elif error["type"] == "too_long" and error["ctx"]["field_type"] == "Tuple":
        message = f"must be a list of at most {error['ctx']['max_length']}"
    elif error["type"] != "value_error" and isinstance(error["input"], str | int | float):
        message += f" (it is {error['input']!r})"
    variable = ENV_PREFIX + "__".join(path).upper()
    if variable in os.environ:
        return ConfigProblem(f"environment {variable}", ".".join(path), message)
    known = path
    while known and known not in lines:  # a missing setting is reported where its section stands
        known = known[:-1]
    place = f"{file}:{lines[known]}" if known else str(file or "command line")
    return ConfigProblem(place, ".".join(path), message)


def _short(bound: str) -> str:
    """A duration that pydantic writes as `1 hour and 5 minutes`."""
    parts = (part.split() for part in bound.split(" and "))
    whole = (timedelta(**{f"{unit.removesuffix('s')}s": int(count)}) for count, unit in parts)
    return format_duration(sum(whole, timedelta()))


def _unknown_variables() -> Iterator[ConfigProblem]:
    """Variables with our prefix that no setting reads: a typing error, most likely."""
    for variable in sorted(os.environ):
        if variable.startswith(ENV_PREFIX) and variable not in CLIENT_VARIABLES:
            setting = variable.removeprefix(ENV_PREFIX).partition("__")[0].lower()
            if setting not in Settings.model_fields:
                yield ConfigProblem(f"environment {variable}", "", "there is no such setting")
