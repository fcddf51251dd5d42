"""CDN targets in the configuration: what is refused, and that secrets stay hidden."""

import json
from pathlib import Path
from typing import Any

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.config_file import load_settings
from pantler_server.core.errors import ConfigInvalid
from pantler_server.engines.cdn.tag import MAX_CHARACTERS, key_tag, wire_tag
from pydantic import ValidationError

SECRET = "the-secret-of-the-test"
CLOUDFLARE = {"zone": "z1", "token": SECRET}
FASTLY = {"service": "s1", "token": SECRET}
HTTP = {"tag_url": "https://cdn.example/{tag}"}


def settings(target: dict[str, Any]) -> Settings:
    return Settings.model_validate({"cdn_targets": {"edge": target}})


def test_two_configurations_of_a_target_are_told_apart() -> None:
    tokens = [SECRET, SECRET, "another"]
    found = [
        settings({"fastly": {**FASTLY, "token": one}}).cdn_targets["edge"].fingerprint()
        for one in tokens
    ]
    assert found[0] == found[1] != found[2]
    assert all(len(one) == 16 for one in found)


@pytest.mark.parametrize(
    "target",
    [
        {"cloudflare": CLOUDFLARE},
        {"cloudflare": {**CLOUDFLARE, "account": "a", "kv_namespace": "k", "plan": "pro"}},
        {"fastly": FASTLY, "timeout": "1s", "max_requests_per_second": 0.1},
        {"varnish": {"servers": ["http://10.0.0.5:6081/", "https://[::1]"], "host": "a.example"}},
        {"http": HTTP},
        {"http": {"url_url": "http://a/", "body": '{"u": "{url}"}', "headers": {"X-Key": "a b"}}},
        {"http": {"all_url": "http://a/everything/", "method": "BAN"}},
    ],
)
def test_what_is_well_formed_is_taken(target: dict[str, Any]) -> None:
    settings(target)


@pytest.mark.parametrize(
    "target",
    [
        {},
        {"cloudflare": CLOUDFLARE, "fastly": FASTLY},
        {"cloudflare": {"zone": "z1"}},
        {"cloudflare": {**CLOUDFLARE, "zone": "../z"}},
        {"cloudflare": {**CLOUDFLARE, "token": ""}},
        {"cloudflare": {**CLOUDFLARE, "token": f"{SECRET}\r\nHost: other"}},
        {"cloudflare": {**CLOUDFLARE, "token": f" {SECRET}"}},
        {"cloudflare": {**CLOUDFLARE, "token": f"{SECRET}\u00e4"}},
        {"cloudflare": {**CLOUDFLARE, "account": "a"}},
        {"cloudflare": {**CLOUDFLARE, "plan": "large"}},
        {"cloudflare": {**CLOUDFLARE, "api": "cloudflare.example"}},
        {"fastly": {**FASTLY, "service": ""}},
        {"varnish": {"servers": []}},
        {"varnish": {"servers": ["http://a/path"]}},
        {"varnish": {"servers": ["http://a"], "host": "a\r\nb"}},
        {"http": {}},
        {"http": {"tag_url": "https://cdn.example/all"}},
        {"http": {"url_url": "https://cdn.example/", "body": "{tag}"}},
        {"http": {**HTTP, "method": "TRACE"}},
        {"http": {**HTTP, "headers": {"X Key": "a"}}},
        {"http": {**HTTP, "headers": {"X-Key": "a\nb"}}},
        {"http": {"all_url": "https://"}},
        {"http": {"all_url": "https://cdn.example:port/"}},
        {"http": HTTP, "timeout": "0s"},
        {"http": HTTP, "max_requests_per_second": 0},
    ],
    ids=lambda target: json.dumps(target)[:60],
)
def test_what_is_malformed_is_refused(target: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        settings(target)
    file = tmp_path / "pantler.yaml"
    file.write_text(json.dumps({"cdn_targets": {"edge": target}}))
    with pytest.raises(ConfigInvalid) as refused:
        load_settings(file)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("target", "cdn", "why"),
    [
        ({"url_url": "http://a/{url}"}, {}, "the namespace no cdn.urls"),
        ({"all_url": "http://a/"}, {"urls": ["https://shop.example/{key}"]}, "no http.url_url"),
    ],
)
def test_a_target_that_a_namespace_would_never_purge_is_refused(
    target: dict[str, Any], cdn: dict[str, Any], why: str, tmp_path: Path
) -> None:
    document = {
        "cdn_targets": {"edge": {"http": target}},
        "namespaces": {"shop": {"cdn": {"targets": ["edge"], **cdn}}},
    }
    file = tmp_path / "pantler.yaml"
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigInvalid) as refused:
        load_settings(file)
    [problem] = refused.value.problems
    assert problem.path == "namespaces.shop.cdn.targets.0"
    said = "'edge' would never be purged: it has no http.tag_url, and "
    assert problem.message == said + why


MESSAGES: list[tuple[dict[str, Any], str, str]] = [
    ({"varnish": {"servers": []}}, "varnish.servers", "must be a list of at least 1"),
    ({"varnish": {"servers": "http://a"}}, "varnish.servers", "must be a list"),
    ({"http": HTTP, "timeout": "0s"}, "timeout", "must be at least 1ms (it is 0s)"),
    ({"http": HTTP, "timeout": "1h"}, "timeout", "must be at most 5m (it is 1h)"),
    *(
        (
            {"http": {**HTTP, "headers": {name: "a"}}},
            f"http.headers.{name}",
            "is made of the request: leave it out",
        )
        for name in ("Host", "content-length", "Transfer-Encoding", "CONNECTION")
    ),
]


@pytest.mark.parametrize(("target", "path", "message"), MESSAGES)
def test_what_is_wrong_with_a_target_is_said(
    target: dict[str, Any], path: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "pantler.yaml"
    file.write_text(json.dumps({"cdn_targets": {"edge": target}}))
    with pytest.raises(ConfigInvalid) as refused:
        load_settings(file)
    [problem] = refused.value.problems
    assert (problem.path, problem.message) == (f"cdn_targets.edge.{path}", message)


URL = "https://shop.example/"


@pytest.mark.parametrize(
    ("cdn", "place", "message"),
    [
        ({"targets": ["edge", "edge"]}, "targets.1", "'edge' stands here twice"),
        ({"urls": [URL]}, "urls.0", "must have {key} in its path or query"),
        ({"urls": [f"{URL}#{{key}}"]}, "urls.0", "must have {key} in its path or query"),
        ({"urls": [URL + "{key}/{name}/{}"]}, "urls.0", "has {name}, {}: only {key} is filled in"),
        ({"urls": ["https://{key}.shop.example/"]}, "urls.0", "must name a host as it is"),
        ({"urls": ["https://shop.example?{key}", "https://{key}?{key}"]}, "urls.1", "a host as"),
        ({"urls": ["https://u:the-secret@shop.example/{key}"]}, "urls.0", "without a user"),
        ({"urls": ["https://shop.example\\@evil.example/{key}"]}, "urls.0", "without a user"),
    ],
)
def test_what_is_wrong_with_the_cdn_of_a_namespace_is_said(
    cdn: dict[str, Any], place: str, message: str, tmp_path: Path
) -> None:
    document = {
        "cdn_targets": {"edge": {"http": HTTP}},
        "namespaces": {"shop": {"cdn": {"targets": ["edge"], **cdn}}},
    }
    file = tmp_path / "pantler.yaml"
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigInvalid) as refused:
        load_settings(file)
    [problem] = refused.value.problems
    assert problem.path == f"namespaces.shop.cdn.{place}"
    assert message in problem.message
    assert "the-secret" not in problem.message


def test_a_target_of_urls_serves_a_namespace_with_urls() -> None:
    Settings.model_validate(
        {
            "cdn_targets": {"edge": {"http": {"url_url": "http://a/{url}"}}},
            "namespaces": {
                "shop": {"cdn": {"targets": ["edge"], "urls": ["https://shop.example/{key}"]}}
            },
        }
    )


def test_secrets_are_hidden_but_from_our_own_processes() -> None:
    for target in (
        {"cloudflare": CLOUDFLARE},
        {"fastly": FASTLY},
        {"http": {**HTTP, "headers": {"Authorization": f"Bearer {SECRET}"}}},
    ):
        read = settings(target)
        assert SECRET not in repr(read)
        assert SECRET not in read.model_dump_json()
        assert SECRET in read.to_json()
        assert Settings.model_validate_json(read.to_json()) == read


def test_a_slash_at_the_end_stays_where_it_means_something() -> None:
    read = settings({"http": {"all_url": "https://cdn.example/all/"}})
    http = read.cdn_targets["edge"].http
    assert http is not None
    assert http.all_url == "https://cdn.example/all/"
    cloudflare = settings({"cloudflare": {**CLOUDFLARE, "api": "https://a.example/v4/"}})
    assert cloudflare.cdn_targets["edge"].cloudflare is not None
    assert cloudflare.cdn_targets["edge"].cloudflare.api == "https://a.example/v4"


def test_no_tag_is_longer_than_vendors_take() -> None:
    assert len(wire_tag("\u00e4" * 128)) <= MAX_CHARACTERS
    keys = ["k" * 512, "\u00e4" * 256, "\u20ac" * 170, "\u20ac" * 169 + "\u00e4", "%" * 512]
    tags = [key_tag("n" * 63, key) for key in keys]
    assert max(map(len, tags)) <= MAX_CHARACTERS
    assert len(set(tags)) == len(keys)
    assert all("#" not in key_tag("n", key) for key in ("#", "a#b", "k" * 512))
