"""Requests and responses of Warm, to and from what the engine takes and gives."""

from dataclasses import replace

from pantler.v1 import admin_pb2

from pantler_server.core.errors import FieldViolation
from pantler_server.core.origin_config import WarmConfig, WarmSource
from pantler_server.engines.cache.record.warm_model import Progress, Wanted
from pantler_server.servicers import validate

MAX_KEYS = 10_000  # as admin.proto says: they are held for as long as the call takes
MAX_KEYS_PER_SECOND = 1_000_000
DEFAULT_KEYS_PER_SECOND = 1_000  # where the namespace has no `warm`


def check(request: admin_pb2.WarmRequest) -> None:
    """Raises InvalidFields. What is wrong with the resume token shows later."""
    violations: validate.Violations = []
    said = (bool(request.keys), request.all, request.hot)
    if sum(said) != 1:
        rule = "must be given, or all or hot" if not any(said) else "must be alone, as all and hot"
        violations.append(FieldViolation("keys", rule))
    elif request.keys:
        validate.batch_of_keys(request.keys, MAX_KEYS, "keys", violations)
    if request.keys_per_second > MAX_KEYS_PER_SECOND:
        rule = f"must be at most {MAX_KEYS_PER_SECOND}"
        violations.append(FieldViolation("keys_per_second", rule))
    validate.refuse(violations)


def wanted(request: admin_pb2.WarmRequest, config: WarmConfig | None) -> Wanted:
    """What a request asks for in a namespace whose `warm` is this."""
    rate = request.keys_per_second
    if not rate:
        rate = DEFAULT_KEYS_PER_SECOND if config is None else config.keys_per_second
    if request.hot:
        return Wanted(WarmSource.HOT, rate)
    if request.keys:
        return Wanted(WarmSource.KEYS, rate, keys=tuple(dict.fromkeys(request.keys)))
    if config is None:
        return Wanted(WarmSource.ALL, rate)
    return replace(Wanted.of(config), keys_per_second=rate)


def response(progress: Progress) -> admin_pb2.WarmResponse:
    return admin_pb2.WarmResponse(
        seen=progress.seen,
        loaded=progress.loaded,
        failed=progress.failed,
        total=progress.total,
        resume_token=progress.resume_token,
        done=progress.done,
    )
