"""What several files of the configuration have in common: types of settings, and refusals. Apart
from what they are made of, which the command line uses without pydantic."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    PlainSerializer,
    SerializationInfo,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from pantler_server.core.duration import format_duration, parse_duration

REVEAL_SECRETS = (
    "reveal_secrets"  # serialization context: a supervisor handing settings to a worker
)


def revealed(info: SerializationInfo) -> bool:
    """Whether secrets are written out."""
    return bool(info.context and info.context.get(REVEAL_SECRETS))


def hide_password(url: str) -> str:
    """A URL without the password that it may have."""
    return re.sub(r"(//[^/@]*:)[^/@]*@", r"\1**********@", url)


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not host:port, such as 127.0.0.1:50051 or [::1]:50051")
    return value


Address = Annotated[str, AfterValidator(_address)]


def _parsed(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[
    timedelta, BeforeValidator(_parsed), PlainSerializer(format_duration, return_type=str)
]
"""Written as `90s` or `1h30m`."""


def format_bytes(size: int) -> str:
    """A size as the configuration writes it: 4MiB, 64KiB, 100B."""
    for unit, exponent in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size and size % (1 << exponent) == 0:
            return f"{size >> exponent}{unit}"
    return f"{size}B"


Bytes = Annotated[ByteSize, PlainSerializer(format_bytes, return_type=str)]

Problem = tuple[tuple[str | int, ...], str]
"""A place within a setting, and what is wrong there."""


def refuse(model: str, problems: Iterable[Problem]) -> None:
    """Raises ValidationError with the place of each problem, if there is any."""
    wrong = [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{message}", {"message": message}),
            loc=place,
            input=None,
        )
        for place, message in problems
    ]
    if wrong:
        raise ValidationError.from_exception_data(model, wrong)
