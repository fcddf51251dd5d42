"""Headers from policies: what each says, and that nothing gets into one that must not."""

import re
import time
from collections.abc import Mapping
from dataclasses import fields

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.core.cdn_config import HEADER_NAME, HttpPolicy
from pantler_server.engines.cdn import headers
from pantler_server.engines.cdn.entry_headers import EntryHeaders
from pantler_server.engines.cdn.model import CachePolicy
from pantler_server.engines.cdn.tag import key_tag, namespace_tag, wire_tag
from pydantic import ValidationError
from werkzeug.datastructures import ResponseCacheControl
from werkzeug.http import parse_cache_control_header, parse_date, parse_etags

NOW_US = 1_800_000_000_000_000
SECOND_US = 1_000_000

seconds = st.none() | st.integers(0, 315_360_000)
names = st.from_regex(re.compile(HEADER_NAME.replace("128", "20"), re.ASCII), fullmatch=True)
policies = st.builds(
    CachePolicy,
    private=st.booleans(),
    max_age_s=seconds,
    s_maxage_s=seconds,
    cdn_max_age_s=seconds,
    immutable=st.booleans(),
    must_revalidate=st.booleans(),
    stale_while_revalidate_s=seconds,
    stale_if_error_s=seconds,
    no_store=st.booleans(),
    vary=st.lists(names, max_size=16).map(tuple),
)
tags = st.lists(st.text(min_size=1, max_size=64), max_size=8, unique=True)


def parsed(control: str) -> ResponseCacheControl:
    return parse_cache_control_header(control, cls=ResponseCacheControl)


@given(policies, st.none() | st.binary(max_size=64), st.booleans(), seconds, tags)
def test_headers_say_what_the_policy_says_and_nothing_else(
    policy: CachePolicy,
    content: bytes | None,
    weak: bool,
    changed_s: int | None,
    said: list[str],
) -> None:
    etag = "" if content is None else headers.content_etag(content, weak=weak)
    made = headers.build(policy, etag, changed_s, said)
    for name, value in made.items():
        assert re.fullmatch(r"[A-Za-z-]+", name)
        assert re.fullmatch(r"[!-~]([ -~]*[!-~])?", value)
    control = parsed(made["Cache-Control"])
    assert bool(control.private) is policy.private
    assert control.public is not (policy.private or policy.no_store)
    assert control.max_age == policy.max_age_s
    assert control.s_maxage == policy.s_maxage_s
    assert control.immutable is policy.immutable
    assert control.must_revalidate is policy.must_revalidate
    assert control.stale_while_revalidate == policy.stale_while_revalidate_s
    assert control.stale_if_error == policy.stale_if_error_s
    assert control.no_store is policy.no_store
    assert ("CDN-Cache-Control" in made) is (policy.cdn_max_age_s is not None)
    if policy.cdn_max_age_s is not None:
        members = http_sf.parse(made["CDN-Cache-Control"].encode(), tltype="dictionary")
        assert isinstance(members, dict)
        assert members.pop("max-age") == (policy.cdn_max_age_s, {})
        assert members.pop("must-revalidate", (False, {})) == (policy.must_revalidate, {})
        for name in ("stale_while_revalidate", "stale_if_error"):
            meant = getattr(policy, f"{name}_s")
            assert members.pop(name.replace("_", "-"), (None, {})) == (meant, {})
        assert not members
    assert tuple(filter(None, made.get("Vary", "").split(", "))) == policy.vary
    assert ("ETag" in made) is (content is not None)
    if content is not None:
        [opaque] = parse_etags(made["ETag"]).as_set(include_weak=True)
        assert made["ETag"] == ('W/"' if weak else '"') + opaque + '"'
    assert ("Last-Modified" in made) is (changed_s is not None)
    if changed_s is not None:
        moment = parse_date(made["Last-Modified"])
        assert moment is not None
        assert moment.timestamp() == changed_s
    assert made.get("Cache-Tag", "").split(",") == [wire_tag(tag) for tag in said] or not said
    assert made.get("Surrogate-Key", "").split() == [wire_tag(tag) for tag in said]
    assert made.get("xkey") == made.get("Surrogate-Key")


@given(st.text(min_size=1), st.text(min_size=1))
def test_tags_stay_apart_and_fit_a_header(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._~:/@!$&'()*+;=%-]+", wire_tag(one))
    assert (wire_tag(one) == wire_tag(other)) is (one == other)
    assert key_tag("users", one) == wire_tag(f"pantler:users/{one}")
    assert namespace_tag("users") == "pantler:users"


def test_the_same_content_has_the_same_etag() -> None:
    assert headers.content_etag(b"a") == headers.content_etag(b"a") != headers.content_etag(b"b")
    assert headers.content_etag(b"a", weak=True) == "W/" + headers.content_etag(b"a")


@pytest.mark.parametrize(
    ("said", "weak", "sent"),
    [
        ("abc", False, '"abc"'),
        ('"abc"', False, '"abc"'),
        ('W/"abc"', False, 'W/"abc"'),
        ("abc", True, 'W/"abc"'),
        ('W/"abc"', True, 'W/"abc"'),
        ("a,b", False, '"a,b"'),
        ("*", False, '"*"'),
    ],
)
def test_an_etag_is_quoted(said: str, weak: bool, sent: str) -> None:
    assert headers.etag_of(said, weak=weak) == sent


@pytest.mark.parametrize("said", ["", '""', 'a"b', "a b", "é", "a\r\nb", '"abc', "a\x7f", "\t"])
def test_what_can_be_no_etag_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"printable ASCII|invalid etag"):
        headers.etag_of(said)


def test_a_change_that_is_to_come_is_told_as_now() -> None:
    told = headers.build(None, last_modified_s=time.time() + 3600)["Last-Modified"]
    moment = parse_date(told)
    assert moment is not None
    assert abs(moment.timestamp() - time.time()) < 5


def test_a_namespaces_policy_has_all_fields_of_one() -> None:
    http = HttpPolicy.model_validate(
        {
            "max_age": "1500ms",
            "s_maxage": "2s",
            "cdn_max_age": "3s",
            "immutable": True,
            "must_revalidate": True,
            "stale_while_revalidate": "4s",
            "stale_if_error": "5s",
            "vary": ["Accept", "*"],
        }
    )
    policy = CachePolicy.of(http)
    assert policy == CachePolicy(False, 1, 2, 3, True, True, 4, 5, False, ("Accept", "*"))
    unset = {field.name for field in fields(policy) if not getattr(policy, field.name)}
    assert unset == {"private", "no_store"}


@pytest.mark.parametrize("name", ["", "a b", "a,b", "é", "a:", "x" * 129, "a\r\nb", "a\n"])
def test_vary_takes_names_of_headers(name: str) -> None:
    with pytest.raises(ValidationError):
        HttpPolicy.model_validate({"vary": [name]})


def entry(
    http: Mapping[str, object],
    age_s: float = 0,
    lifetime_s: float = 100,
    tags: tuple[str, ...] = (),
    *,
    stale: bool = False,
    tagged: bool = False,
) -> dict[str, str]:
    of = EntryHeaders("users", HttpPolicy.model_validate(http), tagged=tagged)
    created_us = NOW_US - int(age_s * SECOND_US)
    expires_us = created_us + int(lifetime_s * SECOND_US)
    return of.of_entry("k é", created_us, expires_us, tags, NOW_US, stale=stale)


def lifetimes(made: dict[str, str]) -> tuple[str, int | None, int | None, str | None]:
    control = parsed(made["Cache-Control"])
    return made["Age"], control.max_age, control.s_maxage, made.get("CDN-Cache-Control")


@pytest.mark.parametrize(
    ("http", "age_s", "told"),
    [
        ({}, 0, ("0", 100, None, None)),
        ({}, 40.9, ("40", 100, None, None)),
        ({"max_age": "10s"}, 0, ("0", 10, None, None)),
        ({"max_age": "10s"}, 40, ("40", 50, None, None)),
        ({"max_age": "10s"}, 95, ("95", 100, None, None)),
        ({"max_age": "200s"}, 0, ("0", 100, None, None)),
        (
            {"max_age": "0s", "s_maxage": "20s", "cdn_max_age": "30s"},
            75,
            ("75", 75, 95, "max-age=100"),
        ),
        ({"max_age": "10s"}, -3, ("0", 10, None, None)),
    ],
)
def test_a_response_is_fresh_for_as_long_as_the_policy_says_and_the_entry_lives(
    http: dict[str, object], age_s: float, told: tuple[str, int, int | None, str | None]
) -> None:
    assert lifetimes(entry(http, age_s)) == told


def test_a_stale_entry_is_given_with_nothing_left() -> None:
    http = {"max_age": "10s", "s_maxage": "20s", "cdn_max_age": "30s"}
    assert lifetimes(entry(http, 130, stale=True)) == ("130", 130, 130, "max-age=130")
    assert lifetimes(entry({}, 50, stale=True)) == ("50", 50, None, None)


def test_an_entry_has_its_tags_and_with_a_cdn_those_of_its_key_and_namespace() -> None:
    assert not {"Cache-Tag", "Surrogate-Key", "xkey"} & entry({}).keys()
    plain = entry({}, tags=("a", "b c"))
    assert (plain["Cache-Tag"], plain["xkey"]) == ("a,b%20c", "a b%20c")
    tagged = entry({}, tags=("a",), tagged=True)
    assert tagged["xkey"] == "pantler:users pantler:users/k%20%C3%A9 a"
    assert tagged["Cache-Tag"] == "pantler:users,pantler:users/k%20%C3%A9,a"


@pytest.mark.parametrize("tagged", [False, True])
def test_what_has_more_tags_than_fit_is_not_to_be_kept(tagged: bool) -> None:
    many = tuple(f"{number:02}" + "é" * 127 for number in range(11))
    made = entry({"cdn_max_age": "30s", "vary": ["Accept"]}, tags=many, tagged=tagged)
    assert made == {"Vary": "Accept", "Cache-Control": "no-store", "Age": "0"}
    assert "xkey" in entry({}, tags=many[:10], tagged=tagged)


def test_the_longest_tags_that_fit_are_told() -> None:
    fitting = ("a" * 4000, "b" * 3999)
    assert len(entry({}, tags=fitting)["xkey"]) == 8000
    assert "xkey" not in entry({}, tags=(*fitting, ""))


def test_what_nobody_may_keep_says_no_more() -> None:
    assert entry({"no_store": True}, tags=("a",), tagged=True) == {
        "Cache-Control": "no-store",
        "Age": "0",
    }
    private = {"no_store": True, "visibility": "private"}
    assert entry(private)["Cache-Control"] == "private, no-store"


def test_that_there_is_no_entry_may_be_kept_for_a_time_of_its_own() -> None:
    def told(tagged: bool = False, **http: object) -> dict[str, str]:
        of = EntryHeaders("users", HttpPolicy.model_validate(http), tagged=tagged)
        return dict(of.not_found("k"))

    assert told() == {"Cache-Control": "public, max-age=5"}
    assert told(not_found_max_age="1m", max_age="2m", visibility="private", vary=["Accept"]) == {
        "Cache-Control": "private, max-age=60",
        "Vary": "Accept",
    }
    assert told(no_store=True, tagged=True) == {"Cache-Control": "no-store"}
    assert told(tagged=True)["xkey"] == "pantler:users pantler:users/k"
