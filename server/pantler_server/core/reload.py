"""The port through which a worker asks for a reload of the configuration."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload changed, as paths of settings."""

    changed: tuple[str, ...]
    restart_required: tuple[str, ...]
    """Those of them that are not in force before a restart."""


class Reloader(Protocol):
    async def reload(self, deadline: float) -> Reloaded:
        """Reads the configuration again and puts it in force in all workers of this machine.

        Raises ConfigInvalid, and the old one stays.
        """
