"""Which limit a descriptor meets, and what is counted."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.core.envoy_config import EnvoyDescriptor, EnvoyDomain, EnvoyRateLimit
from pantler_server.engines.rate_limit.descriptors import Bound, Entries, Found, Node, replaced

TREE = """
domain: edge
descriptors:
  - key: key-only
    rate_limit: {unlimited: true}
  - key: path
    value: /login
    rate_limit: {unlimited: true}
    descriptors:
      - key: client
        rate_limit: {unlimited: true}
      - key: client
        value: friend
  - {key: path, value: "/files/*", share_threshold: true, rate_limit: {unlimited: true}}
  - {key: path, value: "/f*", rate_limit: {unlimited: true}}
  - {key: path, value: "*/a*b/*c", rate_limit: {unlimited: true}}
  - key: path
    rate_limit: {unlimited: true}
    descriptors:
      - key: only-below-any
        rate_limit: {unlimited: true}
  - key: tenant
    value: "t-*"
    share_threshold: true
    descriptors:
      - key: client
        rate_limit: {unlimited: true}
"""
UNLIMITED = EnvoyRateLimit(unlimited=True)


def make(one: EnvoyDescriptor, path: str) -> Bound | None:
    """Limits that are known by their paths."""
    return Bound(None, path, frozenset()) if one.rate_limit is not None else None


def tree(text: str) -> Node:
    domain = EnvoyDomain.model_validate(yaml.safe_load(text))
    return Node(domain.domain, domain.descriptors, make)


EDGE = tree(TREE)


@pytest.mark.parametrize(
    ("entries", "name", "subject"),
    [
        # A key alone is for any value, and counts each apart.
        ([("key-only", "a")], "edge.key-only", '[["key-only","a"]]'),
        ([("key-only", "")], "edge.key-only", '[["key-only",""]]'),
        # The value first, then patterns in their order, then the key alone.
        ([("path", "/login")], "edge.path_/login", '[["path","/login"]]'),
        ([("path", "/files/x")], "edge.path_/files/*", '[["path","/files/*",true]]'),
        ([("path", "/fil")], "edge.path_/f*", '[["path","/fil"]]'),
        ([("path", "/about")], "edge.path", '[["path","/about"]]'),
        # A * is for any characters, none too, wherever it stands.
        ([("path", "/files/")], "edge.path_/files/*", '[["path","/files/*",true]]'),
        ([("path", "x/a-b/c")], "edge.path_*/a*b/*c", '[["path","x/a-b/c"]]'),
        ([("path", "/ab/c")], "edge.path_*/a*b/*c", '[["path","/ab/c"]]'),
        ([("path", "/ab/d")], "edge.path", '[["path","/ab/d"]]'),
        ([("path", "/a/c")], "edge.path", '[["path","/a/c"]]'),
        # The last entry counts, and nothing is handed down.
        (
            [("path", "/login"), ("client", "al")],
            "edge.path_/login.client",
            '[["path","/login"],["client","al"]]',
        ),
        ([("path", "/login"), ("client", "friend")], None, ""),
        ([("path", "/login"), ("client", "al"), ("x", "y")], None, ""),
        ([("path", "/login"), ("other", "al")], None, ""),
        ([("tenant", "t-1")], None, ""),
        # What was taken first is not gone back on.
        ([("path", "/login"), ("only-below-any", "a")], None, ""),
        (
            [("path", "/x"), ("only-below-any", "a")],
            "edge.path.only-below-any",
            '[["path","/x"],["only-below-any","a"]]',
        ),
        # What is shared above the limit is shared in what it counts.
        (
            [("tenant", "t-1"), ("client", "al")],
            "edge.tenant_t-*.client",
            '[["tenant","t-*",true],["client","al"]]',
        ),
        # A value that looks like a pattern.
        ([("path", "/f*")], "edge.path_/f*", '[["path","/f*"]]'),
        # Another order, another descriptor; other keys, no limit.
        ([("client", "al"), ("path", "/login")], None, ""),
        ([("key", "only")], None, ""),
        ([("PATH", "/login")], None, ""),
    ],
)
def test_a_descriptor_meets_one_limit_or_none(
    entries: Entries, name: str | None, subject: str
) -> None:
    found = EDGE.find(entries)
    if name is None:
        assert found is None
    else:
        assert found is not None
        assert (found.bound.name, found.subject) == (name, subject)


def test_the_first_pattern_of_the_configuration_is_taken() -> None:
    text = """{domain: d, descriptors: [
        {key: k, value: "FIRST", rate_limit: {unlimited: true}},
        {key: k, value: "SECOND", rate_limit: {unlimited: true}}]}"""
    for first, second, name in (("*", "a*", "d.k_*"), ("a*", "*", "d.k_a*")):
        found = tree(text.replace("FIRST", first).replace("SECOND", second)).find([("k", "ab")])
        assert found is not None
        assert found.bound.name == name


def test_parts_of_a_pattern_do_not_overlap() -> None:
    text = '{domain: d, descriptors: [{key: k, value: "%s", rate_limit: {unlimited: true}}]}'
    assert tree(text % "ab*ba").find([("k", "aba")]) is None
    assert tree(text % "a*bc*c").find([("k", "abc")]) is None
    assert tree(text % "a*b*b*c").find([("k", "abc")]) is None
    assert tree(text % "a*b*b*c").find([("k", "abbc")]) is not None


@given(pattern=st.text("ab*", max_size=8), value=st.text("ab", max_size=8))
def test_a_star_is_any_characters(pattern: str, value: str) -> None:
    for whole in (f"*{pattern}", f"a{pattern}*b"):
        config = EnvoyDescriptor(key="k", value=whole, rate_limit=UNLIMITED)
        found = Node("d", [config], make).find([("k", value)])
        assert (found is not None) == bool(re.fullmatch(whole.replace("*", ".*"), value))


def test_what_is_counted_is_hashed_where_it_is_long() -> None:
    subjects = set()
    for length in (10, 230, 240, 5000):
        for value in ("ö" * (length // 2), "x" * length):
            found = EDGE.find([("key-only", value)])
            assert found is not None
            assert len(found.subject.encode()) <= 256
            subjects.add(found.subject)
    assert len(subjects) == 8


def met(name: str, *replaces: str) -> Found:
    return Found(Bound(None, name, frozenset(replaces)), name)


@pytest.mark.parametrize(
    ("found", "left"),
    [
        ([met("a"), met("b", "a")], [None, "b"]),
        ([met("b", "a"), met("a"), met("a")], ["b", None, None]),
        ([met("a", "b"), met("b", "a")], [None, None]),
        ([met("a", "b"), met("b", "c"), met("c")], ["a", None, None]),
        ([met(""), None, met("x", "y")], ["", None, "x"]),
    ],
)
def test_what_another_one_replaces_is_dropped(found: Any, left: list[str | None]) -> None:
    assert [one and one.bound.name for one in replaced(found)] == left
