"""The CDN targets of a worker, as the configuration has them."""

from pantler_server.cdns.cloudflare import Cloudflare, WorkersKv
from pantler_server.cdns.fastly import Fastly
from pantler_server.cdns.http import Session
from pantler_server.cdns.http_template import HttpTemplate
from pantler_server.cdns.target import EdgeStore, Target
from pantler_server.cdns.varnish import Varnish
from pantler_server.core.cdn_config import CdnTarget
from pantler_server.core.config import Settings
from pantler_server.core.errors import CdnTargetUnknown, NoEdgeStore


class Targets:
    """Each is made when it is first asked for, and opens no connection before it is used. `stop` at
    the end; `apply` in between, on a reload."""

    def __init__(self, settings: Settings) -> None:
        self._configs = settings.cdn_targets
        self._session = Session()
        self._targets: dict[str, Target] = {}
        self._edge_stores: dict[str, EdgeStore] = {}

    def names(self) -> tuple[str, ...]:
        """In the order of the configuration."""
        return tuple(self._configs)

    def of(self, name: str) -> Target:
        """Raises CdnTargetUnknown."""
        target = self._targets.get(name)
        if target is None:
            target = self._targets[name] = _target(self._config(name), self._session)
        return target

    def edge_store(self, name: str) -> EdgeStore:
        """Raises CdnTargetUnknown, and NoEdgeStore if the target has none."""
        store = self._edge_stores.get(name)
        if store is None:
            config = self._config(name)
            cloudflare = config.cloudflare
            if cloudflare is None or cloudflare.kv_namespace is None:
                raise NoEdgeStore(name)
            store = self._edge_stores[name] = WorkersKv(config, cloudflare, self._session)
        return store

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration. A target that is configured as before stays what it
        is; who has one that is not may finish with it."""
        before, self._configs = self._configs, settings.cdn_targets
        for name, config in before.items():
            if self._configs.get(name) != config:
                self._targets.pop(name, None)
                self._edge_stores.pop(name, None)

    async def stop(self) -> None:
        """Requests under way fail, and later ones too."""
        await self._session.close()

    def _config(self, name: str) -> CdnTarget:
        config = self._configs.get(name)
        if config is None:
            raise CdnTargetUnknown(name)
        return config


def _target(config: CdnTarget, session: Session) -> Target:
    if config.cloudflare is not None:
        return Cloudflare(config, config.cloudflare, session)
    if config.fastly is not None:
        return Fastly(config, config.fastly, session)
    if config.varnish is not None:
        return Varnish(config, config.varnish, session)
    assert config.http is not None
    return HttpTemplate(config, config.http, session)
