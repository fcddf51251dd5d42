"""A namespace as engines use it, and the port through which they get one."""

from dataclasses import dataclass
from typing import Protocol

from pantler_server.core import keyspace
from pantler_server.core.config import NamespaceConfig


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of a namespace whose keys share a slot."""

    tag: bytes
    """The hash tag that all its keys begin with."""
    slot: int


@dataclass(frozen=True, slots=True, eq=False)
class Namespace:
    """A namespace in use. A reload replaces it by another; calls under way keep the one they
    have."""

    name: str
    configured: bool
    """Whether the configuration names it; otherwise its first use created it."""
    config: NamespaceConfig
    partitions: tuple[Partition, ...]
    ttl_ms: int
    max_ttl_ms: int
    stale_while_revalidate_ms: int
    """For how long after its expiry an entry is served as stale."""
    grace_ms: int
    """For how long it is kept, and served while a fetch that failed is remembered."""

    def partition_of(self, name: str) -> Partition:
        """Where what a caller has named is."""
        return self.partitions[keyspace.partition_of(name.encode(), len(self.partitions))]


class Namespaces(Protocol):
    """Gives servicers and engines the namespace of a name."""

    async def resolve(self, name: str, deadline: float, *, for_records: bool = False) -> Namespace:
        """A namespace, created at its first use: one round trip, none if this worker knows it.
        `for_records`: a use of its records creates none that has no origin.

        Raises NamespaceUnknown, TooManyNamespaces, StoreError; for records NoOrigin.
        """

    async def find(self, name: str, deadline: float) -> Namespace | None:
        """As `resolve`, for who must not create one by naming it: None if the configuration does
        not name it and nobody has used it."""

    async def deployment(self, deadline: float) -> bytes:
        """8 bytes that tell the deployment, all that share its Redis, from others. One round trip,
        two at the first use. Raises StoreError."""
