"""Places: where members are, and which are near.

All is in Redis's own geo commands. Around them stands what these get wrong at the edges of their
map: in_cells in sphere.py, and covering.py.
"""

from collections.abc import Sequence

from pantler_server.core.namespace import Namespace
from pantler_server.engines.geo import scripts
from pantler_server.engines.geo.covering import contains, covering
from pantler_server.engines.geo.model import Circle, Nearby, Point, Search, SearchResult
from pantler_server.engines.geo.sphere import distance_meters, in_cells
from pantler_server.store.store import Store

# Redis looks at all of the covering each time, however few are asked for: so there are few rounds.
GROWTH = 32  # of what is asked for when too much of it was outside
FIRST_AROUND = 1024  # at least, where most may be outside: a third round reaches a million


class GeoEngine:
    """Deadlines are times of the event loop. All raise the StoreErrors, and WrongKind."""

    def __init__(self, state: Store) -> None:
        self._store = state

    async def add(
        self, space: Namespace, name: str, locations: Sequence[tuple[str, Point]], deadline: float
    ) -> int:
        """Says where members are; how many are new. O(log N) for each, one round trip."""
        in_map = [(member, in_cells(point)) for member, point in locations]
        [added] = await self._store.call(scripts.add(space, name, in_map), deadline)
        return int(added)

    async def positions(
        self, space: Namespace, name: str, members: Sequence[str], deadline: float
    ) -> list[Point | None]:
        """Where members are, in the order asked; None for one that is not in the set. O(1) for
        each, one round trip."""
        [found] = await self._store.call(scripts.positions(space, name, members), deadline)
        return [None if one is None else _point(one) for one in found]

    async def remove(
        self, space: Namespace, name: str, members: Sequence[str], deadline: float
    ) -> list[bool]:
        """Takes members out; whether each was in the set. O(log N) for each, one round trip."""
        [removed] = await self._store.call(scripts.remove(space, name, members), deadline)
        return [one == 1 for one in removed]

    async def search(
        self, space: Namespace, name: str, wanted: Search, deadline: float
    ) -> SearchResult:
        """The nearest or farthest members in an area. One round trip, and one before it for where
        the origin is if that is a member.

        Where Redis is asked for more than the area (covering.py), and without what is outside too
        few are left, it is asked again, for GROWTH times as many.
        """
        if isinstance(wanted.origin, Point):
            origin = in_cells(wanted.origin)
        else:
            [at] = await self.positions(space, name, [wanted.origin], deadline)
            if at is None:
                return SearchResult((), origin_found=False)
            origin = at
        asked = covering(origin, wanted.area)
        # The nearest are in a circle before any that is outside.
        nearest = isinstance(wanted.area, Circle) and not wanted.farthest_first
        count = wanted.limit
        if asked.all_around and not nearest:
            count = max(count, FIRST_AROUND)
        while True:
            request = scripts.search(
                space, name, origin, asked.words, count, farthest_first=wanted.farthest_first
            )
            [found] = await self._store.call(request, deadline)
            within = [(member, _point(at)) for member, at in found]
            if not asked.exact:
                within = [one for one in within if contains(origin, wanted.area, one[1])]
            if nearest or len(within) >= wanted.limit or len(found) < count:
                nearby = [
                    Nearby(member.decode(), point, distance_meters(origin, point))
                    for member, point in within[: wanted.limit]
                ]
                return SearchResult(nearby, origin_found=True)
            count *= GROWTH

    async def distance(
        self, space: Namespace, name: str, one: str, other: str, deadline: float
    ) -> float | None:
        """Meters between two members; None if one is not in the set. O(1), one round trip."""
        at, to = await self.positions(space, name, [one, other], deadline)
        return None if at is None or to is None else distance_meters(at, to)

    async def delete(self, space: Namespace, name: str, deadline: float) -> bool:
        """Deletes a set; whether there was one. One round trip; Redis frees the memory in the
        background."""
        [deleted] = await self._store.call(scripts.delete(space, name), deadline)
        return bool(deleted == 1)


def _point(at: Sequence[float]) -> Point:
    longitude, latitude = at
    return Point(float(longitude), float(latitude))
