"""Which converter a column takes: PostgreSQL by the reflected type, SQLite by the declared one."""

import re
from typing import Any

from sqlalchemy.dialects import postgresql
from sqlalchemy.types import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    NullType,
    Numeric,
    SmallInteger,
    String,
    Time,
    TypeEngine,
    Uuid,
)

from pantler_server.origins.sql_times import Dates, Times, Timestamps
from pantler_server.origins.sql_types import (
    Arrays,
    Booleans,
    Bytes,
    Converter,
    Decimals,
    Documents,
    Enumerations,
    Floats,
    Integers,
    Texts,
    Uuids,
)

AnyType = TypeEngine[Any]


def of_postgres(reflected: AnyType) -> tuple[AnyType, Converter | None]:
    """The type to bind values with, and its converter: None if the type is not supported."""
    bare = _bare(reflected)
    if isinstance(bare, ARRAY):
        item_type, item = of_postgres(bare.item_type)
        if item is None or isinstance(item, Arrays | Documents):
            return bare, None
        return postgresql.ARRAY(item_type), Arrays(item)
    return bare, _scalar_of_postgres(bare)


def _bare(reflected: AnyType) -> AnyType:
    """The type below a domain; JSON such that None is the column's null and not JSON's."""
    if isinstance(reflected, postgresql.DOMAIN):
        reflected = reflected.data_type
    if isinstance(reflected, JSON):
        return type(reflected)(none_as_null=True)
    return reflected


def _scalar_of_postgres(bare: AnyType) -> Converter | None:
    match bare:
        case Enum():
            return Enumerations(tuple(bare.enums))
        case Boolean():
            return Booleans()
        case Integer():
            bits = 16 if isinstance(bare, SmallInteger) else 64 if _is_big(bare) else 32
            return Integers(bits)
        case Float():
            return Floats(32 if _is_real(bare) else 64)
        case Numeric():
            # Without precision there is no scale either, and digits stay as given.
            scale = None if bare.precision is None else bare.scale or 0
            return Decimals(bare.precision, scale)
        case postgresql.TIMESTAMP() | DateTime():
            return Timestamps(bare.timezone, _digits(bare))
        case Time() if not bare.timezone:
            return Times(_digits(bare))
        case Date():
            return Dates()
        case LargeBinary():
            return Bytes()
        case Uuid():
            return Uuids()
        case JSON():
            return Documents()
        case String():
            return Texts(bare.length, padded=bare.__visit_name__ == "CHAR")
    return None


def of_domain(declared: str, base: AnyType) -> AnyType:
    """The type below a domain, as `numeric(10,2)`: SQLAlchemy leaves what is in the parentheses
    out."""
    match = re.search(r"\((\d+)(?:,(\d+))?\)", declared)
    if match is None:
        return base
    first, second = int(match[1]), int(match[2] or 0)
    match base:
        case Numeric() if not isinstance(base, Float):
            return postgresql.NUMERIC(first, second)
        case String() if not isinstance(base, Enum):
            return type(base)(first)
        case postgresql.TIMESTAMP() | postgresql.TIME():
            return type(base)(timezone=base.timezone, precision=first)
    return base


def _is_big(bare: AnyType) -> bool:
    return bare.__visit_name__ in {"BIGINT", "big_integer"}


def _is_real(bare: AnyType) -> bool:
    return bare.__visit_name__ == "REAL"


def _digits(bare: Any) -> int:
    """Of the fraction of a second; a type without precision has all six."""
    precision = getattr(bare, "precision", None)
    return 6 if precision is None else int(precision)


_DECLARED = re.compile(r"\s*([A-Za-z0-9_ ]*?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*")


def of_sqlite(declared: str) -> tuple[AnyType, Converter | None]:
    """The same for SQLite, which keeps what it is given nearly as it is: values go to the driver in
    the form that they are to be stored in."""
    match = _DECLARED.fullmatch(declared)
    if match is None:
        return NullType(), None
    first, second = (None if part is None else int(part) for part in match.groups()[1:])
    return NullType(), _scalar_of_sqlite(match[1].upper(), first, second)


def _scalar_of_sqlite(name: str, first: int | None, second: int | None) -> Converter | None:
    """By name, and else by SQLite's own rules for parts of names (datatype3.html, 3.1)."""
    match name.split(" ")[0]:
        case "BOOLEAN" | "BOOL":
            return Booleans()
        case "SMALLINT" | "INT2":
            return Integers(16)
        case "NUMERIC" | "DECIMAL" | "DEC":
            scale = None if first is None else second or 0
            return Decimals(first, scale, as_double=True)
        case "TIMESTAMP" | "DATETIME" | "TIMESTAMPTZ":
            return Timestamps(as_text=True)
        case "DATE":
            return Dates(as_text=True)
        case "TIME":
            return Times(as_text=True)
        case "BYTEA" | "VARBINARY" | "BINARY" | "BLOB":
            return Bytes()
        case "UUID" | "GUID":
            return Uuids(as_text=True)
        case "JSON" | "JSONB":
            return Documents(may_have_nul=True, as_text=True)
    if "INT" in name:
        return Integers(64)
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return Texts(first, may_have_nul=True)
    if any(part in name for part in ("REAL", "FLOA", "DOUB")):
        return Floats()
    return None
