"""Targets for tests, from a configuration as users write it."""

from collections.abc import Mapping
from typing import Any

from pantler_server.cdns.open import Targets
from pantler_server.core.config import Settings


def settings(**configs: Mapping[str, Any]) -> Settings:
    """Targets that wait for an answer for 2 s."""
    patient = {name: {"timeout": "2s", **config} for name, config in configs.items()}
    return Settings.model_validate({"cdn_targets": patient})


def targets(**configs: Mapping[str, Any]) -> Targets:
    """To be stopped at the end."""
    return Targets(settings(**configs))
