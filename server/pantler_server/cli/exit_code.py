"""What the exit codes of `pantler` mean."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Scripts may rely on these."""

    DONE = 0
    MISS = 1
    """There is no such entry, nor anything else of the name."""
    DENIED = 1
    """A rate limit or a counter's bounds do not allow it, or the slot is held no more."""
    USAGE = 2
    """Wrong options, a wrong configuration, or a field that the server refused."""
    UNAVAILABLE = 3
    """The server or its Redis can't be reached, or the time was up."""
    FAILED = 4
    """Anything else."""
    INTERRUPTED = 130
    """Ctrl-C, as shells have it."""
