"""The namespaces that are in use, and over how many partitions each is spread.

The number of partitions decides where a key lives, so all workers must agree on it: the first use
of a namespace writes it down, and from then on what is written holds, whatever the configuration
says.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from random import randbytes

from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.errors import NamespaceUnknown, NoOrigin, TooManyNamespaces
from pantler_server.core.keyspace import hash_tag
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.namespaces.keys import DEPLOYMENT, REGISTRY
from pantler_server.store.request import read
from pantler_server.store.store import Store

DEPLOYMENT_BYTES = 8

Prepare = Callable[[Namespace, float], Awaitable[None]]
"""What is to be done before the first use of a namespace, within a deadline."""


@dataclass(frozen=True, slots=True)
class ListedNamespace:
    """A namespace that is configured, or was used."""

    name: str
    configured: bool
    partitions: int
    """0 before its first use."""
    config: NamespaceConfig


class NamespaceEngine:
    """The registry of namespaces; `state` holds it, `cache` is where their entries will live."""

    def __init__(
        self, state: Store, cache: Store, settings: Settings, prepare: Prepare | None = None
    ) -> None:
        self._known: dict[str, Namespace] = {}
        self._state = state
        self._default_partitions = cache.topology.default_partitions
        self._slot = state.slot_of(REGISTRY)
        self._prepare = prepare
        self._settings = settings

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration: each namespace is made anew at its next use."""
        self._settings = settings
        self._known.clear()

    async def resolve(self, name: str, deadline: float, *, for_records: bool = False) -> Namespace:
        """As `Namespaces.resolve`: one round trip for a name that this worker has not seen."""
        known = self._known.get(name)
        if known is not None:
            return known
        settings = self._settings
        configured = name in settings.namespaces
        if not configured:
            self._admit(name)
        config = settings.namespace(name)
        if for_records and config.origin is None:
            raise NoOrigin(name)
        wanted = config.partitions or self._default_partitions
        # HSETNX twice changes nothing, so the pair may be repeated like a read.
        request = read(
            self._slot, REGISTRY, ("HSETNX", REGISTRY, name, wanted), ("HGET", REGISTRY, name)
        )
        _, partitions = await self._state.call(request, deadline)
        namespace = Namespace(
            name=name,
            configured=configured,
            config=config,
            partitions=tuple(_partition(name, index) for index in range(int(partitions))),
            ttl_ms=milliseconds(config.ttl),
            max_ttl_ms=milliseconds(config.max_ttl),
            stale_while_revalidate_ms=milliseconds(config.stale_while_revalidate),
            grace_ms=milliseconds(max(config.stale_while_revalidate, config.stale_if_error)),
        )
        if self._prepare is not None:
            await self._prepare(namespace, deadline)
        if settings is self._settings:  # else a reload came in between, and the next use asks again
            self._known[name] = namespace
        return namespace

    async def find(self, name: str, deadline: float) -> Namespace | None:
        """As `Namespaces.find`: a round trip more than `resolve` for one that is not configured."""
        if name not in self._known and name not in self._settings.namespaces:
            if self._settings.strict_namespaces:
                raise NamespaceUnknown(name)
            [partitions] = await self._state.call(
                read(self._slot, REGISTRY, ("HGET", REGISTRY, name)), deadline
            )
            if partitions is None:
                return None
        return await self.resolve(name, deadline)

    async def deployment(self, deadline: float) -> bytes:
        """As `Namespaces.deployment`."""
        asked = read(self._slot, DEPLOYMENT, ("GET", DEPLOYMENT))
        [known] = await self._state.call(asked, deadline)
        if known is None:
            # Of several workers that make one up at the same time the first one's holds.
            made_up = randbytes(DEPLOYMENT_BYTES)
            request = read(
                self._slot,
                DEPLOYMENT,
                ("SET", DEPLOYMENT, made_up, "NX"),
                ("GET", DEPLOYMENT),
            )
            _, known = await self._state.call(request, deadline)
        return bytes(known)

    async def list(self, deadline: float) -> list[ListedNamespace]:
        """Those of the configuration and those that were ever used, by name. One round trip."""
        request = read(self._slot, REGISTRY, ("HGETALL", REGISTRY))
        [registry] = await self._state.call(request, deadline)
        used = {name.decode(): int(count) for name, count in registry.items()}
        settings = self._settings
        return [
            ListedNamespace(
                name=name,
                configured=name in settings.namespaces,
                partitions=used.get(name, 0),
                config=settings.namespace(name),
            )
            for name in sorted({*used, *settings.namespaces})
        ]

    async def take_up(self, wanted: Callable[[NamespaceConfig], bool], deadline: float) -> None:
        """Resolves those that are configured, or were ever used, and whose configuration is wanted:
        each is prepared. Raises StoreError."""
        for listed in await self.list(deadline):
            if wanted(listed.config):
                await self.resolve(listed.name, deadline)

    def _admit(self, name: str) -> None:
        if self._settings.strict_namespaces:
            raise NamespaceUnknown(name)
        bound = self._settings.max_dynamic_namespaces
        if sum(not namespace.configured for namespace in self._known.values()) >= bound:
            raise TooManyNamespaces(name, bound)


def milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _partition(name: str, index: int) -> Partition:
    tag = hash_tag(name, index)
    return Partition(tag.encode(), Store.slot_of(tag))
