"""What a path names, whatever it is."""

from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.edge.target import BadTarget, target_of
from pantler_server.servicers import validate

keys = st.text(min_size=1, max_size=200).filter(validate.is_key)


@given(keys, st.sampled_from(["", "/", "/:@!$&'()*+,;="]), st.sampled_from(["", "?", "?a/../%zz"]))
def test_a_key_comes_back_however_it_is_escaped(key: str, safe: str, query: str) -> None:
    raw = "/v1/users/" + quote(key, safe=safe) + query
    if {".", ".."} & {*key.split("/")}:
        with pytest.raises(BadTarget):
            target_of(raw)
    else:
        assert target_of(raw) == ("users", key)


@given(st.text(st.sampled_from("/.%2eE5cF0\\#?ab\xe9\x00 \udcff"), max_size=40))
def test_what_a_path_names_is_well_formed(rest: str) -> None:
    with suppress(BadTarget):
        namespace, key = target_of("/v1/" + rest)
        assert namespace.isascii()
        assert validate.is_key(key)
        assert not {".", ".."} & {*key.split("/")}
