"""Reads of entries, and what a reader sees of them.

A read is one round trip and no script: the entry, its partition's marks and the time, in this
order, so that an invalidation between the first two can only hide. One more asks for the marks of
the entry's labels, if it has some and any label was invalidated since its fill began; the state and
the time are read with them again, so that they are of one generation. What one found is remembered
until another label is invalidated. The first read of a partition
that has no marks gives it some: else a fill that begins with it could not be told, should they be
lost, from one that began before that.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pantler_server.core.errors import ServiceError, StoreError, WrongKind
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import entry, fill_token, keys, marks, scripts
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.marks import Cover
from pantler_server.engines.cache.model import Hit, Miss, MissReason
from pantler_server.store.link import Reply
from pantler_server.store.request import Request, pack
from pantler_server.store.store import Store

_TIME = pack("TIME")
_NO_MARKS: Mapping[bytes, int] = {}
MOST_LABEL_MARKS = 4096  # a few MB; those in use come back with a read each


class Place(NamedTuple):
    """A key, and where it lives."""

    space: Namespace
    key: str
    partition: Partition
    entry: bytes


def place_of(space: Namespace, key: str) -> Place:
    """Past the constructor of the named tuple, which takes as long as all the rest."""
    return tuple.__new__(Place, (space, key, *keys.place(space, key)))


class View(NamedTuple):
    """What a reader knows of the partition at the time of its read."""

    primary: bytes
    """Beginning of the run id of its primary."""
    generation: bytes
    seq: int
    now_us: int
    whole: marks.Whole = marks.NONE
    """What was invalidated as a whole."""
    newest_mark: int = 0
    """Of those that cover entries without labels."""

    def token(self, place: bytes, version: int, was_fresh: bool, lease_id: bytes) -> FillToken:
        """The token of a fill that begins at this read."""
        return FillToken(
            self.primary,
            self.generation,
            self.seq,
            self.now_us,
            version,
            lease_id,
            was_fresh,
            place,
        )


class Sight(NamedTuple):
    """A stored string, None if there is none, and the view to judge it by."""

    raw: bytes | None
    view: View
    labels: Mapping[bytes, int] = _NO_MARKS
    """The marks of its labels, where they were needed."""

    def cover(self) -> Cover | None:
        """What invalidations made of the entry that is there."""
        assert self.raw is not None
        header = entry.read_header(self.raw)
        if header.generation != self.view.generation:
            return Cover(True, MissReason.HIDDEN_BY_NAMESPACE, 0)
        return marks.cover_of(self.raw, header, self.view.whole, self.labels)


def plain_hit(raw: bytes, view: View, left_ratio: float) -> Hit | None:
    """What most reads find: an entry of which more than this share of its ttl is left, that has
    neither labels nor slides, and that is younger than all marks. None if it is anything else;
    `judge` says what. In half its time."""
    if len(raw) < entry.HEADER_BYTES:
        return None
    begin, version, generation, began, created_us, expires_us, ttl_us = (
        entry.PLAIN_HEADER.unpack_from(raw)
    )
    if (
        begin != entry.PLAIN
        or generation != view.generation
        or began < view.newest_mark
        or expires_us - view.now_us <= ttl_us * left_ratio
    ):
        return None
    # Past the constructor of the named tuple, which takes as long as all the rest.
    return tuple.__new__(
        Hit,
        (raw[entry.HEADER_BYTES :], version, created_us, expires_us, "", (), False, "", None),
    )


def judge(sight: Sight, at: Place, *, accept_stale: bool, failed: bool = False) -> Hit | Miss:
    """What a read gives. `failed`: a fetch of this very entry has failed, so that stale-if-error
    applies. Raises WrongKind if the string is not an entry."""
    raw, view, _ = sight
    if raw is None:
        return Miss(MissReason.UNKNOWN, _token(sight, at, 0))
    if not entry.is_entry(raw):
        raise WrongKind(at.key)
    header = entry.read_header(raw)
    cover = sight.cover()
    has_expired = view.now_us >= header.expires_us
    stale, token = False, ""
    if cover is not None or has_expired:
        token = _token(sight, at, header.version)
        grace_ms = at.space.grace_ms if failed else at.space.stale_while_revalidate_ms
        stale = (
            accept_stale
            and not (cover is not None and cover.is_hard)
            and view.now_us < header.expires_us + grace_ms * 1000
        )
        if not stale:
            return Miss(MissReason.EXPIRED if cover is None else cover.reason, token)
    labels = entry.read_labels(raw)
    return Hit(
        raw[header.header_bytes :],
        header.version,
        header.created_us,
        header.expires_us,
        labels.content_type,
        labels.tags,
        stale,
        token,
    )


def _token(sight: Sight, at: Place, version: int) -> str:
    return sight.view.token(at.entry, version, False, fill_token.NONE).write()


def is_fresh(sight: Sight) -> bool:
    """Whether there is an entry, and those who accept no stale one get it."""
    if sight.raw is None:
        return False
    return entry.read_header(sight.raw).expires_us > sight.view.now_us and sight.cover() is None


def kept_as_stale(sight: Sight, space: Namespace) -> bool:
    """Whether the entry is given to those who accept stale ones, at least once a fetch has
    failed."""
    raw, view, _ = sight
    if raw is None or entry.read_header(raw).expires_us + space.grace_ms * 1000 <= view.now_us:
        return False
    cover = sight.cover()
    return cover is None or not cover.is_hard


def kept_for_errors(sight: Sight, space: Namespace) -> bool:
    """Whether it is given to them only then."""
    raw, view, _ = sight
    if raw is None or space.grace_ms == space.stale_while_revalidate_ms:
        return False
    past_us = view.now_us - entry.read_header(raw).expires_us
    return past_us >= space.stale_while_revalidate_ms * 1000 and kept_as_stale(sight, space)


class GroupSight(NamedTuple):
    """As a Sight of many keys of one partition, in the order of their group; an error stands for a
    key that could not be read."""

    raws: Sequence[bytes | ServiceError | None]
    view: View
    labels: Mapping[bytes, int]
    """The marks of all labels of those that need them."""


class Reader:
    """Sends the reads. All raise the StoreErrors; `get_many` gives them for their keys."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark_reads: dict[bytes, bytes] = {}
        self._label_marks: dict[bytes, tuple[tuple[bytes, int], Mapping[bytes, int]]] = {}
        """By the header of an entry: the primary and the newest mark of any label of its partition,
        and the marks of its own as of then. They are the same until there is a newer one."""

    async def get(self, at: Place, deadline: float, *, replica: bool = False) -> Sight:
        """One key. One round trip, or two, the first to a replica that may be behind if that is
        allowed. Reads of one key that come together, before any of them is sent, are one."""
        partition = at.partition
        commands = (pack("GET", at.entry), self._read_marks(partition), _TIME)
        request = Request(partition.slot, commands, at.key, repeatable=True, writes=False)
        raw, state, time = await self._store.call(request, deadline, replica=replica, joins=True)
        view = view_of(request, state, time)
        if state is None:
            view = await self._begin(at.space, partition, view, deadline)
        if not raw:  # an empty string holds nothing
            return Sight(None, view)
        if raw.startswith(entry.PLAIN):
            return Sight(raw, view)
        return await self.complete(partition, raw, view, deadline)

    async def look(self, partition: Partition, deadline: float) -> View:
        """A partition without any key. One round trip."""
        commands = (self._read_marks(partition), _TIME)
        request = Request(partition.slot, commands, "marks", repeatable=True, writes=False)
        state, time = await self._store.call(request, deadline)
        return view_of(request, state, time)

    async def _begin(
        self, space: Namespace, partition: Partition, view: View, deadline: float
    ) -> View:
        """Gives a partition marks; the view of them. Where that fails it is what was seen, whose
        fills are refused."""
        request = scripts.begin(space, partition)
        try:
            [[state, time]] = await self._store.call(request, deadline)
        except StoreError:
            return view
        return view_of(request, state, time)

    async def complete(
        self, partition: Partition, raw: bytes, view: View, deadline: float
    ) -> Sight:
        """A string with what it takes to judge it: one round trip more, if that needs the marks of
        its labels and they are not known as of the newest mark. Of the string nothing but the
        header need be there."""
        if not _needs_labels(raw, view):
            return Sight(raw, view)
        header = raw[: entry.read_header(raw).header_bytes]
        as_of = view.primary, view.whole.label  # before the marks are read: none may be newer
        known = self._label_marks.get(header)
        if known is not None and known[0] == as_of:
            return Sight(raw, view, known[1])
        members = marks.label_members(raw)
        request = self._read_labels(partition, members)
        replies = await self._store.call(request, deadline)
        seen = _label_view(request, members, replies)
        if len(self._label_marks) >= MOST_LABEL_MARKS:
            self._label_marks.clear()
        self._label_marks[header] = as_of, seen[1]
        return Sight(raw, *seen)

    async def get_many(
        self, space: Namespace, wanted: Sequence[str], deadline: float
    ) -> list[tuple[keys.Group, "GroupSight | ServiceError"]]:
        """Keys by partition. One round trip, in one pipeline for each partition, or two."""
        groups = keys.group(space, wanted)
        requests = [self._read_group(space, group) for group in groups]
        outcomes = await self._store.call_each(
            requests, deadline, replica=space.config.replica_reads
        )
        sights: list[GroupSight | ServiceError] = []
        for group, request, outcome in zip(groups, requests, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                sights.append(outcome)
                continue
            raws, existing, state, time = outcome
            if existing != len(raws) - raws.count(None):
                for position, (index, place) in enumerate(
                    zip(group.indexes, group.places, strict=True)
                ):
                    if raws[position] is None:
                        at = Place(space, wanted[index], group.partition, place)
                        raws[position] = await self._alone(at, deadline)
            sights.append(GroupSight(raws, view_of(request, state, time), _NO_MARKS))
        await self._begin_each(space, groups, sights, deadline)
        await self._complete(groups, sights, deadline)
        return list(zip(groups, sights, strict=True))

    async def _begin_each(
        self,
        space: Namespace,
        groups: Sequence[keys.Group],
        sights: "list[GroupSight | ServiceError]",
        deadline: float,
    ) -> None:
        """As `_begin`, for all partitions of a batch that have no marks."""
        lacking = {
            index: scripts.begin(space, group.partition)
            for index, (group, sight) in enumerate(zip(groups, sights, strict=True))
            if isinstance(sight, GroupSight) and sight.view.generation == fill_token.NONE
        }
        if not lacking:
            return
        outcomes = await self._store.call_each(list(lacking.values()), deadline)
        for (index, request), outcome in zip(lacking.items(), outcomes, strict=True):
            sight = sights[index]
            if isinstance(sight, GroupSight) and not isinstance(outcome, ServiceError):
                [[state, time]] = outcome
                sights[index] = sight._replace(view=view_of(request, state, time))

    async def _complete(
        self,
        groups: Sequence[keys.Group],
        sights: "list[GroupSight | ServiceError]",
        deadline: float,
    ) -> None:
        """Asks for the marks of the labels of all entries that need them."""
        asked: dict[int, tuple[Request, list[bytes]]] = {}
        for index, (group, sight) in enumerate(zip(groups, sights, strict=True)):
            if isinstance(sight, ServiceError) or not sight.view.whole.label:
                continue
            members = {
                member
                for raw in sight.raws
                if isinstance(raw, bytes) and _needs_labels(raw, sight.view)
                for member in marks.label_members(raw)
            }
            if members:
                distinct = list(members)
                asked[index] = (self._read_labels(group.partition, distinct), distinct)
        if not asked:
            return
        outcomes = await self._store.call_each([one for one, _ in asked.values()], deadline)
        for (index, (request, distinct)), outcome in zip(asked.items(), outcomes, strict=True):
            sight = sights[index]
            if isinstance(outcome, ServiceError):
                sights[index] = outcome
            elif not isinstance(sight, ServiceError):
                sights[index] = GroupSight(sight.raws, *_label_view(request, distinct, outcome))

    async def _alone(self, at: Place, deadline: float) -> bytes | ServiceError | None:
        try:
            return (await self.get(at, deadline)).raw
        except ServiceError as error:
            return error

    def _read_group(self, space: Namespace, group: keys.Group) -> Request:
        """One MGET. It gives nil for a key of another type as for none, so EXISTS counts too: where
        it counts more, `get_many` asks for each missing key alone."""
        commands = (
            pack("MGET", *group.places),
            pack("EXISTS", *group.places),
            self._read_marks(group.partition),
            _TIME,
        )
        return Request(group.partition.slot, commands, space.name, repeatable=True, writes=False)

    def _read_labels(self, partition: Partition, members: Sequence[bytes]) -> Request:
        """Goes to a primary, which lacks no mark, and asks for the state and the time once more."""
        scores = pack("ZMSCORE", keys.label_marks(partition), *members)
        commands = (scores, self._read_marks(partition), _TIME)
        return Request(partition.slot, commands, "labels", repeatable=True, writes=False)

    def _read_marks(self, partition: Partition) -> bytes:
        """The packed command, which is the same for every read of a partition."""
        command = self._mark_reads.get(partition.tag)
        if command is None:
            command = pack("HGET", keys.marks(partition), "state")
            self._mark_reads[partition.tag] = command
        return command


def _label_view(
    request: Request, members: Sequence[bytes], replies: Sequence[Reply]
) -> tuple[View, dict[bytes, int]]:
    scores, state, time = replies
    found = zip(members, scores, strict=True)
    return view_of(request, state, time), {
        member: int(score) for member, score in found if score is not None
    }


def _needs_labels(raw: bytes, view: View) -> bool:
    return entry.is_entry(raw) and marks.needs_labels(raw, view.whole)


def view_of(request: Request, state: Reply, time: Reply) -> View:
    """What the replies to HGET of a state and to TIME tell."""
    primary = request.primary or fill_token.NONE
    now_us = int(time[0]) * 1_000_000 + int(time[1])
    if state is None:
        return View(primary, fill_token.NONE, 0, now_us)
    seq = int.from_bytes(state[8:16], "little")
    return View(primary, state[:8], seq, now_us, *marks.whole(state[24:]))
