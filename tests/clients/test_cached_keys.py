"""Functions whose results are kept: the keys of their calls, and what makes none."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from typing import Any
from uuid import UUID

import pantler
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pantler import codecs

unused = pantler.AsyncClient().namespace("unused", codec=codecs.JSON)  # of no server: keys only


class Color(Enum):
    RED = "red"
    BLUE = 2


class Level(IntEnum):
    LOW = 1


class Access(Flag):
    READ = 1
    WRITE = 2


class Name(str):
    pass


class Number(int):
    pass


@dataclass
class User:
    id: int


scalars = (
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.uuids() | st.dates()
    | st.datetimes() | st.datetimes(timezones=st.just(UTC))
    | st.text().map(Name) | st.integers().map(Number)
    | st.sampled_from([*Color, *Level, *Access, Access(3), Access(0)])
)  # fmt: skip
calls = st.tuples(
    scalars, scalars, st.lists(scalars, max_size=3), st.dictionaries(st.text(), scalars, max_size=3)
)


@unused.cached()
async def anything(a: Any, b: Any = None, *args: Any, **kwargs: Any) -> Any: ...


def key_of(call: Any) -> str:
    a, b, args, kwargs = call
    return anything.key(a, b, *args, **{f"k{name}": value for name, value in kwargs.items()})


def exactly(value: Any) -> Any:
    """1, True and Level.LOW are equal, and not the same."""
    match value:
        case list() | tuple():
            return [exactly(one) for one in value]
        case dict():
            return {key: exactly(one) for key, one in value.items()}
    return (type(value), value)


@given(calls, calls)
def test_two_calls_have_one_key_only_if_their_arguments_are_the_same(one: Any, other: Any) -> None:
    assert (key_of(one) == key_of(other)) == (exactly(one) == exactly(other))
    for call in (one, other):
        assert 0 < len(key_of(call).encode()) <= 512
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in key_of(call))


tricky = st.text(alphabet="a:%2/3A", max_size=4)


@given(*[st.tuples(tricky, tricky, tricky)] * 2)
def test_texts_in_a_template_do_not_run_into_each_other(one: Any, other: Any) -> None:
    @unused.cached("x:{a}:{b}//{c}!")
    async def parts(a: str, b: str, c: str) -> None: ...

    assume(one != other)
    assert parts.key(*one) != parts.key(*other)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ada", "Ada"),
        ("a:b%", "a:b%"),
        ("Zoë", "Zoë"),
        (42, "42"),
        (True, "True"),
        (None, "None"),
        (b"\x00\xff", "00ff"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, tzinfo=UTC), "2024-02-29T00:00:00+00:00"),
        (time(12, 30), "12:30:00"),
        (Color.RED, "red"),
        (Color.BLUE, "2"),
        (Level.LOW, "1"),
        (Name("Ada"), "Ada"),
        (Number(42), "42"),
    ],
)
def test_a_value_in_a_template_is_written_as_it_looks(value: Any, text: str) -> None:
    @unused.cached("user:{user}")
    async def load(user: Any) -> None: ...

    assert load.key(value) == f"user:{text}"


def test_only_what_would_be_ambiguous_is_escaped() -> None:
    @unused.cached("{{a}}{a}:{b}{{b}}")
    async def load(a: str, b: str) -> None: ...

    assert load.key("1:2%/", "1:2%/") == "{a}1%3A2%25/:1:2%/{b}"


def test_a_template_may_look_into_arguments_and_say_how_they_look() -> None:
    @unused.cached("{user.id}:{options[page]:03}:{day:%Y-%m}:{price!s}:{args[0]}")
    async def load(user: User, options: Any, day: date, price: Decimal, *args: str) -> None: ...

    key = load.key(User(7), {"page": 5}, date(2024, 2, 29), Decimal("1.50"), "x")
    assert key == "7:005:2024-02:1.50:x"


def test_an_automatic_key_reads_like_the_call() -> None:
    @unused.cached()
    async def find(name: str, /, page: int = 1, *, colors: Color = Color.RED) -> None: ...

    begins = f"{__name__}.test_an_automatic_key_reads_like_the_call.<locals>.find"
    assert find.key("it's") == f"""{begins}(name="it's",page=1,colors={__name__}.Color.RED)"""
    assert find.key("a", 2) == find.key("a", page=2)
    assert find.key(Name("a")).startswith(f"{begins}(name={__name__}.Name('a'),")


def test_an_automatic_key_that_is_too_long_ends_in_a_hash() -> None:
    keys = {anything.key("a" * length) for length in (300, 500, 501, 5000)}
    assert len(keys) == 4
    assert sorted(len(key) for key in keys)[-2:] == [512, 512]
    assert len(anything.key("ö" * 5000).encode()) in (511, 512)
    assert all(key.startswith(f"{__name__}.anything(a='aaa") for key in keys)


@pytest.mark.parametrize("value", [1.5, [1], {}, object(), User(1), Decimal(1)])
def test_an_argument_that_makes_no_key_is_named(value: Any) -> None:
    @unused.cached("user:{user}")
    async def load(user: Any) -> None: ...

    told = rf"argument '{{}}' of .*{{}} makes no key: {type(value).__name__} has no form"
    with pytest.raises(pantler.UncacheableArgument, match=told.format("user", "load")) as refused:
        load.key(value)
    assert refused.value.argument == "user"
    for name, args, kwargs in (
        ("b", (1, value), {}),
        ("args", (1, 2, "x", value), {}),
        ("more", (1,), {"more": value}),
    ):
        with pytest.raises(pantler.UncacheableArgument, match=told.format(name, "anything")):
            anything.key(*args, **kwargs)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x\ny", "control characters"),
        ("x\x85y", "control characters"),
        ("\ud800", "UTF-8"),
        ("", "0 bytes, and may be 1 to 512"),
        ("x" * 513, "513 bytes, and may be 1 to 512"),
        ("ö" * 257, "514 bytes, and may be 1 to 512"),
    ],
)
def test_a_text_that_fits_into_no_key_is_named(value: str, problem: str) -> None:
    @unused.cached("{name}")
    async def load(name: str) -> None: ...

    with pytest.raises(pantler.UncacheableArgument, match=f"'name' of .*: .*{problem}"):
        load.key(value)


def test_what_is_not_in_an_argument_is_named() -> None:
    @unused.cached("{user.id}:{options[page]}:{price:.2f}")
    async def load(user: Any, options: Any, price: Any) -> None: ...

    user = User(1)
    for name, arguments in {
        r"user\.id": (None, {"page": 1}, 1),
        r"options\[page\]": (user, {}, 1),
        "price": (user, {"page": 1}, "x"),
    }.items():
        with pytest.raises(pantler.UncacheableArgument, match=f"argument '{name}' of"):
            load.key(*arguments)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("user:{usr}", "load has no argument 'usr'"),
        ("user:{}", "has no argument ''"),
        ("user:{0}", "has no argument '0'"),
        ("{user}{team}", "separate {team}"),
        ("{user}and{team}", "separate {team}"),
        ("{user}%{team}", "separate {team}"),
        ("{user!x}", "how to show 'user'"),
        ("{user:{team}}", "how to show 'user'"),
        ("{user", "expected '}'"),
        ("user\n{user}", "none of them a control"),
        ("", "1 to 512 bytes"),
        ("x" * 513, "1 to 512 bytes"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_at_once(template: str, problem: str) -> None:
    async def load(user: str, team: str) -> None: ...

    for decorate in (
        unused.cached(template),
        unused.cached(depends_on=[template]),
        unused.cached(tags=[template]),
    ):
        with pytest.raises(ValueError, match=problem.replace("512", r"\d+")):
            decorate(load)


def test_what_can_not_be_told_apart_by_its_arguments_needs_a_template() -> None:
    def loader(table: str) -> Callable[[int], Any]:
        async def load(number: int) -> str:
            return f"{table}:{number}"

        return load

    users, teams = loader("users"), loader("teams")
    with pytest.raises(ValueError, match=r"load has more .* \(table\): give it a key template"):
        unused.cached()(users)
    assert unused.cached("team:{number}")(teams).key(1) == "team:1"
    with pytest.raises(ValueError, match="give it a key template"):
        unused.cached()(functools.partial(teams, 1))


def test_only_async_functions_are_taken() -> None:
    with pytest.raises(TypeError, match="async def"):
        unused.cached()(lambda: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="brackets"):
        unused.cached(anything)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="several"):
        unused.cached(tags="t")(loading)
    with pytest.raises(TypeError, match=r"anything\(\) missing 1 required .*'a'"):
        anything.key()  # type: ignore[call-arg]


async def loading(user_id: int) -> None:
    """Loads."""


def test_a_decorated_function_looks_like_itself() -> None:
    cached = unused.cached()(loading)
    assert (cached.__name__, cached.__doc__) == ("loading", "Loads.")  # type: ignore[attr-defined]
    assert list(inspect.signature(cached).parameters) == ["user_id"]


class Repository:
    """Methods of every kind, in a namespace that a test gives it."""

    def __init__(self, number: int) -> None:
        self.number = number

    @unused.cached()
    async def plain(self, key: int) -> None: ...

    @unused.cached("{self.number}:{key}")
    async def named(self, key: int) -> None: ...

    @unused.cached()
    @classmethod
    async def of_class(cls, key: int) -> None: ...

    @unused.cached()
    @staticmethod
    async def static(key: int) -> None: ...


def test_methods_leave_their_object_out_unless_it_is_named() -> None:
    one, other = Repository(1), Repository(2)
    assert one.plain.key(5) == other.plain.key(5) == f"{__name__}.Repository.plain(key=5)"
    assert Repository.plain.key(one, 5) == one.plain.key(5)
    assert (one.named.key(5), other.named.key(5)) == ("1:5", "2:5")
    for owner in (Repository, one):
        assert owner.of_class.key(5) == f"{__name__}.Repository.of_class(key=5)"
        assert owner.static.key(5) == f"{__name__}.Repository.static(key=5)"
    assert list(inspect.signature(one.plain).parameters) == ["key"]


def test_what_is_no_method_has_all_its_arguments_in_its_key() -> None:
    @unused.cached()
    async def load(cls: str, number: int) -> None: ...

    assert load.key("a", 1).endswith(".<locals>.load(cls='a',number=1)")
