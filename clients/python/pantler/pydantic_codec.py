"""The codec that `pantler.codecs.of` makes for types that pydantic knows."""

from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class PydanticCodec(Generic[T]):
    """JSON of a type. Raises what `TypeAdapter` raises if pydantic has no schema for it."""

    content_type = "application/json"

    def __init__(self, form: Any) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(form)

    def encode(self, value: T) -> bytes:
        data = self._adapter.dump_json(value, by_alias=False, round_trip=True, warnings="error")
        # What does not come back, as NaN, which becomes null, would fail each reader until it
        # expires. To look costs microseconds, beside a fetch.
        self.decode(data)
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
