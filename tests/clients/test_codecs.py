"""Codecs: what goes through them comes back, and what does not is refused."""

import sys
import zlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pantler
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pantler import codecs
from pantler.codecs import Codec
from pydantic import BaseModel, Field, PrivateAttr, SecretStr, computed_field

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
msgpack_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text() | st.binary()
    | st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(st.text() | st.integers(0, 99) | st.binary(), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


class Color(Enum):
    RED = "red"
    BLUE = 2


@dataclass
class Address:
    city: str
    point: tuple[float, float] | None = None


@dataclass
class User:
    id: UUID
    name: str
    born: date
    seen: datetime
    balance: Decimal
    color: Color
    ratio: float = 0.0
    home: Address | None = None
    tags: list[str] = field(default_factory=list)
    extra: dict[str, int] = field(default_factory=dict)


class Article(BaseModel, extra="forbid"):
    article_id: int = Field(alias="articleId")
    title: str = Field(serialization_alias="headline")

    @computed_field
    def length(self) -> int:
        return len(self.title)


class Account(BaseModel):
    name: str
    limit: float | None = None
    password: SecretStr | None = None
    hidden: int = Field(default=0, exclude=True)
    extra: object = None
    owner: Address | None = None
    _seen: int = PrivateAttr(default=0)


class Premium(Account):
    bonus: int = 1


@dataclass
class Office(Address):
    floor: int = 1


@dataclass(eq=False)
class Visit:
    at: datetime
    where: list[Address]


def seen_account() -> Account:
    account = Account(name="a")
    account._seen = 1
    return account


finite = st.floats(allow_nan=False, allow_infinity=False)
users = st.builds(
    User,
    seen=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5.5))])),
    balance=st.decimals(allow_nan=False, allow_infinity=False),
    ratio=finite,
    home=st.none() | st.builds(Address, point=st.none() | st.tuples(finite, finite)),
)


def back(codec: Codec[Any], value: Any) -> Any:
    return codec.decode(codec.encode(value))


@given(st.binary())
def test_bytes_are_stored_as_they_are(value: bytes) -> None:
    assert codecs.BYTES.encode(value) == value == back(codecs.BYTES, value)


@given(st.text())
def test_text_comes_back(value: str) -> None:
    assert back(codecs.TEXT, value) == value
    assert codecs.TEXT.encode(value) == value.encode()


@given(json_values)
def test_any_value_of_json_comes_back(value: Any) -> None:
    assert back(codecs.JSON, value) == value


@given(msgpack_values)
def test_any_value_of_msgpack_comes_back(value: Any) -> None:
    assert back(codecs.MSGPACK, value) == value


@given(users)
def test_a_dataclass_comes_back(user: User) -> None:
    assert back(codecs.of(User), user) == user


@given(st.lists(users, max_size=3))
def test_a_list_of_a_dataclass_comes_back(several: list[User]) -> None:
    assert back(codecs.of(list[User]), several) == several


@given(st.integers(), st.text())
def test_a_model_comes_back_whatever_its_aliases_and_computed_fields(
    number: int, title: str
) -> None:
    article = Article(articleId=number, title=title)
    assert back(codecs.of(Article), article) == article


@given(json_values, st.integers(0, 64))
def test_what_is_compressed_comes_back(value: Any, above_bytes: int) -> None:
    codec = codecs.compressed(codecs.JSON, above_bytes=above_bytes)
    data, content_type = codecs.encoded(codec, value)
    reader = codecs.reader(codec, content_type)
    assert reader is not None
    assert reader.decode(data) == value
    assert len(data) <= len(codecs.JSON.encode(value))


def test_json_is_compact_and_readable() -> None:
    assert codecs.JSON.encode({"name": "Zoë", "n": [1, 2]}) == '{"name":"Zoë","n":[1,2]}'.encode()


def test_a_type_has_its_codec() -> None:
    assert codecs.of(bytes) is codecs.BYTES
    assert codecs.of(str) is codecs.TEXT
    assert {codecs.of(dict), codecs.of(list)} == {codecs.JSON}
    optional: Codec[int | None] = codecs.of(int | None)
    assert [back(optional, value) for value in (1, None)] == [1, None]
    assert {one.content_type for one in (optional, codecs.of(User), codecs.of(Article))} == {
        "application/json"
    }
    assert pantler.codecs.MSGPACK.content_type == "application/msgpack"


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (codecs.BYTES, "text"),
        (codecs.BYTES, None),
        (codecs.TEXT, b"bytes"),
        (codecs.TEXT, "\ud800"),
        (codecs.JSON, {1, 2}),
        (codecs.JSON, float("nan")),
        (codecs.JSON, {"a": object()}),
        (codecs.MSGPACK, object()),
        (codecs.MSGPACK, 2**64),
        (codecs.MSGPACK, datetime(2024, 1, 1)),
        (codecs.of(Address), {"city": "Rome"}),
        (codecs.of(Address), None),
        (codecs.of(Address), Address(city=5)),  # type: ignore[arg-type]
        (codecs.of(Address), Address("Rome", (float("nan"), 0.0))),
        (codecs.of(int), "5"),
    ],
)
def test_what_would_not_come_back_is_refused(codec: Codec[Any], value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        codec.encode(value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Account(name="a", limit=float("nan")), "limit"),
        (Account(name="a", limit=float("inf")), "limit"),
        (Account(name="a", password=SecretStr("p")), "password"),
        (Account(name="a", hidden=1), "hidden"),
        (Account(name="a", extra=datetime(2024, 1, 1)), "extra"),
        (Account(name="a", extra={1, 2}), "extra"),
        (Account(name="a", owner=Office("Rome")), "owner"),
        (seen_account(), "_seen"),
        (Premium(name="a"), "it"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused_and_its_place_named(
    value: Account, place: str
) -> None:
    with pytest.raises(ValueError, match=f"^{place} would be read back as something else: give"):
        codecs.of(Account).encode(value)
    assert back(codecs.of(Account), Account(name="a")) == Account(name="a")


def test_what_is_equal_to_itself_alone_comes_back_if_its_fields_do() -> None:
    # In the hour that this clock is set back no time is equal to that of another zone.
    at = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Rome"), fold=1)
    [read] = back(codecs.of(list[Visit]), [Visit(at, [Address("Rome")])])
    assert (read.at.isoformat(), read.where) == (at.isoformat(), [Address("Rome")])
    with pytest.raises(ValueError, match=r"^0\.where\.0 would be"):
        codecs.of(list[Visit]).encode([Visit(at, [Office("Rome")])])


def test_a_field_that_does_not_fit_is_named_without_its_value() -> None:
    with pytest.raises(ValueError, match=r"home\.city: ") as refused:
        codecs.of(User).decode(b'{"name":"secret","home":{"city":["secret"]}}')
    assert "secret" not in str(refused.value)


def test_what_a_codec_reads_is_said_by_the_content_type() -> None:
    small = codecs.compressed(codecs.JSON)
    zipped = 'application/zlib; content="application/json"'
    assert codecs.reader(small, zipped) is small
    assert codecs.reader(small, "application/json") is codecs.JSON
    assert codecs.reader(small, 'application/zlib; content="text/plain"') is None
    assert codecs.reader(codecs.JSON, zipped) is None
    assert codecs.reader(codecs.JSON, "application/JSON; charset=UTF-8") is codecs.JSON
    assert codecs.reader(codecs.TEXT, "text/plain") is codecs.TEXT
    assert codecs.reader(codecs.TEXT, "text/html") is None
    assert codecs.reader(codecs.JSON, "") is codecs.JSON  # stored by who says nothing
    quoted = 'application/zlib; content="text/plain; charset=utf-8"'
    assert codecs.compressed(codecs.TEXT).content_type == quoted


def test_only_what_becomes_smaller_is_compressed() -> None:
    codec = codecs.compressed(codecs.BYTES, above_bytes=100)
    assert codecs.encoded(codec, b"a" * 100) == (b"a" * 100, "application/octet-stream")
    data, content_type = codecs.encoded(codec, b"a" * 101)
    assert (len(data) < 101, content_type) == (True, codec.content_type)
    noise = zlib.compress(bytes(range(256)))
    assert codecs.encoded(codec, noise) == (noise, "application/octet-stream")
    with pytest.raises(TypeError, match="already"):
        codecs.compressed(codec)


def test_a_value_is_decompressed_up_to_the_bound_and_not_beyond() -> None:
    codec = codecs.compressed(codecs.BYTES, max_bytes=10_000)
    assert codec.decode(zlib.compress(bytes(10_000))) == bytes(10_000)
    for too_large in (10_001, 100 << 20):
        with pytest.raises(ValueError, match="10000 bytes"):
            codec.decode(zlib.compress(bytes(too_large)))
    with pytest.raises(ValueError, match="10001 bytes"):
        codec.encode(bytes(10_001))


@pytest.mark.parametrize("damage", [b"", b"x", zlib.compress(b"abc")[:-1], zlib.compress(b"") * 2])
def test_what_is_no_zlib_stream_is_refused(damage: bytes) -> None:
    with pytest.raises((ValueError, zlib.error)):
        codecs.compressed(codecs.BYTES).decode(damage)


@pytest.mark.parametrize("name", ["msgpack", "pydantic"])
def test_a_library_that_is_missing_is_named_where_it_is_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"pantler.{name}_codec", None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'pantler\[{name}\]'"):
        codecs.of(User) if name == "pydantic" else codecs.MSGPACK
