"""Types of settings that several files of the configuration have. Apart from what they are made of,
which the command line uses without pydantic."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from pantler_server.core.duration import format_duration, parse_duration


def _parsed(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[
    timedelta, BeforeValidator(_parsed), PlainSerializer(format_duration, return_type=str)
]
"""Written as `90s` or `1h30m`."""
