"""What engines ask of a `Store`: reads, and calls of Lua scripts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files

import hiredis

Argument = str | bytes | int | float

_INCLUDE = re.compile(r"^ *-- include (\S+)$", re.MULTILINE)


def pack(*words: Argument) -> bytes:
    """A command in the bytes of RESP."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub takes one word
    return packed


class Request:
    """Packed commands for the keys of one slot, which leave together.

    `subject` is what the caller calls the thing, for error messages. `repeatable` says that running
    the commands twice does no harm, `writes` that they change something. `if_no_script` replaces
    them where the server has never seen the script. `only_on` is the run id of the one server that
    may run them; any does if it is empty. `primary` is, once there is an answer, the run id of the
    primary at the time of sending.
    """

    __slots__ = (
        "commands",
        "if_no_script",
        "only_on",
        "primary",
        "repeatable",
        "slot",
        "subject",
        "writes",
    )

    def __init__(
        self,
        slot: int,
        commands: Sequence[bytes],
        subject: str,
        *,
        repeatable: bool,
        writes: bool = True,
        if_no_script: "ScriptSource | None" = None,
        only_on: bytes = b"",
    ) -> None:
        self.slot = slot
        self.commands = commands
        self.subject = subject
        self.repeatable = repeatable
        self.writes = writes
        self.if_no_script = if_no_script
        self.only_on = only_on
        self.primary = b""

    def whole(self) -> Sequence[bytes]:
        """The commands for a server that may not know the script."""
        return self.commands if self.if_no_script is None else (self.if_no_script.command(),)


@dataclass(frozen=True, slots=True)
class ScriptSource:
    """What it takes to send a whole script instead of its digest."""

    source: bytes
    operands: tuple[Argument, ...]

    def command(self) -> bytes:
        return pack("EVAL", self.source, *self.operands)


@dataclass(frozen=True, slots=True)
class Script:
    """A `.lua` file beside the engine that owns it. The engine wraps each call in a typed
    function.

    A line `-- include FILE` stands for that file, as in `-- include functions/bury.lua`, of the
    engine or else of the store; `$NAME` stands for what `load` gets under the name.
    """

    source: bytes
    digest: str

    @classmethod
    def load(cls, package: str, file: str, **names: str) -> "Script":
        """Reads a file of a package."""
        folder, shared = files(package), files(__package__)

        def whole(file: str) -> str:
            own = folder.joinpath(file)
            text = (own if own.is_file() else shared.joinpath(file)).read_text()
            for name, value in names.items():
                text = text.replace(f"${name}", value)
            return _INCLUDE.sub(lambda line: whole(line[1]), text)

        source = whole(file).encode()
        return cls(source, sha1(source, usedforsecurity=False).hexdigest())

    def request(
        self,
        slot: int,
        keys: Sequence[Argument],
        arguments: Sequence[Argument],
        subject: str,
        *,
        repeatable: bool = False,
        writes: bool = True,
        only_on: bytes = b"",
    ) -> Request:
        """One call of the script: a single reply."""
        operands = (len(keys), *keys, *arguments)
        return Request(
            slot,
            (pack("EVALSHA", self.digest, *operands),),
            subject,
            repeatable=repeatable,
            writes=writes,
            if_no_script=ScriptSource(self.source, operands),
            only_on=only_on,
        )


def read(slot: int, subject: str, *commands: tuple[Argument, ...]) -> Request:
    """Commands that change nothing, or nothing that a caller has to know of."""
    packed = tuple(pack(*command) for command in commands)
    return Request(slot, packed, subject, repeatable=True, writes=False)
