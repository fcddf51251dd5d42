"""What purges ask of Redis, and what it answers. What the scripts do stands at the top of each
file."""

import json
from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

from pantler_server.cdns.target import Kind
from pantler_server.engines.cdn import keys
from pantler_server.engines.cdn.batching import ALL, Value, Waiting
from pantler_server.engines.cdn.purge_model import PurgeState, PurgeStatus, Receipt
from pantler_server.store.link import Reply
from pantler_server.store.request import Argument, Request, Script, read
from pantler_server.store.store import Store

REUSED = 2
"""What append.lua answers first if the request id had another request."""
OWN_MS = 5_000
"""For how long a target stays with an owner that has died."""
KEEP_MS = 86_400_000
"""For how long a receipt is kept after its last change, as cdn.proto says."""
FULL = 3
"""… if too much waits for a target that can't purge everything; its name follows."""
MOST_WEIGHT = 16 << 20
"""Of what waits for a target: some 147,000 purges of a tag of 40 characters, which take 17 MB of
Redis and, measured, 130 MB of the worker that owns the target; in parts of 500 values they take
31 MB of it. Instead of more there is one purge of everything."""
VALUE_WEIGHT = 64  # of each value, beside the part's JSON
VALUES_IN_PART = 500
BYTES_IN_PART = 64 << 10  # about: how finely a page is cut
PAGE_WEIGHT = (
    64 << 10
)  # of what waits that is read at once: up to five ms of Redis, if each is small
SETTLE_AT_ONCE = 200  # entries in one script: a millisecond of Redis, ten if each is a full part

_APPEND = Script.load(__package__, "append.lua")
_CLAIM = Script.load(__package__, "claim.lua")
_SETTLE = Script.load(__package__, "settle.lua")
_NOTE_ATTEMPT = Script.load(__package__, "note_attempt.lua")
_RELEASE = Script.load(__package__, "release.lua")

_SLOT = Store.slot_of(keys.TAG)
_LETTERS = {Kind.TAG: "t", Kind.URL: "u", Kind.EVERYTHING: "e"}


class Part(NamedTuple):
    """A purge, or a part of a large one, as the queues have it."""

    text: bytes
    """JSON: the values by kind, and the kinds of all of the purge (`k`) where there are more."""
    weight: int


def parts_of(values: Sequence[Value]) -> list[Part]:
    """What is to be purged, in parts of a bounded size. A purge of everything is one part."""
    parts: list[Part] = []
    kinds = "".join(dict.fromkeys(_LETTERS[kind] for kind, _ in values))
    part: dict[str, list[str]] = {}
    count = size = 0
    for kind, text in values:
        if kind is Kind.EVERYTHING:
            return [EVERYTHING]
        if count and (count == VALUES_IN_PART or size + len(text) > BYTES_IN_PART):
            parts.append(_part(part, kinds, count))
            part, count, size = {}, 0, 0
        part.setdefault(_LETTERS[kind], []).append(text)
        count, size = count + 1, size + len(text)
    return [*parts, _part(part, kinds, count)]


def append(
    purge_id: str,
    targets: Sequence[str],
    parts: Sequence[Part],
    *,
    delay_ms: int,
    soft: bool,
    partial: Collection[str] = (),
    most: int = MOST_WEIGHT,
    request_id: str = "",
    fingerprint: bytes = b"",
) -> Request:
    """The reply is as append.lua has it; `partial` are the targets that can't purge everything. An
    id is given to one call: so it may be repeated."""
    places: list[Argument] = [keys.receipt(purge_id)]
    for name in targets:
        places += (keys.queue(name), keys.state(name), keys.owner(name))
    arguments: list[Argument] = [
        purge_id,
        len(targets),
        len(parts),
        most,
        delay_ms,
        b"1" if soft else b"",
        KEEP_MS,
        *EVERYTHING,
    ]
    for name in targets:
        arguments += (name, b"" if name in partial else b"1")
    for part in parts:
        arguments += part
    if request_id:
        places.append(keys.answer(request_id))
        arguments.append(fingerprint)
    return _APPEND.request(_SLOT, places, arguments, "the purge", repeatable=True)


class Claim(NamedTuple):
    """A target that is this worker's for a while, and what waits for it."""

    now_ms: int
    waiting: int
    oldest_ms: int
    """When the oldest was asked for (Unix time); 0 if none waits."""
    failures: int
    alone_ms: int
    """For how long the target is to be left alone."""
    config: bytes
    """The fingerprint of the configuration with which it failed; empty if it did not."""
    found: list[Waiting]
    more: bool


def claim(target: str, channel: str, after: bytes) -> Request:
    """The reply goes to `claimed`."""
    places = (keys.owner(target), keys.queue(target), keys.state(target))
    arguments = (channel, OWN_MS, after, PAGE_WEIGHT)
    return _CLAIM.request(_SLOT, places, arguments, target, repeatable=True)


def claimed(reply: Reply) -> Claim | int:
    """For how long another owns it (ms), if one does."""
    if not reply[0]:
        return max(0, int(reply[1]))
    _, now_ms, waiting, oldest_ms, failures, alone_ms, config, found, more = reply
    entries = [_waiting(*one) for one in found]
    now, oldest = int(now_ms), int(oldest_ms)
    return Claim(now, waiting, oldest, failures, alone_ms, config, entries, bool(more))


def settle(target: str, over: Sequence[Waiting]) -> Request:
    """The reply goes to `failed_of`."""
    places = [keys.queue(target), keys.state(target)]
    arguments: list[Argument] = [target, KEEP_MS]
    for one in over:
        places.append(keys.receipt(one.purge_id))
        arguments += (one.entry_id, one.purge_id, one.refusal, one.replaces, one.weight)
    return _SETTLE.request(_SLOT, places, arguments, target, repeatable=True)


def failed_of(reply: Reply, over: Sequence[Waiting]) -> list[Waiting]:
    """Whose purges are over now, and have failed."""
    return [over[number - 3] for number in reply]


def note_attempt(
    target: str,
    purge_ids: Sequence[str],
    failures: int,
    alone_ms: int,
    answer: str,
    config: bytes,
) -> Request:
    """Not repeated: it counts."""
    places = [keys.state(target), *map(keys.receipt, purge_ids)]
    arguments = (target, KEEP_MS, failures, alone_ms, answer, config)
    return _NOTE_ATTEMPT.request(_SLOT, places, arguments, target)


def release(target: str, channel: str) -> Request:
    return _RELEASE.request(_SLOT, (keys.owner(target),), (channel,), target, repeatable=True)


def read_receipt(purge_id: str) -> Request:
    """The reply goes to `targets_of` and `status`."""
    return read(_SLOT, purge_id, ("HGETALL", keys.receipt(purge_id)))


_STATE = ("done", "done_ms", "failed", "failed_ms", "failed_error", "answer")


def read_states(targets: Sequence[str]) -> Request:
    """A reply for each target, for `status`."""
    commands = [("HMGET", keys.state(name), *_STATE) for name in targets]
    return read(_SLOT, "the purge", *commands)


def targets_of(receipt: Reply) -> list[str]:
    """Those of a purge, none if there is no receipt."""
    named: bytes = receipt.get(b"targets", b"")
    return named.decode().split("\n") if named else []


def status(receipt: Reply, states: Sequence[Reply]) -> PurgeStatus:
    receipts = []
    for name, state in zip(targets_of(receipt), states, strict=True):

        def told(field: str, name: str = name) -> bytes:
            found: bytes = receipt.get(f"{field}:{name}".encode(), b"")
            return found

        how, error, ended = int(told("state") or 1), told("error"), int(told("end") or 0)
        if how == PurgeState.PENDING.value:  # maybe something else came in its place
            how, error, ended = _replaced(told("id"), state) or (how, error or state[-1] or b"", 0)
        attempts = int(told("attempts") or 0)
        receipts.append(Receipt(name, PurgeState(how), attempts, error.decode(), ended))
    return PurgeStatus(int(receipt[b"created"]), receipts)


def _replaced(entry_id: bytes, state: Reply) -> tuple[int, bytes, int] | None:
    """State, answer and time of the purge of everything that came in the place of an entry, if
    there was one and it is over."""
    done, done_ms, failed, failed_ms, why, _ = state
    if done and _order(entry_id) <= _order(done):
        return PurgeState.DONE.value, b"", int(done_ms)
    if failed and _order(entry_id) <= _order(failed):
        return PurgeState.FAILED.value, why, int(failed_ms)
    return None


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number)


def _waiting(entry_id: bytes, fields: Sequence[bytes]) -> Waiting:
    said = dict(zip(fields[::2], fields[1::2], strict=True))
    values = json.loads(said[b"v"])
    left = [
        Value(kind, text)
        for kind in (Kind.TAG, Kind.URL)
        for text in values.get(_LETTERS[kind], ())
    ]
    if _LETTERS[Kind.EVERYTHING] in values:
        left.append(ALL)
    return Waiting(
        entry_id,
        said[b"p"].decode(),
        int(said[b"d"]),
        int(said[b"a"]),
        bool(said[b"s"]),
        dict.fromkeys(left),
        _kinds(values.get("k") or "".join(values)),
        said[b"c"],
        int(said[b"w"]),
    )


@cache  # so that all that waits shares a few
def _kinds(letters: str) -> frozenset[Kind]:
    return frozenset(kind for kind, letter in _LETTERS.items() if letter in letters)


def _part(part: dict[str, list[str]], kinds: str, count: int) -> Part:
    text = _json(part if len(part) == len(kinds) else {**part, "k": kinds})
    return Part(text, len(text) + VALUE_WEIGHT * count)


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


EVERYTHING = _part({_LETTERS[Kind.EVERYTHING]: []}, _LETTERS[Kind.EVERYTHING], 1)
