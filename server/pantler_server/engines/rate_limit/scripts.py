"""The scripts of rate limits, each with its typed call. What they do stands at the top of each
file."""

from collections.abc import Sequence
from struct import Struct

from pantler_server.core.clock import RedisClock
from pantler_server.core.rate_limit import BUCKETS, Algorithm
from pantler_server.engines.rate_limit import keys
from pantler_server.engines.rate_limit.model import Check, Decision
from pantler_server.store import answers
from pantler_server.store.request import Argument, Request, Script, pack
from pantler_server.store.store import Store

_ACQUIRE = {
    algorithm: Script.load(__package__, "acquire.lua", algorithm=algorithm.value)
    for algorithm in Algorithm
}
_ACQUIRE_ALL = Script.load(__package__, "acquire_all.lua")
_RESET = Script.load(__package__, "reset.lua")
_SEEN = Script.load(__package__, "seen.lua")
_NUMBERS = Struct("<QQQQQ")  # of a check, as acquire.lua takes them
_ANSWER = Struct("<Bqqq")  # functions/answer.lua; the slot comes after it


def acquire(
    check: Check, clock: RedisClock, *, action: str = "take", slot: str = "", request_id: str = ""
) -> Request:
    """One check. The reply is as acquire.lua gives it."""
    limit, place = check.limit, check.place
    places: list[Argument] = [place]
    arguments: list[Argument] = [action, _numbers(check, clock), slot, keys.FORGET]
    if request_id:
        places.append(keys.answer(place, limit.kind, request_id))
        arguments.append(_fingerprint(action, [check]))
    repeatable = bool(request_id) or action in ("peek", "renew")
    script = _ACQUIRE[limit.rule.algorithm]
    return script.request(slot_of(check), places, arguments, check.subject, repeatable=repeatable)


def acquire_all(
    checks: Sequence[Check], slots: Sequence[str], clock: RedisClock, request_id: str = ""
) -> Request:
    """Checks of one server and slot. The reply is as acquire_all.lua gives it."""
    places: list[Argument] = [check.place for check in checks]
    arguments: list[Argument] = [len(checks), ""]
    for check, slot in zip(checks, slots, strict=True):
        rule = check.limit.rule
        arguments += (
            rule.algorithm.value,
            int(not rule.shadow),
            _numbers(check, clock),
            slot,
        )
    if request_id:
        places.append(_answer_to_all(checks, request_id))
        arguments[1] = _fingerprint("all", checks)
    return _ACQUIRE_ALL.request(
        slot_of(checks[0]), places, arguments, checks[0].subject, repeatable=bool(request_id)
    )


def forget_answer(checks: Sequence[Check], request_id: str) -> Request:
    """Lets the id of an `acquire_all` be used as if for the first time."""
    command = pack("DEL", _answer_to_all(checks, request_id))
    return Request(slot_of(checks[0]), (command,), checks[0].subject, repeatable=True)


def reset(check: Check) -> Request:
    return _RESET.request(
        slot_of(check), [check.place], [keys.FORGET], check.subject, repeatable=True
    )


def seen(worker: str, lately_ms: int) -> Request:
    """The reply is how many workers were seen lately."""
    slot = Store.slot_of(keys.WORKERS)
    return _SEEN.request(slot, [keys.WORKERS], [worker, lately_ms], "workers", repeatable=True)


def slot_of(check: Check) -> int:
    """The slot in Redis of what a check takes."""
    return Store.slot_of(check.place)


def decision(check: Check, answer: bytes) -> Decision:
    """What a script answered to a check."""
    allowed, remaining, retry_us, reset_us = _ANSWER.unpack_from(answer)
    slot = ""
    if allowed and check.limit.rule.algorithm is Algorithm.CONCURRENCY:
        slot = answer[_ANSWER.size :].decode()
    return Decision(allowed == 1, remaining, retry_us, reset_us, slot)


def _answer_to_all(checks: Sequence[Check], request_id: str) -> bytes:
    """In the place of the same check, whatever their order."""
    first = min(checks, key=_place)
    return keys.answer(first.place, first.limit.kind, request_id)


def _place(check: Check) -> bytes:
    return check.place


def _numbers(check: Check, clock: RedisClock) -> bytes:
    limit = check.limit
    rule, first, second = limit.rule, 0, 0
    if rule.algorithm in BUCKETS:
        first = rule.capacity
    elif rule.calendar is not None:
        span = limit.span(clock.now_us())
        first, second = span.start_us, span.end_us
    return _NUMBERS.pack(check.cost, rule.limit, limit.window_us, first, second)


def _fingerprint(action: str, checks: Sequence[Check]) -> bytes:
    """What tells two requests with one id apart, beyond what their key does: the rules by what they
    are called, so that a reload makes no other request of one."""
    said: list[str | bytes] = [action]
    for check in checks:
        said += (check.limit.beginning, check.subject, str(check.cost))
    return answers.fingerprint(*said)
