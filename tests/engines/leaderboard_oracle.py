"""A leaderboard as a plain list, sorted anew for each answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count
from math import ceil, isinf

from pantler_server.core.board_config import BoardOrder
from pantler_server.engines.leaderboard.model import Ranked, ScoreEntry, ScorePolicy, Submitted


@dataclass
class Kept:
    """What is known of a member."""

    score: float
    reached: int
    """Which of all scores that were reached it is."""
    attributes: Mapping[str, str]


class Infinite(Exception):
    """An entry would make its score infinite."""


class Oracle:
    """A board, or one period of it."""

    def __init__(self, order: BoardOrder, max_members: int = 0) -> None:
        self.order = order
        self.max_members = max_members
        self.members: dict[str, Kept] = {}
        self._numbers = count()

    def sorted(self) -> list[str]:
        return sorted(self.members, key=self._key)

    def _key(self, member: str) -> tuple[float, int]:
        kept = self.members[member]
        return self.goodness(kept.score), kept.reached

    def goodness(self, score: float) -> float:
        """The lower, the better."""
        return -score if self.order is BoardOrder.HIGHEST else score

    def rank(self, member: str, *, shared: bool = False) -> int:
        """0 for who is not on the board."""
        if member not in self.members:
            return 0
        if not shared:
            return self.sorted().index(member) + 1
        own = self.goodness(self.members[member].score)
        return 1 + sum(self.goodness(kept.score) < own for kept in self.members.values())

    def among(self, members: Sequence[str]) -> "Oracle":
        """The board of some members alone."""
        group = Oracle(self.order)
        group.members = {name: self.members[name] for name in members if name in self.members}
        return group

    def submit(self, entries: Sequence[ScoreEntry], policy: ScorePolicy) -> list[Submitted]:
        names = [entry.member for entry in entries]
        before = {name: self.rank(name) for name in names}
        scores = {name: self.members[name].score for name in names if name in self.members}
        new = {name: replace(kept) for name, kept in self.members.items()}
        for name, score, attributes in entries:
            if name not in new:
                new[name] = Kept(score, next(self._numbers), attributes)
                continue
            kept = new[name]
            if policy is ScorePolicy.INCREMENT:
                score += kept.score
                if isinf(score):
                    raise Infinite
            elif policy is ScorePolicy.BEST and self.goodness(score) >= self.goodness(kept.score):
                continue
            if score != kept.score:
                kept.score, kept.reached = score, next(self._numbers)
            kept.attributes = attributes or kept.attributes
        self.members = new
        after = {name: new[name].score for name in names}
        if self.max_members:
            for name in self.sorted()[self.max_members :]:
                del self.members[name]
        return [
            Submitted(
                after[name],
                self.rank(name),
                before[name],
                int((name in scores or self.rank(name) > 0) and scores.get(name) != after[name]),
            )
            for name in names
        ]

    def remove(self, members: Sequence[str]) -> list[bool]:
        return [self.members.pop(member, None) is not None for member in members]

    def page(self, first: int, last: int, *, shared: bool) -> list[Ranked]:
        """Those from a place on and before another."""
        return [
            Ranked(
                name,
                self.members[name].score,
                self.rank(name, shared=shared),
                self.members[name].attributes,
            )
            for name in self.sorted()[max(0, first) : last]
        ]

    def between(self, least: float, most: float) -> list[str]:
        return [name for name in self.sorted() if least <= self.members[name].score <= most]

    def around(self, member: str, limit: int, *, shared: bool) -> list[Ranked]:
        if member not in self.members:
            return []
        place = self.sorted().index(member)
        first = max(0, min(place - limit // 2, len(self.members) - limit))
        return self.page(first, first + limit, shared=shared)

    def percentile(self, percent: float) -> float:
        """The least score that is better than, or as good as, those of so many members."""
        from_worst = self.sorted()[::-1]
        place = max(1, ceil(Fraction(str(percent)) * len(from_worst) / 100))
        return self.members[from_worst[place - 1]].score
