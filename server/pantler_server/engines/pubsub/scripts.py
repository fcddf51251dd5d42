"""What channels ask of Redis, and what it answers. What the scripts do stands at the top of each
file."""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import keys
from pantler_server.engines.pubsub.model import Message
from pantler_server.store import answers
from pantler_server.store.link import Reply
from pantler_server.store.request import Argument, Request, Script, pack, read

_BEGIN = Script.load(__package__, "begin.lua")
_PUBLISH = Script.load(__package__, "publish.lua")
_SEND = Script.load(__package__, "send.lua")

_HEAD = Struct("<QQB")  # sequence, epoch, bytes of the content type; then that, and the payload
_PAGE_BYTES = 1 << 20  # of what one read should give: who resumes and reads slowly keeps it
_MOST_PAGE_BYTES = 64 << 20  # that one read may give, should all messages be of the longest
_PAGE_MESSAGES = 500
_FIRST_MESSAGES = 4  # those that are kept may be longer than what is allowed by now
_PAGE_GROWTH = 4
_COUNTS = ("sequence", "gap", "primary")


class Counts(NamedTuple):
    """How far a namespace's messages have come."""

    sequence: int
    gap: int
    primary: bytes


def send(space: Namespace, message: Message, request_id: str) -> Request:
    """Without a history. The reply says how many heard of it, or is as send.lua has it."""
    partition = keys.partition(space)
    packed = pack_message(message)
    name = keys.channel(space, message.channel)
    if not request_id:
        command = pack("PUBLISH", name, packed)
        return Request(partition.slot, (command,), message.channel, repeatable=False)
    answer = keys.answer(space, request_id)
    arguments = (name, packed, _fingerprint(message))
    return _SEND.request(partition.slot, (answer,), arguments, message.channel, repeatable=True)


def publish(space: Namespace, message: Message, request_id: str, primary: bytes) -> Request:
    """With a history, by this primary only. The reply is as publish.lua has it."""
    config = space.config.channels.history
    assert config is not None
    places = [keys.counts(space), keys.history(space)]
    arguments: list[Argument] = [
        keys.channel(space, message.channel),
        message.channel,
        message.content_type,
        message.payload,
        primary,
        config.max_messages,
        int(config.ttl.total_seconds() * 1000),
    ]
    if request_id:
        places.append(keys.answer(space, request_id))
        arguments.append(_fingerprint(message))
    return _PUBLISH.request(
        keys.partition(space).slot,
        places,
        arguments,
        message.channel,
        repeatable=bool(request_id),
        only_on=primary,
    )


def begin(space: Namespace, primary: bytes) -> Request:
    """The reply is as begin.lua has it."""
    places = (keys.counts(space), keys.history(space))
    return _BEGIN.request(
        keys.partition(space).slot, places, (primary,), space.name, repeatable=True, only_on=primary
    )


def count(space: Namespace) -> bytes:
    """The command whose reply goes to `counts`."""
    return pack("HMGET", keys.counts(space), *_COUNTS)


def counts(reply: Sequence[bytes | None]) -> Counts | None:
    """None if they were lost, or never there."""
    sequence, gap, primary = reply
    if sequence is None or gap is None or primary is None:
        return None
    return Counts(int(sequence), int(gap), primary)


class PageSize:
    """How many messages to read at a time: at first few, and then as many as fit if they are as the
    last ones were."""

    def __init__(self, space: Namespace) -> None:
        longest = space.config.channels.max_payload_bytes
        self._most = max(1, min(_MOST_PAGE_BYTES // longest, _PAGE_MESSAGES))
        self.now = max(1, min(_PAGE_BYTES // longest, _FIRST_MESSAGES))

    def learn(self, messages: Sequence[Message]) -> None:
        """Takes up what a page gave."""
        if messages:
            read = sum(len(message.payload) for message in messages)
            fit = _PAGE_BYTES * len(messages) // max(read, 1)
            self.now = max(1, min(fit, self.now * _PAGE_GROWTH, self._most))


def read_after(space: Namespace, sequence: int, size: int) -> Request:
    """At most so many of the messages after a sequence: the first reply goes to `counts`, the
    second to `messages`. What the counts have is there, or was lost; what is published between the
    two is not counted."""
    after = f"({sequence}-0"
    search = ("XRANGE", keys.history(space), after, "+", "COUNT", size)
    counting = ("HMGET", keys.counts(space), *_COUNTS)
    return read(keys.partition(space).slot, space.name, counting, search)


def messages(entries: Reply) -> list[Message]:
    """Those of a page, with no epoch yet."""
    found = []
    for entry_id, (_, channel, _, content_type, _, payload) in entries:
        sequence = int(entry_id.partition(b"-")[0])
        message = Message(channel.decode(), payload, content_type.decode(), sequence, 0)
        found.append(message)
    return found


def pack_message(message: Message) -> bytes:
    content_type = message.content_type.encode()
    head = _HEAD.pack(message.sequence, message.epoch, len(content_type))
    return head + content_type + message.payload


def unpack_message(channel: str, packed: bytes) -> Message | None:
    """None if somebody else has sent it."""
    if len(packed) < _HEAD.size:
        return None
    sequence, epoch, length = _HEAD.unpack_from(packed)
    payload_at = _HEAD.size + length
    content_type = packed[_HEAD.size : payload_at].decode("ascii", "replace") if length else ""
    return Message(channel, packed[payload_at:], content_type, sequence, epoch)


def sequence_of(packed: Reply) -> int:
    """Of a packed message; 0 if it has none, or is none."""
    is_message = isinstance(packed, bytes) and len(packed) >= _HEAD.size
    return int(_HEAD.unpack_from(packed)[0]) if is_message else 0


def _fingerprint(message: Message) -> bytes:
    return answers.fingerprint(message.channel, message.content_type, message.payload)
