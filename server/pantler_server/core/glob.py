r"""Patterns of keys: `*` is any text, `?` any one character, `[a-z]` one of those, `[^a-z]` one
other; `\` takes the meaning from the character after it. Redis has the same, but in bytes."""

import re
from dataclasses import dataclass
from functools import lru_cache

_SPECIAL_TO_REDIS = re.compile(r"[*?\[\]\\^-]")


@dataclass(frozen=True, slots=True)
class Glob:
    """A well-formed pattern."""

    prefix: str
    """What every match begins with."""
    matcher: re.Pattern[str]

    def matches(self, key: str) -> bool:
        return self.matcher.fullmatch(key) is not None


@lru_cache(maxsize=4096)
def compile_glob(pattern: str) -> Glob:
    """Raises ValueError that says what the pattern must be."""
    if not pattern:
        raise ValueError("must not be empty")
    parts = [""]  # between each two of them stands a `*`
    prefix, in_prefix, at = "", True, 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        in_prefix = in_prefix and letter not in "*?["
        match letter:
            case "*":
                parts.append("")
            case "?":
                parts[-1] += "."
            case "[":
                one_of, at = _one_of(pattern, at)
                parts[-1] += one_of
            case _:
                if letter == "\\":
                    letter, at = _escaped(pattern, at)
                parts[-1] += re.escape(letter)
                prefix += letter if in_prefix else ""
    first, *others = parts
    if others:
        # A part may be taken where it fits first, without a way back: so no pattern takes longer
        # than its length times that of the key.
        *middle, last = others
        first += "".join(f"(?>.*?{part})" for part in middle if part) + f".*{last}"
    return Glob(prefix, re.compile(first, re.DOTALL))


def redis_glob(prefix: str) -> str:
    """A pattern of Redis for all that begins with a text."""
    return _SPECIAL_TO_REDIS.sub(r"\\\g<0>", prefix) + "*"


def _one_of(pattern: str, at: int) -> tuple[str, int]:
    """The class that begins after a `[`, as a regular expression, and where it ends."""
    if pattern.startswith("!", at):
        raise ValueError("has a [!: write [^ for all but those, [\\! for the character itself")
    negated = pattern.startswith("^", at)
    at += negated
    said = ""
    while not pattern.startswith("]", at):
        first, at = _in_class(pattern, at)
        last = first
        if pattern.startswith("-", at) and not pattern.startswith("-]", at):
            last, at = _in_class(pattern, at + 1)
            if last < first:
                raise ValueError(f"has a range that ends before it begins: {first}-{last}")
        said += f"{re.escape(first)}-{re.escape(last)}"
    if not said:
        raise ValueError("has an empty []: write \\[ for the character itself")
    return f"[{'^' if negated else ''}{said}]", at + 1


def _in_class(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        raise ValueError("has a [ without its ]: write \\[ for the character itself")
    return _escaped(pattern, at + 1) if pattern[at] == "\\" else (pattern[at], at + 1)


def _escaped(pattern: str, at: int) -> tuple[str, int]:
    """The character after a backslash, and where it ends."""
    if at >= len(pattern):
        raise ValueError("ends in a backslash: write \\\\ for one")
    return pattern[at], at + 1
