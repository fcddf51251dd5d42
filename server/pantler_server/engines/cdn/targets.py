"""The port to the targets of the configuration."""

from collections.abc import Sequence
from typing import Protocol

from pantler_server.cdns.target import EdgeStore, Target


class Targets(Protocol):
    def names(self) -> Sequence[str]:
        """In the order of the configuration."""

    def of(self, name: str) -> Target:
        """Raises CdnTargetUnknown."""

    def edge_store(self, name: str) -> EdgeStore:
        """Raises CdnTargetUnknown, and NoEdgeStore if the target has none."""
