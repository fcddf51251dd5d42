"""Domains of Envoy in the configuration: what is taken as it is, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.config_file import load_settings
from pantler_server.core.envoy_config import EnvoyRateLimit
from pantler_server.core.errors import ConfigInvalid
from pantler_server.core.rate_limit import Algorithm, OnUnavailable, Rule

Load = Callable[[str], Settings]

DOMAIN = """rate_limits:
  api: {algorithm: gcra, limit: 100, window: 1m}
  jobs: {algorithm: concurrency, limit: 3, window: 30s}
envoy_domains:
  - domain: edge
    descriptors:
      - key: path
        value: /login
        rate_limit:
          unit: minute
          requests_per_unit: 5
        descriptors:
          - key: client
            rate_limit: {rule: api}
      - key: client
        rate_limit: {unlimited: true, name: all, replaces: [{name: each}]}
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(text: str) -> Settings:
        file = tmp_path / "pantler.yaml"
        file.write_text(text)
        return load_settings(file)

    return loaded


def problems(load: Load, text: str) -> list[str]:
    """What is wrong with a configuration, each as `line: path: message`."""
    with pytest.raises(ConfigInvalid) as refused:
        load(text)
    return [str(problem).partition("pantler.yaml:")[2] for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("changed", "to", "expected"),
    [
        ("domain: edge", "domain: ''", "5: domain: must be 1 to 128 bytes"),
        ("domain: edge", "domain: 7", "5: domain: 7 is no text: put it in quotes"),
        ("key: path", "key: ''", "7: descriptors.0.key: must not be empty"),
        ("key: path", "key: 'p*'", "7: descriptors.0.key: must have no *: that is"),
        ("value: /login", "value: 010", "8: descriptors.0.value: 8 is no text"),
        ("value: /login", "valeu: x", "8: descriptors.0.valeu: there is no such"),
        (
            "unit: minute",
            "unit: fortnight",
            "10: descriptors.0.rate_limit.unit: Input should be 'second', 'minute'",
        ),
        (
            "unit: minute",
            "name: x",
            "9: descriptors.0.rate_limit.unit: must be set, or rule, or unlimited",
        ),
        (
            "requests_per_unit: 5",
            "requests_per_unit: 0",
            "11: descriptors.0.rate_limit.requests_per_unit: must be 1 to 10000000",
        ),
        (
            "unit: minute",
            "unit: year\n          unit_multiplier: 2",
            "11: descriptors.0.rate_limit.unit_multiplier: must be set, to 1 ms to 366 days",
        ),
        (
            "unit: minute",
            "unit: minute\n          burst: 2",
            "11: descriptors.0.rate_limit.burst: is for token_bucket and gcra only",
        ),
        (
            "rule: api",
            "rule: apis",
            "14: descriptors.0.descriptors.0.rate_limit.rule: 'apis' is not under r",
        ),
        (
            "rule: api}",
            "rule: api, unit: day}",
            "14: descriptors.0.descriptors.0.rate_limit.unit: must be left out whe",
        ),
        (
            "unlimited: true",
            "unlimited: true, unit: day",
            "16: descriptors.1.rate_limit.unit: must be left out where there is unl",
        ),
        (
            "{name: each}",
            "{name: ''}",
            "16: descriptors.1.rate_limit.replaces.0.name: must not be empty",
        ),
        (
            "{name: each}",
            "{name: each}, {name: all}",
            "16: descriptors.1.rate_limit.replaces: must not have its own name, 'a",
        ),
        (
            "key: client\n        rate",
            "key: client\n        shadow_mode: true\n        rate",
            "16: descriptors.1.shadow_mode: is of use only with a limit",
        ),
        (
            "value: /login",
            "value: /login\n        share_threshold: true",
            "9: descriptors.0.share_threshold: is of use only with a value that has",
        ),
        (
            "- key: client\n        rate",
            "- key: path\n        value: /login\n        rate",
            "15: descriptors.1: has the key and value of descriptors.0 too",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(
    load: Load, changed: str, to: str, expected: str
) -> None:
    assert changed in DOMAIN
    [problem] = problems(load, DOMAIN.replace(changed, to))
    assert problem.replace("envoy_domains.0.", "")[: len(expected)] == expected


@pytest.mark.parametrize("name", ["detailed_metric", "value_to_metric", "quota_mode", "metadata"])
def test_what_only_the_reference_has_is_refused(load: Load, name: str) -> None:
    [problem] = problems(load, DOMAIN.replace("value: /login", f"{name}: true"))
    place = f"8: envoy_domains.0.descriptors.0.{name}"
    assert problem == f"{place}: is not for Pantler, which has no such thing: leave it out"


def test_two_domains_of_one_name_are_refused(load: Load) -> None:
    assert problems(load, DOMAIN + "  - domain: edge\n") == [
        "17: envoy_domains.1.domain: 'edge' is the domain of envoy_domains.0 too"
    ]


def test_a_limit_is_a_rule_of_its_own() -> None:
    said = EnvoyRateLimit.model_validate(
        {"unit": "MONTH", "requests_per_unit": 9, "on_unavailable": "open"}
    )
    assert said.own_rule("@edge", shadow=True) == Rule(
        Algorithm.FIXED_WINDOW,
        9,
        30 * 86_400_000,
        name="@edge",
        shadow=True,
        on_unavailable=OnUnavailable.OPEN,
    )
    several = {
        "unit": "second",
        "unit_multiplier": 10,
        "requests_per_unit": 9,
        "algorithm": "gcra",
        "burst": 3,
    }
    assert EnvoyRateLimit.model_validate(several).own_rule("@edge") == Rule(
        Algorithm.GCRA, 9, 10_000, 3, name="@edge"
    )


def test_domains_reach_a_worker_as_they_were_loaded(load: Load) -> None:
    loaded = load(DOMAIN)
    assert Settings.model_validate_json(loaded.to_json()).envoy_domains == loaded.envoy_domains
