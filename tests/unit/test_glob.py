"""Patterns of keys."""

import time

import pytest
from pantler_server.core.glob import compile_glob, redis_glob


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("user:42", ["user:42"], ["user:4", "user:422", "xuser:42"]),
        ("user:*", ["user:", "user:1", "user:1:x"], ["user", "users:1"]),
        ("*:x", [":x", "a:x", ":x:x"], ["x", "a:x1"]),
        ("a*b*c", ["abc", "aXbYc", "abbc"], ["ab", "acb"]),
        ("a*ba", ["aba", "aXbba"], ["aab", "ba"]),
        ("**", ["", "x"], []),
        ("?", ["x", "é", "🙂"], ["", "xy"]),
        ("k?*", ["k1", "k12"], ["k"]),
        ("[ab]", ["a", "b"], ["c", "ab", ""]),
        ("[^ab]", ["c", "^"], ["a", "b"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[à-ü]", ["é"], ["e"]),
        (r"[\]\-\^]", ["]", "-", "^"], ["\\"]),
        (r"\*\?\[\\", ["*?[\\"], ["xyz"]),
        ("a.b+c", ["a.b+c"], ["aXb+c", "a.bbc"]),
        ("a]", ["a]"], ["a"]),
    ],
)
def test_what_matches(pattern: str, matching: list[str], others: list[str]) -> None:
    glob = compile_glob(pattern)
    assert [key for key in (*matching, *others) if glob.matches(key)] == matching
    assert all(key.startswith(glob.prefix) for key in matching)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("user:*:x", "user:"), ("*", ""), (r"a\*b?", "a*b"), ("k[1]", "k"), ("whole", "whole")],
)
def test_the_prefix_is_what_comes_before_all_choice(pattern: str, prefix: str) -> None:
    assert compile_glob(pattern).prefix == prefix


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "must not be empty"),
        ("a[bc", "without its ]"),
        ("a[", "without its ]"),
        ("[]", "empty"),
        ("[^]", "empty"),
        ("[z-a]", "z-a"),
        ("[!a]", r"\[\^"),
        ("a\\", "backslash"),
        ("[a\\", "backslash"),
    ],
)
def test_what_is_malformed_is_said(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        compile_glob(pattern)


def test_no_pattern_takes_long() -> None:
    glob = compile_glob("*a" * 200 + "*b")
    began = time.process_time()
    assert not glob.matches("a" * 512)
    assert time.process_time() - began < 1  # a backtracking matcher would not end


def test_a_prefix_for_redis_is_taken_by_the_letter() -> None:
    assert redis_glob("a*[b]?\\^-c") == r"a\*\[b\]\?\\\^\-c*"
