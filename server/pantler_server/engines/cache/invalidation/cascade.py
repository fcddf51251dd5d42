"""Cascades: what depends on invalidated keys, what depends on that, and so on.

Each step marks the keys as dependencies in every partition, which hides the entries that name them
in `depends_on`, also those that land later from an older fill; the same script tells which keys
these entries stand under, and which keys were declared to depend on one. The latter are invalidated
by their key. What was seen once is not followed again, so cycles and diamonds end.
"""

from collections.abc import Iterable, Sequence

from pantler_server.core.errors import CascadeTooWide, WrongKind
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import entry, keys, marks
from pantler_server.engines.cache.failover import OfKey, OfLabel
from pantler_server.engines.cache.invalidation import scripts
from pantler_server.engines.cache.invalidation.applying import Applier
from pantler_server.engines.cache.scripts import KeyEvent, delete_entry

MAX_KEYS = 10_000  # about a second, and 5 MB of names at the most
MAX_STEPS = 100
AT_ONCE = 500  # keys in one script, so that none takes long


class Cascade:
    """One cascade in one namespace."""

    def __init__(self, applier: Applier, space: Namespace, deadline: float, *, soft: bool) -> None:
        self._applier = applier
        self._space = space
        self._deadline = deadline
        self._soft = soft

    async def invalidate(self, named: Sequence[str]) -> list[str]:
        """All keys that were invalidated, the nearest first. One round trip for each step. Raises
        CascadeTooWide, and what the Applier raises."""
        reached = dict.fromkeys(named)
        declared = set(named)  # what was invalidated by its key
        frontier = list(named)
        for _ in range(MAX_STEPS):
            by_entry, by_declaration = await self._step(frontier)
            new = by_declaration - declared
            if new:
                await invalidate_keys(
                    self._applier,
                    self._space,
                    list(new),
                    KeyEvent.CASCADE,
                    self._deadline,
                    soft=self._soft,
                )
            declared |= new
            frontier = [key for key in by_entry | dict.fromkeys(new) if key not in reached]
            reached |= dict.fromkeys(frontier)
            if not frontier:
                return list(reached)
            if len(reached) > MAX_KEYS + len(named):
                break
        raise CascadeTooWide(MAX_KEYS, MAX_STEPS)

    async def _step(self, frontier: Sequence[str]) -> tuple[dict[str, None], set[str]]:
        """What depends directly on these keys: by its entry, and as declared. More than MAX_KEYS
        need not be all."""
        by_entry: dict[str, None] = {}
        declared: set[str] = set()
        first = 0
        while first < len(frontier) and len(by_entry) + len(declared) <= MAX_KEYS:
            part = frontier[first : first + AT_ONCE]
            members = [marks.dependency_member(key, soft=self._soft) for key in part]
            replies = await self._applier.everywhere(
                self._space,
                lambda partition, part=part, members=members: scripts.cascade(  # type: ignore[misc]
                    self._space, partition, part, members, MAX_KEYS + 1
                ),
                [OfLabel(member) for member in members],
                self._deadline,
            )
            for of_entries, of_declarations, _ in replies:
                by_entry |= dict.fromkeys(map(bytes.decode, of_entries))
                declared.update(map(bytes.decode, of_declarations))
            first += min(told for _, _, told in replies)
        return by_entry, declared


async def invalidate_keys(
    applier: Applier,
    space: Namespace,
    named: Iterable[str],
    event: KeyEvent,
    deadline: float,
    *,
    soft: bool,
) -> None:
    """Invalidates keys by themselves. One round trip. A place that holds something else holds no
    entry: there is nothing to invalidate."""
    flag = 0
    if soft:
        flag = entry.SOFT_BY_CASCADE if event is KeyEvent.CASCADE else entry.SOFT_BY_KEY
    requests = [delete_entry(space, key, 0, event, flag) for key in named]
    events = [OfKey(key, keys.place(space, key)[0].slot, event, flag) for key in named]
    await applier.all_of(space, requests, events, deadline, passed_over=WrongKind)
