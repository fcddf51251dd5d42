"""Pages of the keys that indexes hold, checked against their entries."""

import asyncio
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from pantler_server.core.errors import FieldViolation, InvalidFields, ServiceError, WrongKind
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import entry, fill_token, keys
from pantler_server.engines.cache.invalidation import scripts
from pantler_server.engines.cache.reading import Reader, Sight, View, view_of
from pantler_server.store.link import Reply
from pantler_server.store.request import Request, read
from pantler_server.store.store import Store

BEGINNING_BYTES = 1024  # of an entry: nearly every header is shorter
_NOTHING = Sight(None, View(fill_token.NONE, fill_token.NONE, 0, 0))
_SAME_SCORE = 16  # members that may have one score: they are times in microseconds


class KeyIndex(NamedTuple):
    """A sorted set of keys of one partition."""

    partition: Partition
    place: bytes


class Listed(NamedTuple):
    """A key, and which index it stands in."""

    number: int
    key: str


class _Position(NamedTuple):
    """Where a page begins: after this member, in the order of scores and then of members."""

    number: int = 0
    score: float = float("-inf")
    member: str = ""

    def token(self, indexes: Sequence[KeyIndex]) -> str:
        """For the next page of the same list."""
        text = f"{_digest(indexes)} {self.number} {self.score!r} {self.member}"
        return urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def read(cls, token: str, indexes: Sequence[KeyIndex]) -> "_Position":
        if not token:
            return cls()
        try:
            _, number, score, member = urlsafe_b64decode(token.encode()).decode().split(" ", 3)
            position = cls(int(number), float(score), member)
        except ValueError:
            position = cls(-1)
        known = 0 <= position.number < len(indexes) and not math.isnan(position.score)
        # Written anew it must be the same: there is one way to say it, and of one list.
        if not known or position.token(indexes) != token:
            rule = "must be the next_page_token of a page of the same list"
            raise InvalidFields([FieldViolation("page_token", rule)])
        return position


def _digest(indexes: Sequence[KeyIndex]) -> str:
    """Tells a list from others: of another namespace, kind, key or tag."""
    places = b"\0".join(index.place for index in indexes)
    return blake2b(places, digest_size=8).hexdigest()


class Lister:
    """Raises InvalidFields for `page_token`, and the StoreErrors."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader

    async def page(
        self, indexes: Sequence[KeyIndex], page_size: int, page_token: str, deadline: float
    ) -> tuple[list[Listed], str]:
        """Up to so many keys, and the token of the next page, empty if there is none. A round trip
        for each index that is visited."""
        position = _Position.read(page_token, indexes)
        found: list[Listed] = []
        for number in range(position.number, len(indexes)):
            same = _SAME_SCORE
            while True:
                # As many as a page has room for and one more tell whether there is more.
                wanted = page_size - len(found) + 1 + same
                members = await self._members(indexes[number], position.score, wanted, deadline)
                before = position
                for member, score in members:
                    if (score, member) > (position.score, position.member):
                        if len(found) == page_size:
                            return found, position.token(indexes)
                        found.append(Listed(number, member))
                        position = _Position(number, score, member)
                if len(members) < wanted:
                    break
                if position == before:
                    same *= 2
            position = _Position(number + 1)
        return found, ""

    async def _members(
        self, index: KeyIndex, score: float, limit: int, deadline: float
    ) -> list[tuple[str, float]]:
        command = ("ZRANGE", index.place, repr(score), "+inf", "BYSCORE")
        options = ("LIMIT", 0, limit, "WITHSCORES")
        request = read(index.partition.slot, "index", command + options)
        [members] = await self._store.call(request, deadline)
        return [(member.decode(), score) for member, score in members]

    async def check(
        self,
        space: Namespace,
        listed: Sequence[Listed],
        belongs: Callable[[Sight], bool],
        deadline: float,
    ) -> tuple[list[tuple[Listed, Sight]], list[tuple[Listed, Sight]]]:
        """Those whose entries belong there, and the others, with what was read of each: its header.
        One round trip, and up to two more."""
        kept: list[tuple[Listed, Sight]] = []
        others: list[tuple[Listed, Sight]] = []
        sights = await self._sights(space, listed, deadline)
        for one, sight in zip(listed, sights, strict=True):
            (kept if sight.raw is not None and belongs(sight) else others).append((one, sight))
        return kept, others

    async def clean(
        self,
        space: Namespace,
        indexes: Sequence[KeyIndex],
        others: Sequence[tuple[Listed, Sight]],
        deadline: float,
    ) -> None:
        """Takes keys out of their indexes, whose entries do not belong there. One round trip."""
        gone: dict[int, list[tuple[str, bytes]]] = {}
        for one, sight in others:
            gone.setdefault(one.number, []).append((one.key, sight.raw or b""))
        cleaning = [
            scripts.clean_index(space, *indexes[number], keys_seen)
            for number, keys_seen in gone.items()
        ]
        await self._store.call_each(cleaning, deadline)  # what fails stays for the next who reads

    async def _sights(
        self, space: Namespace, listed: Sequence[Listed], deadline: float
    ) -> list[Sight]:
        """The beginnings of entries, which have their headers whole."""
        requests = [_read_beginning(space, one.key) for one in listed]
        outcomes = await self._store.call_each(requests, deadline)
        return await asyncio.gather(
            *(
                self._sight(space, one.key, request, outcome, deadline)
                for one, request, outcome in zip(listed, requests, outcomes, strict=True)
            )
        )

    async def _sight(
        self,
        space: Namespace,
        key: str,
        request: Request,
        outcome: "list[Reply] | ServiceError",
        deadline: float,
    ) -> Sight:
        if isinstance(outcome, WrongKind):  # foreign data: nothing of ours is there
            return _NOTHING
        if isinstance(outcome, ServiceError):
            raise outcome
        raw, state, time = outcome
        if not entry.is_entry(raw):
            return _NOTHING
        view = view_of(request, state, time)
        header_bytes = entry.read_header(raw).header_bytes
        if header_bytes > len(raw):
            raw, *_ = await self._store.call(_read_beginning(space, key, header_bytes), deadline)
        partition, _ = keys.place(space, key)
        return await self._reader.complete(partition, raw[:header_bytes], view, deadline)


def _read_beginning(space: Namespace, key: str, size: int = BEGINNING_BYTES) -> Request:
    partition, place = keys.place(space, key)
    return read(
        partition.slot,
        key,
        ("GETRANGE", place, 0, size - 1),
        ("HGET", keys.marks(partition), "state"),
        ("TIME",),
    )
