"""A board made ready: what its calls have in common, put together once."""

from collections.abc import Iterator
from functools import lru_cache

from pantler_server.core.board_config import BoardConfig
from pantler_server.core.calendar import Span, earlier_span, span_at, time_zone
from pantler_server.core.errors import BoardUnknown
from pantler_server.core.glob import compile_glob
from pantler_server.core.namespace import Namespace
from pantler_server.engines.leaderboard import keys

_DEFAULT = BoardConfig()


class Board:
    """A board in use. `place` is the key of what is kept of it as a whole."""

    __slots__ = ("_spans", "_zone", "config", "name", "place", "slot", "tag")

    def __init__(self, space: Namespace, name: str, config: BoardConfig) -> None:
        partition = space.partition_of(name)
        self.name = name
        self.config = config
        self.slot, self.tag = partition.slot, partition.tag
        self.place = keys.board(self.tag, name)
        self._zone = time_zone(config.time_zone)
        self._spans = (Span(0, 0), Span(0, 0))

    def span_at(self, unix_us: int) -> Span | None:
        """The period at a time; None if the board has no periods."""
        period = self.config.period
        return None if period is None else span_at(period, self._zone, unix_us)

    def begins_at(self, unix_us: int) -> bool:
        """Whether one of its periods does, by the configuration as it is now."""
        span = self.span_at(unix_us)
        return span is not None and span.start_us == unix_us

    def spans(self, unix_us: int) -> tuple[Span, Span] | None:
        """The period at a time and the one after it; None if the board has no periods."""
        this, following = self._spans
        if not this.start_us <= unix_us < this.end_us:
            if self.config.period is None:
                return None
            this = span_at(self.config.period, self._zone, unix_us)
            following = span_at(self.config.period, self._zone, this.end_us)
            self._spans = this, following
        return this, following

    def before(self, spans: tuple[Span, Span], ago: int) -> tuple[Span, Span]:
        """The two so many periods before two that follow each other."""
        if not ago:
            return spans
        assert self.config.period is not None
        one, other = (
            earlier_span(self.config.period, self._zone, span.start_us, ago) for span in spans
        )
        return one, other

    def period_keys(self, start: bytes) -> tuple[bytes, bytes]:
        """Of the scores and of the members of a period."""
        return keys.scores(self.tag, self.name, start), keys.members(self.tag, self.name, start)


@lru_cache(maxsize=4096)
def board_of(space: Namespace, name: str) -> Board:
    """The board of a name, as the configuration describes it. Raises BoardUnknown."""
    config = space.config.boards.get(name) or next(_matching(space, name), None)
    if config is None:
        if space.config.strict_boards:
            raise BoardUnknown(space.name, name)
        config = _DEFAULT
    return Board(space, name, config)


def _matching(space: Namespace, name: str) -> Iterator[BoardConfig]:
    for pattern, config in space.config.boards.items():
        if compile_glob(pattern).matches(name):
            yield config
