"""Codecs: how values become bytes, and what a stored entry says of them.

    from pantler import codecs

    users = client.namespace("users", codec=codecs.of(User))
    pages = client.namespace("pages", codec=codecs.compressed(codecs.TEXT))

`BYTES`, `TEXT`, `JSON` and `MSGPACK` (needs `pantler[msgpack]`) are there; `of` makes one for a
type, as a dataclass. Any object with what `Codec` lists is one too: Protobuf, say, is three lines.
"""

import json
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, cast, overload

if TYPE_CHECKING:
    from pantler.msgpack_codec import MSGPACK as MSGPACK

T = TypeVar("T")

_UTF_8 = re.compile(r';\s*charset="?utf-8"?')


class Codec(Protocol[T]):
    """How values of one kind become bytes. It holds nothing that changes: one serves all."""

    @property
    def content_type(self) -> str:
        """What is stored beside the bytes, as `application/json`: up to 255 characters of ASCII. It
        must change whenever `decode` would no longer read what `encode` gave before."""

    def encode(self, value: T) -> bytes:
        """The bytes. Whatever it raises becomes an EncodeError."""

    def decode(self, data: bytes) -> T:
        """The value. Whatever it raises becomes a DecodeError."""


class Encoded(NamedTuple):
    """A value's bytes, and what they are."""

    data: bytes
    content_type: str


class _Bytes:
    content_type = "application/octet-stream"

    def encode(self, value: bytes) -> bytes:
        return _checked(value, bytes)

    def decode(self, data: bytes) -> bytes:
        return data


class _Text:
    content_type = "text/plain; charset=utf-8"

    def encode(self, value: str) -> bytes:
        return _checked(value, str).encode()

    def decode(self, data: bytes) -> str:
        return data.decode()


class _Json:
    content_type = "application/json"

    def encode(self, value: Any) -> bytes:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()

    def decode(self, data: bytes) -> Any:
        return json.loads(data)


def _checked(value: T, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"it is not {kind.__name__}")
    return value


BYTES: Codec[bytes] = _Bytes()
TEXT: Codec[str] = _Text()
"""As UTF-8."""
JSON: Codec[Any] = _Json()
"""Whatever `json` knows, without infinities and NaN. As there, a tuple comes back as a list, and a
key of a mapping as text."""


@dataclass(frozen=True, slots=True)
class Compressed(Generic[T]):
    """What `compressed` makes. By itself it compresses every value."""

    plain: Codec[T]
    above_bytes: int
    max_bytes: int

    @property
    def content_type(self) -> str:
        content = self.plain.content_type.replace('"', r"\"")
        return f'application/zlib; content="{content}"'

    def encode(self, value: T) -> bytes:
        return self._compressed(self.plain.encode(value))

    def encoded(self, value: T) -> Encoded:
        """Compressed if that is worth it."""
        data = self.plain.encode(value)
        if len(data) > self.above_bytes:
            smaller = self._compressed(data)
            if len(smaller) < len(data):
                return Encoded(smaller, self.content_type)
        return Encoded(data, self.plain.content_type)

    def decode(self, data: bytes) -> T:
        inflating = zlib.decompressobj()
        plain = inflating.decompress(data, self.max_bytes + 1)
        if len(plain) > self.max_bytes:
            raise ValueError(f"it has more than {self.max_bytes} bytes when decompressed")
        if not inflating.eof or inflating.unused_data:
            raise ValueError("it is not one whole zlib stream")
        return self.plain.decode(plain)

    def _compressed(self, data: bytes) -> bytes:
        if len(data) > self.max_bytes:
            raise ValueError(f"it has {len(data)} bytes, and {self.max_bytes} could be read back")
        return zlib.compress(data)


def compressed(
    codec: Codec[T], *, above_bytes: int = 1024, max_bytes: int = 64 << 20
) -> Compressed[T]:
    """A codec whose values are compressed with zlib where they have more than `above_bytes`, and
    that makes them smaller.

    The content type says which were: `application/zlib; content="application/json"`. The others
    are stored as `codec` does it, so other clients read these, and this codec reads what `codec`
    has stored before. Who reads with `codec` alone gets a DecodeError for those compressed.

    A value of more than `max_bytes` is not decompressed, whatever a writer has stored: it raises
    DecodeError.
    """
    if isinstance(codec, Compressed):
        raise TypeError("it is compressed already")
    return Compressed(codec, above_bytes, max_bytes)


@overload
def of(form: type[T]) -> Codec[T]: ...
@overload
def of(form: Any) -> Codec[Any]: ...
def of(form: Any) -> Codec[Any]:
    """The codec for a type: BYTES for `bytes`, TEXT for `str`, JSON for plain `dict` and `list`.

    Anything else becomes JSON by pydantic (needs `pantler[pydantic]`), and is checked as it is
    read: models, dataclasses, typed dicts, and types as `int`, `list[User]` or `User | None`; with
    dates, decimals, UUIDs and enums in them. Fields are stored by their names, and read by their
    aliases too. Bytes in fields must be UTF-8.

    Each value is read back before it is stored, and refused unless what comes out is equal (`==`,
    or all its fields are): so is one with a NaN, a secret, a field that is excluded, a private one
    that was changed, a set or time in a field of type `object`, or an object of a subclass. Not
    seen is what `==` takes for equal, as True for 1, or a time in another zone.
    """
    if form is bytes:
        return BYTES
    if form is str:
        return TEXT
    if form is dict or form is list:
        return JSON
    try:
        from pantler.pydantic_codec import PydanticCodec
    except ModuleNotFoundError as exc:
        raise _extra("pydantic", f"the codec of {form!r}") from exc
    return cast(Codec[Any], PydanticCodec(form))


def encoded(codec: Codec[T], value: T) -> Encoded:
    """A value as it is stored. Raises what the codec raises."""
    if isinstance(codec, Compressed):
        return codec.encoded(value)
    return Encoded(codec.encode(value), codec.content_type)


def reader(codec: Codec[T], content_type: str) -> Codec[T] | None:
    """What reads a value of this content type: the codec, or what it compresses; None if neither
    does. A value that was stored without one is taken for one of the codec."""
    if content_type == codec.content_type:
        return codec
    plain = codec.plain if isinstance(codec, Compressed) else codec
    same = not content_type or _bare(content_type) == _bare(plain.content_type)
    return plain if same else None


def _bare(content_type: str) -> str:
    """Other writers may say UTF-8, or not, where it is understood."""
    return _UTF_8.sub("", content_type.lower())


def _extra(name: str, what: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"{what} needs {name}: pip install 'pantler[{name}]'", name=name)


def __getattr__(name: str) -> object:
    if name != "MSGPACK":
        raise AttributeError(f"module 'pantler.codecs' has no attribute {name!r}")
    try:
        from pantler.msgpack_codec import MSGPACK
    except ModuleNotFoundError as exc:
        raise _extra("msgpack", "MSGPACK") from exc
    return MSGPACK
