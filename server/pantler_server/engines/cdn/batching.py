"""What waits for a target, made into as few requests as its limits allow.

A value that several purges name goes once, hard if one of them is. A purge of everything takes the
place of all that is due with it; a soft one only of what may be soft. What failed goes behind what
did not, and apart from it, with half as many others each time: so what fails by itself holds up
nothing else for long.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from typing import NamedTuple

from pantler_server.cdns.target import Batch, Kind, Limits


class Value(NamedTuple):
    """One thing to forget."""

    kind: Kind
    text: str
    """Empty for everything."""


ALL = Value(Kind.EVERYTHING, "")
BESIDE = 3  # requests that show whether a target serves others, while everything fails

_WORDS = {Kind.TAG: "by tag", Kind.URL: "by URL", Kind.EVERYTHING: "everything"}


@dataclass(slots=True, eq=False)
class Waiting:
    """A purge, or a part of a large one, that waits for a target."""

    entry_id: bytes
    """In the queue."""
    purge_id: str
    due_ms: int
    """Before that (Unix time, Redis's clock) nobody may send it."""
    asked_ms: int
    """When it was asked for."""
    soft: bool
    left: dict[Value, None]
    """What the target has not forgotten yet; empty: it is over."""
    kinds: frozenset[Kind]
    """Those of all values of the purge, of its other parts too."""
    replaces: bytes = b""
    """Up to which id it came in the place of all that waited; empty: it did not."""
    weight: int = 0
    """Of the entry in the queue."""
    refusal: str = ""
    """Why the target refused some of it; empty: it did not."""
    failures: int = 0
    """How often it failed since all that was tried went well."""
    most: int = 0
    """How many values may go with it: half of those that it last failed with; 0: any number."""
    not_before: float = 0.0
    """When it is tried again after it failed while the target served others (loop time); 0: it did
    not."""

    def failed_among(self, values: int) -> None:
        """A request with it, for so many values, has failed, or has something refused in it; 0: it
        was not for these."""
        self.failures += 1
        if values:
            self.most = max(1, values // 2)

    def forgive(self) -> None:
        """It was not its fault."""
        self.failures, self.most, self.not_before = 0, 0, 0.0

    def keep_to(self, kinds: frozenset[Kind]) -> None:
        """Leaves out what a target can't forget by; refuses it if that is all of the purge."""
        if self.kinds <= kinds:
            return
        if not self.kinds & kinds:
            named = " nor ".join(_WORDS[kind] for kind in Kind if kind in self.kinds)
            self.left.clear()
            self.refusal = f"it can't purge {named}"
            return
        self.kinds &= kinds
        for value in [one for one in self.left if one.kind not in kinds]:
            del self.left[value]


Want = tuple[Waiting, Value]


@dataclass(slots=True, eq=False)
class Planned:
    """A request, and whose it is."""

    batch: Batch
    wants: Sequence[Want]
    """What it asks for, and who wants it: a value may stand there several times."""
    is_full: bool
    """Whether no more of its kind would have fitted."""
    due_ms: int
    """Of the oldest in it."""
    covers: Sequence[Waiting] = field(default=())
    """For everything: whose all it does besides; if it fails, that is no failure of theirs."""

    @property
    def kind(self) -> Kind:
        return self.wants[0][1].kind

    @property
    def asked_by(self) -> list[Waiting]:
        """Who wants it, each once."""
        return list(dict.fromkeys(one for one, _ in self.wants))

    @property
    def entries(self) -> list[Waiting]:
        """Whose some or all it does, each once."""
        return list(dict.fromkeys((*self.asked_by, *self.covers)))

    def done(self) -> None:
        """The target has forgotten it."""
        for one, value in self.wants:
            one.left.pop(value, None)
        for one in self.covers:
            one.left.clear()

    def refused(self, why: str) -> None:
        """The target won't."""
        for one, value in self.wants:
            if value in one.left:
                del one.left[value]
                one.refusal = why

    def halves(self) -> list["Planned"]:
        """The same in two requests; none if it is a single value."""
        texts = self._texts
        if len(texts) < 2:
            return []
        middle = len(texts) // 2
        return [self._part(texts[:middle]), self._part(texts[middle:])]

    def some_alone(self, count: int) -> list["Planned"]:
        """So many of its values, chosen at random, each in a request."""
        chosen = random.sample(self._texts, min(count, len(self._texts)))
        return [self._part([text]) for text in chosen]

    @property
    def size(self) -> int:
        """Its values; 1 for everything."""
        return len(self._texts) or 1

    @property
    def _texts(self) -> Sequence[str]:
        return self.batch.tags or self.batch.urls

    def _part(self, texts: Sequence[str]) -> "Planned":
        some = set(texts)
        wants = [want for want in self.wants if want[1].text in some]
        batch = _batch(self.kind, texts, self.batch.soft)
        return Planned(batch, wants, self.is_full, self.due_ms)


def plan(entries: Sequence[Waiting], limits: Limits, *, can_soft: bool) -> Iterator[Planned]:
    """Requests for all that is left of these, each made when it is asked for: those of everything,
    those of what has not failed, and the rest; of these the oldest first. Values of a kind are in
    the order of `entries`."""
    everything = [one for one in entries if ALL in one.left]
    if not everything:
        yield from _by_failures(entries, limits, can_soft=can_soft)
        return
    soft = can_soft and all(one.soft for one in everything)
    covers = [one for one in entries if one.soft] if soft else entries
    yield _planned(Batch(everything=True, soft=soft), {ALL: everything}, covers)
    if soft:
        hard = [one for one in entries if not one.soft]
        yield from _by_failures(hard, limits, can_soft=can_soft)
    if any(one.failures for one in everything):
        rest = [one for one in covers if ALL not in one.left]
        yield from islice(_by_failures(rest, limits, can_soft=can_soft), BESIDE)


def _by_failures(
    entries: Iterable[Waiting], limits: Limits, *, can_soft: bool
) -> Iterator[Planned]:
    by_most: dict[int, list[Waiting]] = {}
    for one in entries:
        by_most.setdefault(one.most, []).append(one)
    for most in sorted(by_most, key=lambda most: (most > 0, -most)):
        bounded = limits
        if most:
            bounded = replace(
                limits,
                tags_per_request=min(most, limits.tags_per_request),
                urls_per_request=min(most, limits.urls_per_request),
            )
        yield from _of_values(by_most[most], bounded, can_soft=can_soft)


def _of_values(entries: Iterable[Waiting], limits: Limits, *, can_soft: bool) -> Iterator[Planned]:
    hard: dict[Kind, dict[Value, list[Waiting]]] = {Kind.TAG: {}, Kind.URL: {}}
    soft: dict[Kind, dict[Value, list[Waiting]]] = {Kind.TAG: {}, Kind.URL: {}}
    for one in entries:
        wanted = soft if one.soft and can_soft else hard
        for value in one.left:
            wanted[value.kind].setdefault(value, []).append(one)
    for kind in hard:
        for value in hard[kind].keys() & soft[kind].keys():  # hard does what soft would
            hard[kind][value] += soft[kind].pop(value)
    return merge(
        *(
            _requests(kind, wanted[kind], limits, soft=is_soft)
            for kind in hard
            for wanted, is_soft in ((hard, False), (soft, True))
        ),
        key=lambda one: one.due_ms,
    )


def _requests(
    kind: Kind, wanted: dict[Value, list[Waiting]], limits: Limits, *, soft: bool
) -> Iterator[Planned]:
    """Those of one kind, filled in their order."""
    is_tag = kind is Kind.TAG
    most = max(1, limits.tags_per_request if is_tag else limits.urls_per_request)
    room = limits.tag_bytes_per_request
    part: dict[Value, list[Waiting]] = {}
    size = 0

    def made(*, is_full: bool) -> Planned:
        batch = _batch(kind, [value.text for value in part], soft)
        return _planned(batch, part, (), is_full=is_full)

    for value, who in wanted.items():
        takes = len(value.text) + 1 if is_tag else 0
        if part and (len(part) == most or (is_tag and size + takes > room)):
            yield made(is_full=True)
            part, size = {}, 0
        part[value] = who
        size += takes
    if part:
        yield made(is_full=len(part) == most)


def _planned(
    batch: Batch,
    wanted: dict[Value, list[Waiting]],
    covers: Sequence[Waiting],
    *,
    is_full: bool = False,
) -> Planned:
    wants = [(one, value) for value, who in wanted.items() for one in who]
    return Planned(batch, wants, is_full, min(one.due_ms for one, _ in wants), covers)


def _batch(kind: Kind, texts: Sequence[str], soft: bool) -> Batch:
    if kind is Kind.TAG:
        return Batch(tags=tuple(texts), soft=soft)
    return Batch(urls=tuple(texts), soft=soft)
