"""Templates of event rules: `user:{user_id}` is a key for each value of the field `user_id`."""

import re
from dataclasses import dataclass
from string import Formatter

from pantler_server.core.keyspace import CONTROL

FIELD = re.compile(r"[\w-]+(\.[\w-]+)*")
"""The name of a field, or the way to one within others: `order.customer_id`."""

FieldPath = tuple[str, ...]


def field_path(text: str) -> FieldPath:
    """The way to a field. Raises ValueError."""
    if not FIELD.fullmatch(text):
        raise ValueError(
            f"{text!r} is no field: write its name, or order.customer_id for a field within another"
        )
    return tuple(text.split("."))


@dataclass(frozen=True, slots=True)
class Template:
    """A text with places for fields."""

    text: str
    parts: tuple[str | FieldPath, ...]
    """What stands between the fields, and the fields."""

    @classmethod
    def parse(cls, text: str, max_bytes: int) -> "Template":
        """Raises ValueError, also if it can only give what is too long for its purpose."""
        parts: list[str | FieldPath] = []
        try:
            for literal, field, spec, conversion in Formatter().parse(text):
                if literal:
                    parts.append(literal)
                if field is not None:
                    if spec or conversion:
                        raise ValueError("a field takes neither `:` nor `!`")
                    parts.append(field_path(field))
        except ValueError as exc:
            raise ValueError(
                f"{text!r} is no template: {exc}. A field is written {{name}}, a brace itself is "
                "doubled"
            ) from None
        literals = "".join(part for part in parts if isinstance(part, str))
        if not parts or len(literals.encode()) > max_bytes or CONTROL.search(literals):
            raise ValueError(f"{text!r} must be 1 to {max_bytes} bytes without control characters")
        return cls(text, tuple(parts))

    @property
    def fields(self) -> tuple[FieldPath, ...]:
        """Each field once."""
        return tuple(dict.fromkeys(part for part in self.parts if not isinstance(part, str)))

    def render(self, values: dict[FieldPath, str]) -> str:
        """The text with a value for each field."""
        return "".join(part if isinstance(part, str) else values[part] for part in self.parts)
