"""The tags of entries."""

from collections.abc import Sequence

from pantler_server.core.errors import FieldViolation, InvalidFields, NoTagIndex
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import entry, keys
from pantler_server.engines.cache.describe import describe
from pantler_server.engines.cache.first_level import FirstLevel
from pantler_server.engines.cache.invalidation import scripts
from pantler_server.engines.cache.invalidation.listing import KeyIndex, Lister
from pantler_server.engines.cache.invalidation.model import TaggedKey, TagsAdded
from pantler_server.engines.cache.reading import Reader, Sight, is_fresh, kept_as_stale
from pantler_server.store.store import Store

_STALE, _FRESH, _TOO_MANY = 1, 2, 3  # replies of add_tags.lua


class TagEngine:
    """All raise the StoreErrors and WrongKind. Deadlines are times of the event loop."""

    def __init__(self, store: Store, reader: Reader, first_level: FirstLevel) -> None:
        self._store = store
        self._reader = reader
        self._first_level = first_level
        self._lister = Lister(store, reader)

    async def add(
        self, space: Namespace, key: str, tags: Sequence[str], deadline: float
    ) -> TagsAdded:
        """Gives an entry tags, as if it had had them since its fill began. One round trip. Raises
        InvalidFields for `tags`, if it would have too many."""
        try:
            [reply] = await self._store.call(scripts.add_tags(space, key, tags), deadline)
        finally:
            self._first_level.forget(space, (key,))
        if reply == _TOO_MANY:
            rule = f"would be more than {entry.MAX_LABELS} with those that the entry has"
            raise InvalidFields([FieldViolation("tags", rule)])
        return TagsAdded(found=reply in (_STALE, _FRESH), visible=reply == _FRESH)

    async def remove(
        self, space: Namespace, key: str, tags: Sequence[str], deadline: float
    ) -> bool:
        """Takes tags from a fresh entry; whether there was one. One round trip."""
        try:
            [reply] = await self._store.call(scripts.remove_tags(space, key, tags), deadline)
        finally:
            self._first_level.forget(space, (key,))
        return bool(reply)

    async def of(self, space: Namespace, key: str, deadline: float) -> tuple[str, ...] | None:
        """The tags of a fresh entry, None if there is none. One round trip, or two."""
        described = await describe(self._store, self._reader, space, key, deadline)
        if not described.found or described.entry is None:
            return None
        return described.entry.tags

    async def list_keys(
        self, space: Namespace, tag: str, page_size: int, page_token: str, deadline: float
    ) -> tuple[list[TaggedKey], str]:
        """Keys whose entries have the tag, and the token of the next page, empty if there is none.
        A round trip for each partition, and up to four for the keys. Raises NoTagIndex, and
        InvalidFields for `page_token`."""
        if not space.config.tag_index:
            raise NoTagIndex(space.name)

        def belongs(sight: Sight) -> bool:
            assert sight.raw is not None
            cover = sight.cover()
            gone = cover is not None and cover.is_hard
            return not gone and tag in entry.read_labels(sight.raw).tags

        indexes = [
            KeyIndex(partition, keys.tag_index(partition, tag)) for partition in space.partitions
        ]
        listed, token = await self._lister.page(indexes, page_size, page_token, deadline)
        kept, others = await self._lister.check(space, listed, belongs, deadline)
        if others:
            await self._lister.clean(space, indexes, others, deadline)
        tagged = [
            TaggedKey(one.key, stale=not is_fresh(sight))
            for one, sight in kept
            if is_fresh(sight) or kept_as_stale(sight, space)
        ]
        return tagged, token
