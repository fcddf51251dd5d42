"""Who takes what comes from Redis: by channel and by glob, each message once."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence

from pantler_server.core.glob import Glob
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import keys
from pantler_server.engines.pubsub.subscriber import Subscriber
from pantler_server.store.subscription import Name

# Of what is remembered of channels that came by a glob: some 10 MB.
MAX_WEIGHT = 1_000_000
_CHANNEL_WEIGHT = 30  # of one, beside the groups that match it

Group = dict[Subscriber, None]
"""Those with the same globs."""


class Routes:
    """The subscribers of a namespace."""

    def __init__(self, space: Namespace) -> None:
        self._beginning = keys.channel(space, "")
        self._takers: dict[str, dict[Subscriber, None]] = {}
        self._groups: dict[str, dict[Sequence[tuple[Glob, str]], Group]] = {}
        self._matched: OrderedDict[tuple[str, str], Sequence[Group]] = OrderedDict()
        self._weight = 0  # of `_matched`

    def names(self, subscriber: Subscriber) -> list[Name]:
        """What has to be followed for it."""
        channels = [Name(self._beginning + channel) for channel in subscriber.channels]
        return channels + [Name(way, is_glob=True) for way in _ways(subscriber)]

    def add(self, subscriber: Subscriber) -> None:
        for channel in subscriber.channels:
            self._takers.setdefault(channel, {})[subscriber] = None
        for way in _ways(subscriber):
            groups = self._groups.setdefault(way, {})
            if subscriber.globs not in groups:
                groups[subscriber.globs] = {}
                self._forget()
            groups[subscriber.globs][subscriber] = None

    def remove(self, subscriber: Subscriber) -> list[Name]:
        """The names for which there is nobody any more."""
        for channel in subscriber.channels:
            del self._takers[channel][subscriber]
            if not self._takers[channel]:
                del self._takers[channel]
        for way in _ways(subscriber):
            groups = self._groups[way]
            del groups[subscriber.globs][subscriber]
            if not groups[subscriber.globs]:
                del groups[subscriber.globs]
                self._forget()
            if not groups:
                del self._groups[way]
        return [name for name in self.names(subscriber) if not self._is_used(name)]

    def channel_of(self, name: bytes) -> str:
        """What callers call a channel of Redis."""
        return name.decode(errors="replace").removeprefix(self._beginning)

    def by_channel(self, channel: str) -> Collection[Subscriber]:
        """Those who listen to it by its name."""
        return self._takers.get(channel, ())

    def by_glob(self, way: str, channel: str) -> Iterator[Subscriber]:
        """Those who take the channel by a glob of Redis: whom it comes to by its name take it so,
        and of the globs of the others the first that matches counts."""
        for group in self._matching(way, channel):
            for subscriber in group:
                if channel not in subscriber.channels:
                    yield subscriber

    def takers(self, channel: str) -> Iterator[Subscriber]:
        """All who take it, each once."""
        yield from self.by_channel(channel)
        for way in self._groups:
            yield from self.by_glob(way, channel)

    def _matching(self, way: str, channel: str) -> Sequence[Group]:
        found = self._matched.get((way, channel))
        if found is not None:
            self._matched.move_to_end((way, channel))
            return found
        groups = self._groups.get(way, {})
        found = [group for globs, group in groups.items() if _first_way(globs, channel) == way]
        self._matched[way, channel] = found
        self._weight += _CHANNEL_WEIGHT + len(found)
        while self._weight > MAX_WEIGHT:
            _, oldest = self._matched.popitem(last=False)
            self._weight -= _CHANNEL_WEIGHT + len(oldest)
        return found

    def _forget(self) -> None:
        self._matched.clear()
        self._weight = 0

    def _is_used(self, name: Name) -> bool:
        if name.is_glob:
            return name.text in self._groups
        return name.text.removeprefix(self._beginning) in self._takers


def _ways(subscriber: Subscriber) -> Collection[str]:
    return dict.fromkeys(way for _, way in subscriber.globs)


def _first_way(globs: Sequence[tuple[Glob, str]], channel: str) -> str | None:
    return next((way for glob, way in globs if glob.matches(channel)), None)
