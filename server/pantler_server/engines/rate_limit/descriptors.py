"""Which limit of a domain a descriptor meets, and whose hits it counts.

A descriptor is a list of entries, each a key and a value; the limits of a domain are a tree. From
the root on, each entry leads to the child that has its key and value; else to the first, in the
order of the configuration, with a * that stands for it; else to the one with its key alone. No way
is gone back. What counts is the node of the last entry.
"""

import json
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from pantler_server.core.envoy_config import EnvoyDescriptor
from pantler_server.engines.rate_limit.limit import Limit

MAX_SUBJECT_BYTES = 256  # of what stands in keys as it is: longer ones are hashed

Entries = Sequence[tuple[str, str]]


class Bound(NamedTuple):
    """What a node says."""

    limit: Limit | None
    """None: unlimited."""
    name: str
    replaces: frozenset[str]


class Found(NamedTuple):
    """What a descriptor meets."""

    bound: Bound
    subject: str


MakeBound = Callable[[EnvoyDescriptor, str], Bound | None]
"""What a node says, of its configuration and its path."""


class Node:
    """A node of the tree; its path is what metrics call its limit."""

    __slots__ = ("_by_key", "_by_value", "_patterns", "bound")

    def __init__(
        self,
        path: str,
        descriptors: Sequence[EnvoyDescriptor],
        make: MakeBound,
        bound: Bound | None = None,
    ) -> None:
        self.bound = bound
        self._by_value: dict[tuple[str, str], Node] = {}
        self._by_key: dict[str, Node] = {}
        self._patterns: list[_Pattern] = []
        for one in descriptors:
            below = f"{path}.{one.key}_{one.value}" if one.value else f"{path}.{one.key}"
            node = Node(below, one.descriptors, make, make(one, below))
            if not one.value:
                self._by_key[one.key] = node
            elif "*" in one.value:
                self._patterns.append(_Pattern(one, node))
            else:
                self._by_value[one.key, one.value] = node

    def find(self, entries: Entries) -> Found | None:
        """The limit of a descriptor; None if it has none."""
        node: Node | None = self
        counted: list[Sequence[object]] = []
        for key, value in entries:
            assert node is not None
            node, pattern = node._next(key, value)
            if node is None:
                return None
            counted.append((key, value) if pattern is None else (key, pattern, True))
        if node is None or node.bound is None:
            return None
        return Found(node.bound, subject(counted))

    def _next(self, key: str, value: str) -> tuple["Node | None", str | None]:
        """Where an entry leads, and the pattern that is counted in place of its value, if one
        is."""
        exact = self._by_value.get((key, value))
        if exact is not None:
            return exact, None
        for pattern in self._patterns:
            if pattern.key == key and pattern.matches(value):
                return pattern.node, pattern.value if pattern.shared else None
        return self._by_key.get(key), None


class _Pattern:
    """A child whose value has a *."""

    __slots__ = ("_first", "_last", "_least", "_middle", "key", "node", "shared", "value")

    def __init__(self, config: EnvoyDescriptor, node: Node) -> None:
        self.key, self.value, self.shared = config.key, config.value, config.share_threshold
        self.node = node
        self._first, *self._middle, self._last = config.value.split("*")
        self._least = len(config.value) - config.value.count("*")

    def matches(self, value: str) -> bool:
        """O(value * parts); what stands first is best, so nothing is tried twice."""
        if len(value) < self._least or not (
            value.startswith(self._first) and value.endswith(self._last)
        ):
            return False
        at, end = len(self._first), len(value) - len(self._last)
        for part in self._middle:
            found = value.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


def subject(counted: Sequence[object]) -> str:
    """What is counted together, as it stands in keys: JSON, so that no two are alike, or a hash of
    it."""
    text = json.dumps(counted, ensure_ascii=False, separators=(",", ":"))
    data = text.encode()
    if len(data) <= MAX_SUBJECT_BYTES:
        return text
    return blake2b(data, digest_size=16).hexdigest()


def replaced(found: Sequence[Found | None]) -> list[Found | None]:
    """The limits that the descriptors of one call meet, without those that another one's replaces.
    None replaces itself: the configuration lets none have its own name there."""
    gone: set[str] = set().union(*(one.bound.replaces for one in found if one is not None))
    return [None if one is not None and one.bound.name in gone else one for one in found]
