"""How long entries last."""

import random

from pantler_server.core.namespace import Namespace


def jittered_ms(space: Namespace, ttl_ms: int) -> int:
    """A ttl, shortened by the namespace's jitter, so that entries written together do not expire
    together."""
    jitter = space.config.ttl_jitter_ratio
    return max(1, ttl_ms - int(random.random() * jitter * ttl_ms)) if jitter else ttl_ms
