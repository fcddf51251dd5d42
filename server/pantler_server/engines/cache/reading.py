"""Reads of entries, and what a reader sees of them.

A read is one round trip and no script: the entry, its partition's marks and the time, in this
order, so that an invalidation between the first two can only hide.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pantler_server.core.errors import ServiceError, WrongKind
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import entry, fill_token, keys
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.model import Hit, Miss, MissReason
from pantler_server.store.link import Reply
from pantler_server.store.request import Request, pack
from pantler_server.store.store import Store

_TIME = pack("TIME")


class Place(NamedTuple):
    """A key, and where it lives."""

    space: Namespace
    key: str
    partition: Partition
    entry: bytes


class View(NamedTuple):
    """What a reader knows of the partition at the time of its read."""

    primary: bytes
    """Beginning of the run id of its primary."""
    generation: bytes
    seq: int
    now_us: int

    def token(self, place: bytes, version: int, was_fresh: bool, lease_id: bytes) -> FillToken:
        """The token of a fill that begins at this read."""
        return FillToken(*self, version, lease_id, was_fresh, place)


class Sight(NamedTuple):
    """A stored string, None if there is none, and the view to judge it by."""

    raw: bytes | None
    view: View


def plain_hit(raw: bytes, view: View, left_ratio: float) -> Hit | None:
    """What most reads find: an entry of which more than this share of its ttl is left, and that has
    neither labels nor slides. None if it is anything else; `judge` says what. In half its time."""
    if len(raw) < entry.HEADER_BYTES:
        return None
    begin, version, generation, created_us, expires_us, ttl_us = entry.PLAIN_HEADER.unpack_from(raw)
    if (
        begin != entry.PLAIN
        or generation != view.generation
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
    raw, view = sight
    if raw is None:
        return Miss(MissReason.UNKNOWN, _token(sight, at, 0))
    if not entry.is_entry(raw):
        raise WrongKind(at.key)
    _, header_bytes, version, generation, _, created_us, expires_us, _ = entry.HEADER.unpack_from(
        raw
    )
    if generation != view.generation:
        return Miss(MissReason.HIDDEN_BY_NAMESPACE, _token(sight, at, version))
    stale, token = False, ""
    if view.now_us >= expires_us:
        token = _token(sight, at, version)
        grace_ms = at.space.grace_ms if failed else at.space.stale_while_revalidate_ms
        stale = accept_stale and view.now_us < expires_us + grace_ms * 1000
        if not stale:
            return Miss(MissReason.EXPIRED, token)
    if header_bytes == entry.HEADER_BYTES:
        content_type: str = ""
        tags: tuple[str, ...] = ()
    else:
        content_type, tags, _ = entry.read_labels(raw)
    return Hit(
        raw[header_bytes:], version, created_us, expires_us, content_type, tags, stale, token
    )


def _token(sight: Sight, at: Place, version: int) -> str:
    return sight.view.token(at.entry, version, False, fill_token.NONE).write()


def kept_for_errors(sight: Sight, space: Namespace) -> bool:
    """Whether the entry is given to those who accept stale ones only if a fetch has failed."""
    raw, view = sight
    if raw is None or space.grace_ms == space.stale_while_revalidate_ms:
        return False
    header = entry.read_header(raw)
    past_ms = (view.now_us - header.expires_us) / 1000
    return (
        header.generation == view.generation
        and space.stale_while_revalidate_ms <= past_ms < space.grace_ms
    )


class GroupSight(NamedTuple):
    """As a Sight of many keys of one partition, in the order of their group; an error stands for a
    key that could not be read."""

    raws: Sequence[bytes | ServiceError | None]
    view: View


class Reader:
    """Sends the reads. All raise the StoreErrors; `get_many` gives them for their keys."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark_reads: dict[bytes, bytes] = {}

    async def get(self, at: Place, deadline: float, *, replica: bool = False) -> Sight:
        """One key. One round trip, to a replica that may be behind if that is allowed."""
        partition = at.partition
        commands = (pack("GET", at.entry), self._read_marks(partition), _TIME)
        request = Request(partition.slot, commands, at.key, repeatable=True, writes=False)
        raw, state, time = await self._store.call(request, deadline, replica=replica)
        return Sight(raw or None, _view(request, state, time))  # an empty string holds nothing

    async def get_many(
        self, space: Namespace, wanted: Sequence[str], deadline: float
    ) -> list[tuple[keys.Group, "GroupSight | ServiceError"]]:
        """Keys by partition. One round trip, in one pipeline for each partition."""
        groups = keys.group(space, wanted)
        requests = [self._read_group(space, group) for group in groups]
        outcomes = await self._store.call_each(
            requests, deadline, replica=space.config.replica_reads
        )
        sights: list[tuple[keys.Group, GroupSight | ServiceError]] = []
        for group, request, outcome in zip(groups, requests, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                sights.append((group, outcome))
                continue
            raws, existing, state, time = outcome
            if existing != len(raws) - raws.count(None):
                for position, (index, place) in enumerate(
                    zip(group.indexes, group.places, strict=True)
                ):
                    if raws[position] is None:
                        at = Place(space, wanted[index], group.partition, place)
                        raws[position] = await self._alone(at, deadline)
            sights.append((group, GroupSight(raws, _view(request, state, time))))
        return sights

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

    def _read_marks(self, partition: Partition) -> bytes:
        """The packed command, which is the same for every read of a partition."""
        command = self._mark_reads.get(partition.tag)
        if command is None:
            command = pack("HGET", keys.marks(partition), "state")
            self._mark_reads[partition.tag] = command
        return command


def _view(request: Request, state: Reply, time: Reply) -> View:
    primary = request.primary or fill_token.NONE
    now_us = int(time[0]) * 1_000_000 + int(time[1])
    if state is None:
        return View(primary, fill_token.NONE, 0, now_us)
    return View(primary, state[:8], int.from_bytes(state[8:16], "little"), now_us)
