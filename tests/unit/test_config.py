"""The configuration: where settings come from, and what is said of wrong ones."""

from pathlib import Path

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.config_file import load_settings
from pantler_server.core.duration import parse_duration
from pantler_server.core.errors import ConfigInvalid
from pantler_server.core.origin_config import WarmConfig
from pantler_server.core.redis_config import Topology


@pytest.fixture
def problems(tmp_path: Path):  # type: ignore[no-untyped-def]
    """What is wrong with a text, each as `line: path: message`."""

    def said(text: str) -> list[str]:
        file = tmp_path / "pantler.yaml"
        file.write_text(text)
        with pytest.raises(ConfigInvalid) as refused:
            load_settings(file)
        return [str(problem).removeprefix(f"{file}:") for problem in refused.value.problems]

    return said


def test_everything_has_a_default() -> None:
    settings = load_settings(None)
    assert settings.listen == "127.0.0.1:50051"
    assert settings.redis.topology is Topology.EMBEDDED


def test_the_command_line_wins_over_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pantler.yaml"
    file.write_text("workers: 2\nlisten: 127.0.0.1:1\nhttp_listen: 127.0.0.1:2\n")
    monkeypatch.setenv("PANTLER_LISTEN", "127.0.0.1:3")
    monkeypatch.setenv("PANTLER_HTTP_LISTEN", "127.0.0.1:4")
    settings = load_settings(file, {"http_listen": "127.0.0.1:5"})
    assert settings.workers == 2
    assert settings.listen == "127.0.0.1:3"
    assert settings.http_listen == "127.0.0.1:5"


def test_nested_settings_of_all_sources_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pantler.yaml"
    file.write_text("redis: {url: 'redis://here', connections: 3}\n")
    monkeypatch.setenv("PANTLER_REDIS__PASSWORD", "secret")
    settings = load_settings(file, {"redis": {"connect_timeout": "9s"}})
    assert settings.redis.url == "redis://here"
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "secret"
    assert settings.redis.connect_timeout == parse_duration("9s")


def test_a_namespace_takes_from_the_defaults_what_it_leaves_out(tmp_path: Path) -> None:
    file = tmp_path / "pantler.yaml"
    file.write_text(
        "namespace_defaults: {ttl: 5m, ttl_jitter_ratio: 0.1}\nnamespaces: {users: {ttl: 1m}}\n"
    )
    loaded = load_settings(file)
    for settings in (loaded, Settings.model_validate_json(loaded.to_json())):
        assert settings.namespace("users").ttl == parse_duration("1m")
        assert settings.namespace("users").ttl_jitter_ratio == 0.1
        assert settings.namespace("unnamed").ttl == parse_duration("5m")


def test_boards_counters_and_channels_must_hold_together(problems) -> None:  # type: ignore[no-untyped-def]
    assert problems(
        "namespaces:\n"
        "  games:\n"
        "    boards:\n"
        "      'c[': {}\n"
        "  a: {boards: {race: {retention: 1d, time_zone: UTC}}}\n"
        "  b: {boards: {race: {period: hour, retention: 99d}}}\n"
        "  c: {channels: {history: true}}\n"
    ) == [
        "4: namespaces.games.boards.c[: has a [ without its ]: write \\[ for the character itself",
        "5: namespaces.a.boards.race.retention: is of use only with period",
        "5: namespaces.a.boards.race.time_zone: is of use only with period",
        "6: namespaces.b.boards.race.retention: would keep more than 1000 periods",
        "7: namespaces.c.channels.history: must be a mapping of settings to values",
    ]
    [problem] = problems("namespaces: {a: {counter_ttl: 2h, max_ttl: 90m}}\n")
    assert "namespaces.a.counter_ttl is longer than its max_ttl" in problem


def test_every_problem_is_said_with_its_line(problems) -> None:  # type: ignore[no-untyped-def]
    not_a_number = "Input should be a valid integer, unable to parse string as an integer"
    assert problems("workers: many\nlog:\n  level: loud\nnamespaces:\n  users: {ttl: 5}\n") == [
        f"1: workers: {not_a_number} (it is 'many')",
        "3: log.level: Input should be 'debug', 'info', 'warning' or 'error' (it is 'loud')",
    ]


TABLE = "origin: {sql: {url: 'sqlite:////tmp/a.db', table: a}}"


def test_what_is_wrong_with_records_is_said_with_its_line(problems) -> None:  # type: ignore[no-untyped-def]
    assert problems(
        "namespaces:\n"
        "  a:\n"
        f"    {TABLE}\n"
        "    write_behind: {batch_size: 1000000, interval: 2h}\n"
        "    hot_keys: {sample_ratio: 0}\n"
        "    warm: {source: query, query: 'DELETE FROM t'}\n"
    ) == [
        "4: namespaces.a.write_behind.interval: must be at most 1h (it is 2h)",
        "4: namespaces.a.write_behind.batch_size: must be at most 10000 (it is 1000000)",
        "6: namespaces.a.warm.query: must be a SELECT: begin with SELECT, WITH, VALUES or TABLE",
        "5: namespaces.a.hot_keys.sample_ratio: must be more than 0.0 (it is 0)",
    ]
    for query in (" select id FROM a", "WITH b AS (SELECT 1) TABLE b", "VALUES (1)", "TABLE a"):
        WarmConfig.model_validate({"source": "query", "query": query})


def test_what_needs_an_origin_is_said_with_its_line(problems) -> None:  # type: ignore[no-untyped-def]
    assert problems("namespaces:\n  a:\n    writes: behind\n    warm: {at_start: true}\n") == [
        "3: namespaces.a.writes: is behind, but there is no origin to write to",
        "4: namespaces.a.warm: has no origin to load from",
    ]
    assert problems("namespace_defaults: {writes: behind}\n") == [
        "1: namespace_defaults.writes: is behind, but there is no origin to write to"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c", "1: is not YAML: mapping values are not allowed here"),
        ("- a", "1: must be a mapping of settings to values"),
        ("workers: 1\nworkers: 2", "2: workers: stands here and in line 1"),
        ("listen: nowhere", "1: listen: 'nowhere' is not host:port, such as 127.0.0.1:50051 or"),
        ("redis: {url: 'http://x'}", "1: redis: url must start with redis://, rediss:// or unix"),
        (
            "redis: {url: 'redis://x', cluster: {nodes: ['x:1']}}",
            "1: redis: give one of url and cluster, not both",
        ),
        ("redis:\n  embedded: {eviction_policy: allkeys-lru}", "2: redis.embedded.eviction_policy"),
        ("namespaces: {Users: {}}", "namespace 'Users' does not match"),
        ("namespaces: {users: {ttl: 31d}}", "namespaces.users.ttl is longer than its max_ttl"),
        ("max_message_bytes: 1MiB", "namespace_defaults.max_value_bytes must leave 64 KiB"),
    ],
)
def test_what_is_wrong_is_said_clearly(problems, text: str, expected: str) -> None:  # type: ignore[no-untyped-def]
    assert expected in problems(text)[0]


def test_a_variable_that_no_setting_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANTLER_WORKRS", "2")
    with pytest.raises(ConfigInvalid, match="environment PANTLER_WORKRS: there is no such setting"):
        load_settings(None)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANTLER_REDIS__COMMAND_TIMEOUT", "soon")
    with pytest.raises(ConfigInvalid, match="environment PANTLER_REDIS__COMMAND_TIMEOUT"):
        load_settings(None)


def test_passwords_are_not_shown() -> None:
    settings = Settings.model_validate(
        {"redis": {"url": "redis://user:hidden@host/0", "password": "hidden"}}
    )
    assert "hidden" not in settings.model_dump_json()
    assert "hidden" in settings.to_json()
