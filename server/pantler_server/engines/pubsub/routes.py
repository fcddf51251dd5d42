"""Who takes what comes from Redis: by channel and by glob, each message once."""

from collections.abc import Collection, Iterator

from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import keys
from pantler_server.engines.pubsub.subscriber import Subscriber
from pantler_server.store.subscription import Name

MAX_WAYS = 1_000  # channels whose takers by a glob are remembered


class Routes:
    """The subscribers of a namespace."""

    def __init__(self, space: Namespace) -> None:
        self._beginning = keys.channel(space, "")
        self._takers: dict[Name, dict[Subscriber, None]] = {}
        self._by_glob: dict[tuple[str, str], Collection[Subscriber]] = {}

    def names(self, subscriber: Subscriber) -> list[Name]:
        """What has to be followed for it."""
        channels = [Name(self._beginning + channel) for channel in subscriber.channels]
        ways = dict.fromkeys(way for _, way in subscriber.globs)
        return channels + [Name(way, is_glob=True) for way in ways]

    def add(self, subscriber: Subscriber) -> None:
        for name in self.names(subscriber):
            self._takers.setdefault(name, {})[subscriber] = None
        if subscriber.globs:
            self._by_glob.clear()

    def remove(self, subscriber: Subscriber) -> list[Name]:
        """The names for which there is nobody any more."""
        unused = []
        for name in self.names(subscriber):
            takers = self._takers[name]
            del takers[subscriber]
            if not takers:
                del self._takers[name]
                unused.append(name)
        if subscriber.globs:
            self._by_glob.clear()
        return unused

    def channel_of(self, name: bytes) -> str:
        """What callers call a channel of Redis."""
        return name.decode(errors="replace").removeprefix(self._beginning)

    def by_channel(self, channel: str) -> Collection[Subscriber]:
        """Those who listen to it by its name."""
        return self._takers.get(Name(self._beginning + channel), ())

    def by_glob(self, way: str, channel: str) -> Collection[Subscriber]:
        """Those who take the channel by a glob of Redis."""
        found = self._by_glob.get((way, channel))
        if found is None:
            if len(self._by_glob) >= MAX_WAYS:
                self._by_glob.clear()
            takers = self._takers.get(Name(way, is_glob=True), ())
            found = tuple(one for one in takers if one.way(channel) == way)
            self._by_glob[way, channel] = found
        return found

    def takers(self, channel: str) -> Iterator[Subscriber]:
        """All who take it, each once."""
        yield from self.by_channel(channel)
        for name in self._takers:
            if name.is_glob:
                yield from self.by_glob(name.text, channel)
