"""Values of SQL columns to and from the wire form of records.

Each converter goes both ways: `to_database` gives what the driver takes, and raises ValueError with
what the value must be; `to_wire` gives the wire form of what the driver reads. Both are pure. A
value that was taken is read back as exactly `to_wire(to_database(value))`.

| column | wire form |
| --- | --- |
| whole numbers | a number; text from 2**53 on. Either is taken |
| NUMERIC | text, rounded to the column's scale. A number below 2**53 is taken too |
| REAL, DOUBLE PRECISION | a number; text if it is not finite. Text of a finite one is taken too |
| timestamps | RFC 3339 in UTC (`Z`), to the microsecond; one without time zone is taken to be UTC |
| date, time | `2026-01-31`, `12:30:00.5` |
| BYTEA, BLOB | base64 |
| UUID, enumerations | text |
| JSON | as it is, its numbers as doubles |
| arrays | a list; of one dimension when written |
"""

import base64
import json
import math
import re
import struct
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any, Protocol
from uuid import UUID

from pantler_server.core.canonical_json import MAX_EXACT, normal, number
from pantler_server.core.record import MAX_DEPTH

MAX_DECIMAL_DIGITS = 1000  # a bound on what a few characters (1E99999) can grow to
SQLITE_DECIMAL_DIGITS = 15  # what survives in the double that SQLite keeps a decimal in
SQLITE_DECIMAL_EXPONENT = 300  # beyond it doubles lose digits

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
_exact = Context(prec=2 * MAX_DECIMAL_DIGITS, rounding=ROUND_HALF_UP)


class Converter(Protocol):
    """Of the values of one column; None never comes here."""

    def to_database(self, value: Any) -> Any: ...

    def to_wire(self, value: Any) -> Any: ...


class KeyConverter(Converter, Protocol):
    """Of a column that can be the key."""

    def key_to_database(self, key: str) -> Any:
        """Raises ValueError for text that is not the one form of a value of this type: two keys
        never mean one row."""


@dataclass(frozen=True, slots=True)
class Integers:
    """Whole numbers of so many bits, with sign."""

    bits: int

    def to_database(self, value: Any) -> int:
        whole = self._whole(value)
        bound = 1 << (self.bits - 1)
        if whole is None or not -bound <= whole < bound:
            raise ValueError(f"must be a whole number from {-bound} to {bound - 1}")
        return whole

    def _whole(self, value: Any) -> int | None:
        if value.__class__ is int:
            return int(value)
        if isinstance(value, float) and value.is_integer():
            _refuse_inexact(value)
            return int(value)
        if isinstance(value, str) and len(value) <= 20 and _WHOLE.fullmatch(value):
            return int(value)
        return None

    def to_wire(self, value: Any) -> int | str:
        if not isinstance(value, int):
            raise ValueError("is not a whole number")
        value = int(value)
        return value if abs(value) < MAX_EXACT else str(value)

    def key_to_database(self, key: str) -> int:
        value = self._whole(key)
        if value is None or str(value) != key:
            raise ValueError("must be a whole number as 42: no leading zeros, no `+`, no spaces")
        return self.to_database(value)


def _refuse_inexact(value: float) -> None:
    if abs(value) >= MAX_EXACT:
        raise ValueError("must be text from 2**53 on: numbers of JSON are not exact there")


@dataclass(frozen=True, slots=True)
class Decimals:
    """NUMERIC(precision, scale)."""

    precision: int | None = None
    scale: int | None = None
    """Digits after the point; None: as many as are given."""
    as_double: bool = False
    """Whether the database keeps it in a double (SQLite)."""

    def to_database(self, value: Any) -> Decimal | float:
        exact = self._rounded(self._decimal(value))
        if self.precision is not None:
            digits = self.precision - (self.scale or 0)
            if abs(exact) >= _exact.power(10, digits):
                raise ValueError(f"must have at most {digits} digits before the point")
        return self._double(exact) if self.as_double else exact

    def _decimal(self, value: Any) -> Decimal:
        if isinstance(value, float) and math.isfinite(value):
            if value.is_integer():
                _refuse_inexact(value)
            value = repr(value)
        elif value.__class__ is int:
            value = str(value)
        if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
            raise ValueError('must be a decimal number, best as text: "12.50"')
        exact = Decimal(value)
        digits = exact.as_tuple()
        assert isinstance(digits.exponent, int)
        if max(len(digits.digits) + abs(digits.exponent), 0) > MAX_DECIMAL_DIGITS:
            raise ValueError(f"must have at most {MAX_DECIMAL_DIGITS} digits")
        return exact

    def _rounded(self, exact: Decimal) -> Decimal:
        if self.scale is not None:
            exact = exact.quantize(Decimal((0, (1,), -self.scale)), context=_exact)
        elif self.as_double:
            exact = exact.normalize(_exact)  # a double knows no trailing zeros
        return abs(exact) if exact.is_zero() else exact

    def _double(self, exact: Decimal) -> float:
        shortest = exact.normalize(_exact)
        in_range = shortest.is_zero() or abs(shortest.adjusted()) <= SQLITE_DECIMAL_EXPONENT
        if len(shortest.as_tuple().digits) > SQLITE_DECIMAL_DIGITS or not in_range:
            raise ValueError(
                f"must have at most {SQLITE_DECIMAL_DIGITS} significant digits: SQLite keeps it in "
                "a double"
            )
        return float(exact)

    def to_wire(self, value: Any) -> str:
        if isinstance(value, float):
            value = repr(value)
        try:
            exact = Decimal(value)
            if not exact.is_finite():
                return str(exact)
            return format(self._rounded(exact), "f")
        except (InvalidOperation, TypeError):
            raise ValueError("is not a decimal number") from None


@dataclass(frozen=True, slots=True)
class Floats:
    """Binary floating point numbers, of 64 bits or 32."""

    bits: int = 64

    def to_database(self, value: Any) -> float:
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            value = float(value)
        if value.__class__ is int:
            value = self._from_int(value)
        if not isinstance(value, float) or not math.isfinite(value):
            raise ValueError("must be a finite number")
        return self._rounded(value) + 0.0  # -0.0 becomes 0.0

    def _from_int(self, value: int) -> float:
        try:
            return float(value)
        except OverflowError:
            return math.inf

    def _rounded(self, value: float) -> float:
        """For 32 bits the nearest of these, as the shortest decimal that means it: so PostgreSQL
        writes it."""
        if self.bits == 64 or not math.isfinite(value):
            return value
        try:
            raw = struct.pack("<f", value)  # with a byte order, since "f" lets infinity pass
        except OverflowError:
            raise ValueError("must be a finite number of 32 bits") from None
        [nearest] = struct.unpack("<f", raw)
        texts = (f"{nearest:.{digits}g}" for digits in range(1, 10))
        return next(float(text) for text in texts if _packs_as(text, raw))

    def to_wire(self, value: Any) -> int | float | str:
        if not isinstance(value, int | float):
            raise ValueError("is not a number")
        value = float(value)
        if math.isfinite(value):
            return number(self._rounded(value) + 0.0)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _packs_as(text: str, raw: bytes) -> bool:
    try:
        return struct.pack("<f", float(text)) == raw
    except OverflowError:  # rounded up beyond the largest
        return False


@dataclass(frozen=True, slots=True)
class Booleans:
    def to_database(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value

    def to_wire(self, value: Any) -> bool:
        if value not in (0, 1):
            raise ValueError("is not a boolean")
        return bool(value)


@dataclass(frozen=True, slots=True)
class Texts:
    max_characters: int | None = None
    padded: bool = False
    """Whether the database fills it up with spaces (CHAR(n) of PostgreSQL)."""
    may_have_nul: bool = False

    def to_database(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be text")
        _check_text(value, self.may_have_nul)
        if self.max_characters is not None and len(value) > self.max_characters:
            raise ValueError(f"must have at most {self.max_characters} characters")
        return value.ljust(self.max_characters or 0) if self.padded else value

    def to_wire(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("is not text")
        return value

    def key_to_database(self, key: str) -> str:
        return self.to_database(key)


def _check_text(value: str, may_have_nul: bool) -> None:
    if "\0" in value and not may_have_nul:
        raise ValueError("must not have the character U+0000: PostgreSQL can't keep it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None


@dataclass(frozen=True, slots=True)
class Enumerations:
    values: tuple[str, ...]

    def to_database(self, value: Any) -> str:
        if value not in self.values or not isinstance(value, str):
            raise ValueError(f"must be one of {', '.join(self.values)}"[:500])
        return value

    def to_wire(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Bytes:
    def to_database(self, value: Any) -> bytes:
        if not isinstance(value, str) or len(value) % 4 or not _BASE64.fullmatch(value):
            raise ValueError("must be bytes in base64, with its padding")
        return base64.b64decode(value)

    def to_wire(self, value: Any) -> str:
        if not isinstance(value, bytes):
            raise ValueError("is not bytes")
        return base64.b64encode(value).decode()


@dataclass(frozen=True, slots=True)
class Uuids:
    as_text: bool = False

    def to_database(self, value: Any) -> UUID | str:
        try:
            uuid = UUID(value if isinstance(value, str) else "")
        except ValueError:
            raise ValueError("must be a UUID") from None
        return str(uuid) if self.as_text else uuid

    def to_wire(self, value: Any) -> str:
        return str(value if isinstance(value, UUID) else UUID(value))

    def key_to_database(self, key: str) -> UUID | str:
        value = self.to_database(key)
        if str(value) != key:
            raise ValueError("must be a UUID in lower case with hyphens")
        return value


@dataclass(frozen=True, slots=True)
class Documents:
    """JSON. JSON's null is the column's null."""

    may_have_nul: bool = False
    as_text: bool = False

    def to_database(self, value: Any) -> Any:
        try:
            self._check(value)
            document = _with_doubles(value)
            return json.dumps(document, ensure_ascii=False) if self.as_text else document
        except OverflowError:
            raise ValueError("must have numbers that a double can hold") from None

    def _check(self, value: Any) -> None:
        if isinstance(value, str):
            _check_text(value, self.may_have_nul)
        elif isinstance(value, dict):
            for name, one in value.items():
                _check_text(name, self.may_have_nul)
                self._check(one)
        elif isinstance(value, list):
            for one in value:
                self._check(one)

    def to_wire(self, value: Any) -> Any:
        if self.as_text and isinstance(value, str | bytes):
            value = json.loads(value)
        elif isinstance(value, bytes):
            raise ValueError("is not JSON that can be read")
        return _with_doubles(value)


def _with_doubles(value: Any, levels: int = MAX_DEPTH - 1) -> Any:
    """All whole numbers as doubles have them: other numbers beyond 2**53 would not come back.
    Raises ValueError for what nests more levels deep."""
    if value.__class__ is int:
        return number(float(value))
    if not isinstance(value, dict | list):
        return normal(value)
    if not levels:
        raise ValueError(f"must nest at most {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {name: _with_doubles(one, levels - 1) for name, one in value.items()}
    return [_with_doubles(one, levels - 1) for one in value]


@dataclass(frozen=True, slots=True)
class Arrays:
    item: Converter

    def to_database(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        try:
            return [None if one is None else self.item.to_database(one) for one in value]
        except ValueError as exc:
            raise ValueError(f"must be a list; an item {exc}") from None

    def to_wire(self, value: Any) -> list[Any]:
        return [self._item_to_wire(one) for one in value]

    def _item_to_wire(self, one: Any) -> Any:
        if isinstance(one, list):  # others may write arrays of more dimensions
            return self.to_wire(one)
        return None if one is None else self.item.to_wire(one)
