"""What a warming takes and gives."""

from dataclasses import dataclass
from typing import Self

from pantler_server.core.origin_config import WarmConfig, WarmSource


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be loaded ahead."""

    source: WarmSource
    keys_per_second: int
    """How many keys are looked at in a second at most, cached or not."""
    query: str | None = None
    """With WarmSource.QUERY: a SELECT of keys."""
    keys: tuple[str, ...] = ()
    """With WarmSource.KEYS: each once."""

    @classmethod
    def of(cls, config: WarmConfig) -> Self:
        """What a namespace's configuration asks for."""
        keys = tuple(dict.fromkeys(config.keys))
        return cls(config.source, config.keys_per_second, config.query, keys)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a warming is. Counts go on from those of the resume token that it began with."""

    seen: int
    """Keys that were looked at."""
    loaded: int
    """Of these, those that were loaded, also as a record that there is none of."""
    failed: int
    """Of these, those whose load failed; they are loaded when they are first read."""
    total: int
    """How many there are in all; 0 where only the origin could tell."""
    resume_token: str
    """Another warming goes on from here. It comes before the newest keys as long as these have
    failed one and all, so that they are tried again."""
    done: bool
    """Whether that was all."""
