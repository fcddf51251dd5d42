"""What a call can fail with, as one tree.

    ServiceError
    ├── InvalidFields         one or more fields of the request are out of range
    ├── NamespaceUnknown      not in the configuration, and the server is strict
    ├── TooManyNamespaces     too many namespaces that the configuration does not name
    ├── WrongKind             the name's place in Redis holds something else
    ├── LeaseLost             the lease is over, or another's
    ├── NoTagIndex            the namespace keeps no index of its tags
    ├── CascadeTooWide        more depends on the keys than one call may reach
    ├── RateLimitRuleUnknown  no rule of the configuration has the name
    ├── BoardUnknown          not in the configuration, and its namespace is strict
    ├── NoHistory             the namespace keeps no messages of its channels
    ├── SlotNotHeld           a slot has expired, or was released
    ├── NotReplicated         an invalidation took effect, but replicas may lack it
    ├── NoOrigin              the namespace has no system of record
    ├── HasOrigin             its entries are records of its origin, and not set
    ├── RecordExists          an INSERT of a record that is there
    ├── RecordMissing         an UPDATE of a record that is not
    ├── RecordChanged         others kept writing the record
    ├── WriteRefused          the origin does not take this write, or none
    ├── WriteBacklogFull      too many writes wait for the origin
    ├── OriginNotReady        the origin can't serve as it is configured
    ├── OriginUnavailable     the origin is away or failed, and nothing was done
    ├── OriginOutcomeUnknown  the origin went away with a write under way
    ├── NoHttp                the namespace is not served over HTTP
    ├── CdnTargetUnknown      no CDN target of the configuration has the name
    ├── PurgeBacklogFull      too much waits for a CDN target
    ├── PurgeUnknown          there is no purge with the id
    ├── NoEdgeStore           the CDN target has no edge store
    ├── CdnRefused            a CDN refused what it was asked for
    ├── CdnUnavailable        a CDN is away or failed
    ├── ResponseTooLarge      the answer would not fit a message
    ├── TooManyOperations     an Exchange has too many under way
    ├── ConfigInvalid         a configuration file that can't be put in force
    ├── DeadlinePassed        the call's time was up
    ├── ShuttingDown          the worker takes no more calls
    ├── InternalError         a defect
    └── StoreError
        ├── StoreUnavailable  Redis is away, and nothing was done
        │   └── PrimaryChanged … as the only server that may do it is not the primary now
        ├── OutcomeUnknown    Redis went away with a write under way
        └── StoreOutOfMemory  Redis is full

Raise the most specific one. `servicers/status.py` turns each into a gRPC status, and is the only
file that knows how; proto/pantler/v1/errors.proto says what the caller is told. Messages are for
people: they say what to do, and never carry the text of a driver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class ServiceError(Exception):
    """The root: never raised itself."""

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = metadata
        """What the reason's documentation in errors.proto promises, by name."""


# Each stands in the trailers three times, and clients take 8 KiB of these.
MAX_VIOLATIONS = 10
MAX_VIOLATION_CHARACTERS = 1200  # of all, but one is always named


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field that is out of range: its path in the request, and what it must be."""

    path: str
    description: str


class InvalidFields(ServiceError):
    """The request has fields out of range. Nothing was done; the caller corrects the request."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        named = list(violations[:MAX_VIOLATIONS])
        while len(named) > 1 and _characters(named) > MAX_VIOLATION_CHARACTERS:
            named.pop()
        message = "; ".join(f"{one.path} {one.description}" for one in named)
        if len(violations) > len(named):
            message += "; and more"
        super().__init__(message)
        self.violations = named
        """The first few of them."""


def _characters(violations: Sequence[FieldViolation]) -> int:
    return sum(len(one.path) + len(one.description) for one in violations)


class NamespaceUnknown(ServiceError):
    """The server is strict and does not know the namespace. The operator adds it, or the caller
    corrects its name."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"namespace {namespace!r} is not in the configuration, and the server is strict: "
            "add it under `namespaces`, or correct the name",
            namespace=namespace,
        )


class TooManyNamespaces(ServiceError):
    """A namespace that the configuration does not name would be one too many. The operator names it
    or raises the bound; a caller that makes namespace names up stops doing so."""

    def __init__(self, namespace: str, bound: int) -> None:
        super().__init__(
            f"namespace {namespace!r} would be more than {bound} that the configuration does not "
            "name: add it under `namespaces`, or raise `max_dynamic_namespaces`",
            namespace=namespace,
            max_dynamic_namespaces=str(bound),
        )


class WrongKind(ServiceError):
    """The place of this name in Redis holds data that Pantler did not write, or of another kind.
    Nothing was changed; an operator finds out who else writes there."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"{key!r} is the name of data of another kind, or of none of Pantler's; nothing was "
            "changed: use another name",
            key=key,
        )
        self.key = key


class LeaseLost(ServiceError):
    """The lease that the token is of is over: it expired, was released or given to another, or its
    key was set, deleted or invalidated. The caller stops its fetch, or reads again."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the lease of {key!r} is over: read the key again to get another", key=key
        )


class NoTagIndex(ServiceError):
    """The namespace does not keep what the call needs. The operator sets its `tag_index`."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"namespace {namespace!r} keeps no index of its tags: set its `tag_index`, and entries "
            "that are stored from then on are listed",
            namespace=namespace,
        )


class CascadeTooWide(ServiceError):
    """So much depends on the keys, directly or not, that the cascade was given up; what is nearest
    is invalidated. The caller gives such entries a tag, and invalidates that."""

    def __init__(self, max_keys: int, max_steps: int) -> None:
        super().__init__(
            f"more than {max_keys} keys depend on these, or over more than {max_steps} steps; the "
            "nearest are invalidated. Give such entries a tag, and invalidate that",
            max_keys=str(max_keys),
            max_steps=str(max_steps),
        )


class RateLimitRuleUnknown(ServiceError):
    """The configuration has no rule of this name. The operator adds it, or the caller corrects the
    name."""

    def __init__(self, rule_name: str) -> None:
        rule_name = rule_name[:64]  # the longest that there may be has 63
        super().__init__(
            f"no rate limit rule is called {rule_name!r}: add it under `rate_limits`, or correct "
            "the name",
            rule_name=rule_name,
        )


class BoardUnknown(ServiceError):
    """The namespace is strict about its boards and does not know this one. The operator describes
    it, or the caller corrects its name."""

    def __init__(self, namespace: str, board: str) -> None:
        super().__init__(
            f"board {board!r} is not in the configuration of namespace {namespace!r}, which has "
            "`strict_boards`: describe it under `boards`, or correct the name",
            namespace=namespace,
            board=board,
        )


class NoHistory(ServiceError):
    """The namespace keeps no messages. The operator gives its channels a history, or the caller
    begins with what comes from now on."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"namespace {namespace!r} keeps no history of its channels: set `history` in its "
            "`channels`, or leave `resume_after` out",
            namespace=namespace,
        )


class SlotNotHeld(ServiceError):
    """The slot has expired, was released, or its subject was reset; somebody else may hold it. The
    caller stops what it does under it, or acquires another."""

    def __init__(self, slot_id: str) -> None:
        super().__init__(
            "the slot is not held: it has expired, or was released; acquire another",
            slot_id=slot_id,
        )


class NotReplicated(ServiceError):
    """An invalidation took effect at every primary, but fewer replicas than wished for said in time
    that they have it. The caller repeats it."""

    def __init__(self, wanted: int, reached: int) -> None:
        super().__init__(
            f"it took effect, but {reached} replicas said that they have it instead of {wanted}, "
            "and a failover now may undo it: repeat the call",
            wanted=str(wanted),
            reached=str(reached),
        )


class NoOrigin(ServiceError):
    """The namespace has no system of record. The operator gives it one, or the caller uses
    CacheService."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"namespace {namespace!r} has no system of record: give it an `origin`, or use "
            "CacheService",
            namespace=namespace,
        )


class HasOrigin(ServiceError):
    """The namespace's entries are records of its system of record. The caller writes them with
    RecordService."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"the entries of namespace {namespace!r} are records of its origin: write them with "
            "RecordService/PutRecord",
            namespace=namespace,
        )


class RecordExists(ServiceError):
    """An INSERT of a record that is there. The caller updates it, or takes another key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is a record {key!r} already: update it, or use UPSERT", key=key)


class RecordMissing(ServiceError):
    """An UPDATE of a record that is not there. The caller inserts it."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no record {key!r}: insert it, or use UPSERT", key=key)


class RecordChanged(ServiceError):
    """The record was written by others again and again while this write was made ready; nothing was
    done. The caller repeats it."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"record {key!r} was written by others meanwhile, again and again; nothing was done: "
            "repeat the call",
            key=key,
        )


class WriteRefused(ServiceError):
    """The origin does not take the write: a rule of the table forbids it, say, or the namespace is
    read only. Nothing was changed; the caller corrects the write."""

    def __init__(self, message: str, namespace: str) -> None:
        super().__init__(message, namespace=namespace)


class WriteBacklogFull(ServiceError):
    """As many writes wait for the origin as may. The caller comes back later; the operator looks
    why the origin does not keep up, and into the dead writes."""

    def __init__(self, namespace: str, max_backlog: int) -> None:
        super().__init__(
            f"{max_backlog} writes of namespace {namespace!r} wait for its origin, and no more "
            "may: come back later (GetWriteBacklog says why)",
            namespace=namespace,
            max_backlog=str(max_backlog),
        )


class OriginNotReady(ServiceError):
    """The origin of the namespace can't serve as it is configured: a table that does not exist,
    say. The operator mends it, and the worker notices by itself."""

    def __init__(self, namespace: str, problem: str) -> None:
        super().__init__(
            f"the origin of namespace {namespace!r} can't serve: {problem}", namespace=namespace
        )


class OriginUnavailable(ServiceError):
    """The origin is away, too slow, failed or answered nonsense; nothing was done. The caller tries
    again after a moment."""

    def __init__(self, message: str, namespace: str) -> None:
        super().__init__(message, namespace=namespace)


class OriginOutcomeUnknown(ServiceError):
    """The origin went away between a write and its answer: it took effect or it did not. The caller
    repeats it with its request id."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"the origin of namespace {namespace!r} did not answer in time, or went away: the "
            "write took effect, or it did not; repeat it with its request id",
            namespace=namespace,
        )


class NoHttp(ServiceError):
    """The namespace has no HTTP policy. The operator gives it one, or the caller sends a policy."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"namespace {namespace!r} is not served over HTTP: set its `http` ({{}} will do)",
            namespace=namespace,
        )


class CdnTargetUnknown(ServiceError):
    """No CDN target has the name. The operator adds it, or the caller corrects the name."""

    def __init__(self, target: str) -> None:
        named = f"no CDN target is called {target!r}" if target else "there is no CDN target"
        super().__init__(f"{named}: add it under `cdn_targets`, or correct the name", target=target)


class PurgeBacklogFull(ServiceError):
    """As much waits for a CDN target as may, and it can't purge everything in the place of that. No
    purge was written down, for no target; an invalidation is in force all the same. The caller
    repeats the call later; the operator looks why the target does not keep up. `but` says what was
    done before; with `alone` nothing waits, and the call itself names more than may."""

    def __init__(self, target: str, *, but: str = "", alone: bool = False) -> None:
        why, then = f"as much waits for CDN target {target!r} as may", "repeat the call later"
        if alone:
            why = f"it alone is more than may wait for CDN target {target!r}"
            then = "name fewer keys in a call"
        super().__init__(
            f"{but}the purge was not written down: {why}, and it can't purge everything instead; "
            f"{then}, or give the target its `http.all_url`",
            target=target,
        )
        self.alone = alone


class PurgeUnknown(ServiceError):
    """There is no purge with the id, or it is more than a day old."""

    def __init__(self, purge_id: str) -> None:
        super().__init__(
            f"there is no purge {purge_id!r}: ids are kept for a day", purge_id=purge_id
        )


class NoEdgeStore(ServiceError):
    """The CDN target keeps no values at its edge. The operator says where they are."""

    def __init__(self, target: str) -> None:
        super().__init__(
            f"CDN target {target!r} has no edge store: give it `cloudflare.account` and "
            "`cloudflare.kv_namespace`",
            target=target,
        )


class CdnRefused(ServiceError):
    """A CDN refused what it was asked for: a wrong token, or a limit of its own. The operator or
    the caller mends what the message names; repeating it is of no use."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"CDN target {target!r} refused: {reason}", target=target)


class CdnUnavailable(ServiceError):
    """A CDN could not be reached, failed, or asked for patience: it may have done what it was asked
    for. The caller repeats the call after a moment."""

    def __init__(self, target: str, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"CDN target {target!r} did not serve: {reason}", target=target)
        self.retry_after_s = retry_after_s
        """For how long it is to be left alone, as it said; 0: it did not say."""


class ResponseTooLarge(ServiceError):
    """The answer would be larger than a message may be. The caller asks for less at once."""

    def __init__(self, response_bytes: int, max_message_bytes: int) -> None:
        super().__init__(
            f"the response would take {response_bytes} bytes, and a message at most "
            f"{max_message_bytes}: ask for fewer keys at once, or raise `max_message_bytes`",
            response_bytes=str(response_bytes),
            max_message_bytes=str(max_message_bytes),
        )


class TooManyOperations(ServiceError):
    """As many operations of an Exchange are under way as may, and nothing was done. The caller
    sends the next when others are answered."""

    def __init__(self, max_operations: int) -> None:
        super().__init__(
            f"{max_operations} operations of this stream are under way: send the next when others "
            "are answered",
            max_operations=str(max_operations),
        )


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong in the configuration."""

    source: str
    """Where: `pantler.yaml:12` or `environment PANTLER_WORKERS`."""
    path: str
    """The setting, as `namespaces.users.ttl`; empty for the file as a whole."""
    message: str
    """What it must be."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.path, self.message) if part)


class ConfigInvalid(ServiceError):
    """The configuration can't be put in force, and the old one stays. The operator corrects it."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


class DeadlinePassed(ServiceError):
    """The call's deadline passed. What a write came to is unknown; the caller allows more time."""


class ShuttingDown(ServiceError):
    """The worker is about to stop, and nothing was done. The caller tries again, elsewhere."""


class InternalError(ServiceError):
    """A defect in Pantler or in what it stands on; the log has the rest under the request id."""


class StoreError(ServiceError):
    """Redis did not do what was asked. `role` is `cache` or `state`."""

    def __init__(self, message: str, role: str) -> None:
        super().__init__(message, role=role)


class StoreUnavailable(StoreError):
    """Redis can't be reached or can't serve just now, and nothing was done. The caller tries again
    after a moment."""


class PrimaryChanged(StoreUnavailable):
    """The request is for one server only (a fill token names the primary that gave it), and that is
    not the primary now. Engines say what it means."""


class OutcomeUnknown(StoreError):
    """Redis went away between a write and its answer: it took effect or it did not. The caller
    repeats it only if twice is as good as once."""


class StoreOutOfMemory(StoreError):
    """Redis is at its memory limit and nothing can be evicted; nothing was stored. The operator
    gives it more memory or an eviction policy that frees some."""
