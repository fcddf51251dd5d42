"""What a servicer knows of the call it answers, whatever transport brought it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

# What is kept back of a deadline, so that an answer (UNAVAILABLE, say) still reaches the caller.
MARGIN_RATIO, MAX_MARGIN_S = 0.1, 0.05


def answer_by(now: float, wait_s: float) -> float:
    """When the answer must be on its way for a caller who waits so long from now on."""
    return now + wait_s - min(wait_s * MARGIN_RATIO, MAX_MARGIN_S)


class Call(ABC):
    """A call under way, of no use after it. Errors are raised, not set."""

    __slots__ = ("deadline",)

    deadline: float
    """When the answer must be on its way (time of the event loop), with a margin to send it."""

    @property
    @abstractmethod
    def metadata(self) -> Mapping[str, str | bytes]:
        """The caller's metadata; of a repeated key the last value."""

    @property
    @abstractmethod
    def peer(self) -> str:
        """The caller's address."""

    @property
    @abstractmethod
    def request_id(self) -> str:
        """The caller's `x-request-id`, or one made up at the first use."""
