"""The codec that `pantler.codecs.of` makes for types that pydantic knows."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

T = TypeVar("T")


class PydanticCodec(Generic[T]):
    """JSON of a type. Raises what `TypeAdapter` raises if pydantic has no schema for it."""

    content_type = "application/json"

    def __init__(self, form: Any) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(form)

    def encode(self, value: T) -> bytes:
        data = self._adapter.dump_json(value, by_alias=False, round_trip=True, warnings="error")
        # What does not come back, as NaN, which becomes null, would fail each reader until it
        # expires, or give it something else. To look costs microseconds, beside a fetch.
        place = _difference(value, self.decode(data))
        if place is not None:
            raise ValueError(
                f"{place or 'it'} would be read back as something else: give what is exactly of "
                "the codec's type and JSON keeps, with nothing secret, excluded, NaN or of a "
                "subclass in it, or use a codec of your own"
            )
        return data

    def decode(self, data: bytes) -> T:
        try:
            return self._adapter.validate_json(data, by_alias=True, by_name=True)
        except ValidationError as exc:
            # Its own text has the values: they are not for logs.
            raise ValueError("; ".join(map(_told, exc.errors(include_input=False)))) from None


def _told(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    return f"{place}: {error['msg']}" if place else str(error["msg"])


def _difference(given: Any, read: Any, place: str = "") -> str | None:
    """Where two differ, as "home.city"; None if nowhere. What `==` says differs is looked into: an
    object may be equal to itself alone, and a time in the hour that a clock is set back is equal to
    none in another zone."""
    if given == read:
        return None
    if isinstance(given, datetime) and isinstance(read, datetime):
        aware = given.utcoffset() is not None and read.utcoffset() is not None
        return None if aware and given.astimezone(UTC) == read.astimezone(UTC) else place
    parts = _parts(given), _parts(read)
    if type(given) is not type(read) or not parts[0] or parts[0].keys() != parts[1].keys():
        return place
    below = (
        _difference(part, parts[1][name], f"{place}.{name}" if place else str(name))
        for name, part in parts[0].items()
    )
    return next((found for found in below if found is not None), None)


def _parts(value: Any) -> dict[Any, Any]:
    """What a value is made of, by names; nothing of what can't be looked into."""
    return dict(_named(value))


def _named(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, BaseModel):
        yield from ((name, getattr(value, name)) for name in type(value).model_fields)
        yield from (value.__pydantic_extra__ or {}).items()
        yield from (value.__pydantic_private__ or {}).items()
    elif is_dataclass(value):
        yield from ((one.name, getattr(value, one.name)) for one in fields(value))
    elif isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
