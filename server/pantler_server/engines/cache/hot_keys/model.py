"""What is known of keys that are read much."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HotKey:
    """One of the keys that were read most."""

    key: str
    reads_per_second: float
    """About how many, in the last 5 minutes, of all workers; while there are counts of less than
    that, since the oldest of them."""
    hot: bool
    """Whether that reaches the namespace's `min_reads_per_second`."""
