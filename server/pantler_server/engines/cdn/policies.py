"""The policies of namespaces, as the configuration has them."""

from pantler_server.core.config import Settings
from pantler_server.core.errors import NamespaceUnknown, NoHttp
from pantler_server.engines.cdn.model import CachePolicy


class Policies:
    """No namespace is created by asking for its policy."""

    def __init__(self, settings: Settings) -> None:
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration."""
        self._settings = settings

    def of(self, namespace: str) -> CachePolicy:
        """Raises NamespaceUnknown if there is none of this name, NoHttp if it has no policy."""
        settings = self._settings
        if settings.strict_namespaces and namespace not in settings.namespaces:
            raise NamespaceUnknown(namespace)
        http = settings.namespace(namespace).http
        if http is None:
            raise NoHttp(namespace)
        return CachePolicy.of(http)
