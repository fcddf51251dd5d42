"""What an error of a database means: the one place that reads SQLSTATE and SQLite's codes.

The driver's text goes to the log alone; callers and operators get words of ours, with names of
columns and constraints at most.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError


class Meaning(Enum):
    AWAY = auto()
    """It is away, overloaded or in somebody's way: later it may work. Nothing was done."""
    LOST = auto()
    """The connection is gone: what was under way was done or not."""
    REFUSED = auto()
    """The write breaks a rule of the table. Nothing was done."""
    CHANGED = auto()
    """The table is not as it was when it was looked at."""
    FORBIDDEN = auto()
    """We may not do this, or not even log in."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of a database."""

    meaning: Meaning
    text: str
    """What is wrong, as a part of a sentence."""


NOT_OF_COLUMN = "a value is not one that its column takes"

_REFUSED = {
    "23502": "a column must not be null",
    "23503": "it refers to a row that is not there, or is referred to",
    "23505": "a value is not unique",
    "23514": "it breaks a check of the table",
    "23P01": "it conflicts with another row",
    "P0001": "a trigger of the table refuses it",
    "44000": "the view does not take it",
    "54000": "a value is too large",
    "SQLITE_CONSTRAINT_NOTNULL": "a column must not be null",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "it refers to a row that is not there, or is referred to",
    "SQLITE_CONSTRAINT_UNIQUE": "a value is not unique",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "a value is not unique",
    "SQLITE_CONSTRAINT_CHECK": "it breaks a check of the table",
    "SQLITE_CONSTRAINT_TRIGGER": "a trigger of the table refuses it",
    "SQLITE_CONSTRAINT_DATATYPE": NOT_OF_COLUMN,
    "SQLITE_MISMATCH": NOT_OF_COLUMN,
    "SQLITE_TOOBIG": "a value is too large",
}

_FORBIDDEN = {
    "28000": "cannot log in: the database does not know the user, or not from here",
    "28P01": "cannot log in: wrong password",
    "3D000": "there is no such database",
    "42501": "the user lacks a privilege on the table",
    "SQLITE_CANTOPEN": "the database file is not there, or can't be opened",
    "SQLITE_AUTH": "the database forbids it",
    "SQLITE_NOTADB": "the file is not a database of SQLite",
    "SQLITE_READONLY": "the database file can't be written",
}

_AWAY = {
    "25006": "the database takes no writes now",
    "40P01": "it was in a deadlock with another transaction",
    "55P03": "others hold a lock on the row",
    "57014": "it took too long",
}

_UNSUPPORTED = "0A000"

# What passes by itself, or is of the connection (25, 26, 3B, 42P05: a pooler that gives statements
# of one session to several servers), of the server or of one behind it (HV). What else a live
# server answers to a write, the write is to blame for.
_AWAY_CLASSES = ("25", "26", "3B", "40", "42P05", "53", "55006", "57", "58", "72", "F0", "HV", "XX")

# 40003: the outcome of a statement is unknown; 57P01 to 57P03: the server ends, or begins.
_LOST_CLASSES = ("08", "57P", "40003", "SQLITE_IOERR")

_AT_LOGIN = (
    # libpq tells these in text alone: no SQLSTATE comes with a connection that failed
    (re.compile(r"password authentication failed|no password supplied"), "28P01"),
    (re.compile(r"role \".*\" does not exist|no pg_hba\.conf entry"), "28000"),
    (re.compile(r"database \".*\" does not exist"), "3D000"),
)


def read(error: SQLAlchemyError) -> Fault:
    """What an error means."""
    code = _code(error)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Fault(Meaning.LOST, "the connection was lost")
    if code in _REFUSED:
        return Fault(Meaning.REFUSED, _REFUSED[code] + _named(error))
    if code in _FORBIDDEN:
        return Fault(Meaning.FORBIDDEN, _FORBIDDEN[code])
    if code in _AWAY:
        return Fault(Meaning.AWAY, _AWAY[code])
    if code.startswith(_LOST_CLASSES):
        return Fault(Meaning.LOST, "the connection was lost")
    if code.startswith(_AWAY_CLASSES):
        return Fault(Meaning.AWAY, f"the database is away or overloaded{_in_brackets(code)}")
    if code == _UNSUPPORTED:
        return Fault(Meaning.CHANGED, "the table is not as it was, or can't take such a write")
    if code.startswith(("42", "3F", "SQLITE_ERROR")):  # SQLite has no finer code
        return Fault(Meaning.CHANGED, "the table is not as it was")
    if code.startswith(("22", "23")) or (not code and isinstance(error, DataError)):
        return Fault(Meaning.REFUSED, NOT_OF_COLUMN)
    if isinstance(error, IntegrityError):
        return Fault(Meaning.REFUSED, "it breaks a rule of the table")
    if not code or code.startswith("SQLITE"):
        return Fault(Meaning.AWAY, f"the database is away or overloaded{_in_brackets(code)}")
    return Fault(Meaning.REFUSED, f"the database refuses it{_in_brackets(code)}")


def problem_of_query(error: SQLAlchemyError) -> str:
    """What is wrong with a statement of the operator, on a connection that may only read; empty if
    it is not to blame."""
    if _code(error) in ("25006", "SQLITE_READONLY"):
        return "`query` writes, and may only read"
    passes = read(error).meaning in (Meaning.AWAY, Meaning.LOST)
    if passes and not isinstance(error, ProgrammingError):  # as drivers raise without a code
        return ""
    return "the database does not take `query`"


def may_be_of_row(error: SQLAlchemyError) -> bool:
    """Whether a change of the table, or a missing privilege, explains the error, but also what a
    trigger or a policy makes of one row. Only a look at the table tells."""
    if _is_stale_plan(error):
        return False
    classes = ("42", "3F", _UNSUPPORTED, "SQLITE_ERROR")
    return _code(error).startswith(classes) and read(error).meaning in (
        Meaning.CHANGED,
        Meaning.FORBIDDEN,
    )


def is_unsupported(error: SQLAlchemyError) -> bool:
    """Whether the database says that it can't do such a thing at all: our statement, or what a
    trigger, a rule or a partition makes of a row."""
    return _code(error) == _UNSUPPORTED


def _is_stale_plan(error: SQLAlchemyError) -> bool:
    """Whether a prepared statement was made for the table as it was: that has the code of what is
    not supported, and only the place in the server's source tells them apart in every language."""
    told = getattr(getattr(error, "orig", None), "diag", None)
    return told is not None and told.source_function == "RevalidateCachedQuery"


def of_row(error: SQLAlchemyError) -> Fault:
    """What such an error means where the table is as it was."""
    what = "a trigger, a policy or a default of the table fails for it"
    return Fault(Meaning.REFUSED, what + _in_brackets(_code(error)))


def _in_brackets(code: str) -> str:
    if not code:
        return ""
    return f" ({code})" if code.startswith("SQLITE") else f" (SQLSTATE {code})"


def _code(error: SQLAlchemyError) -> str:
    """The SQLSTATE, or the name of SQLite's error; empty if there is none."""
    driver: Any = getattr(error, "orig", None)
    code = getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None)
    if code:
        return str(code)
    return next((code for text, code in _AT_LOGIN if text.search(str(driver))), "")


_SQLITE_NAMES = re.compile(r"constraint failed: ([\w.]+(?:, [\w.]+)*)$")


def _named(error: SQLAlchemyError) -> str:
    """Which constraint or column it was, where the database says so."""
    driver: Any = getattr(error, "orig", None)
    told = getattr(driver, "diag", None)
    if told is not None:
        if told.constraint_name:
            return f": constraint {told.constraint_name}"
        return f": column {told.column_name}" if told.column_name else ""
    match = _SQLITE_NAMES.search(str(driver))
    return f": {match[1]}" if match else ""
