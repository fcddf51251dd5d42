"""What events with an id came to, for the time in which one may be published again.

A record is a fingerprint of the event and, as compressed JSON, the outcomes of its rules: some 150
bytes for a few keys. It is written when all rules are applied, so whoever finds it need not apply
them.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import blake2b

from pantler_server.core.errors import FieldViolation, InvalidFields
from pantler_server.engines.events import keys
from pantler_server.engines.events.model import Event, RuleOutcome
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

RECORD_MS = 600_000  # as invalidation.proto says
FINGERPRINT_BYTES = 16


class Records:
    """The records of all workers. Both raise the StoreErrors and WrongKind."""

    def __init__(self, state: Store) -> None:
        self._state = state

    async def outcomes(self, event: Event, deadline: float) -> list[RuleOutcome] | None:
        """Those of the event, None if there is no record of it. One round trip. Raises
        InvalidFields for `event_id` if its record is of another event."""
        place = keys.record(event.event_id)
        request = read(self._state.slot_of(place), event.event_id, ("GET", place))
        [record] = await self._state.call(request, deadline)
        if record is None:
            return None
        if record[:FINGERPRINT_BYTES] != _fingerprint(event):
            rule = "had another type or other fields within the last 10 minutes: use a new one"
            raise InvalidFields([FieldViolation("event_id", rule)])
        outcomes = json.loads(zlib.decompress(record[FINGERPRINT_BYTES:]))
        return [RuleOutcome(**outcome) for outcome in outcomes]

    async def write(self, event: Event, outcomes: Sequence[RuleOutcome], deadline: float) -> None:
        """One round trip."""
        place = keys.record(event.event_id)
        record = _fingerprint(event) + zlib.compress(_json([_plain(one) for one in outcomes]))
        command = pack("SET", place, record, "PX", RECORD_MS)
        request = Request(self._state.slot_of(place), (command,), event.event_id, repeatable=True)
        await self._state.call(request, deadline)


def _fingerprint(event: Event) -> bytes:
    """What tells two events with one id apart."""
    said = _json([event.type, event.fields])
    return blake2b(said, digest_size=FINGERPRINT_BYTES).digest()


def _plain(outcome: RuleOutcome) -> dict[str, object]:
    """Without purges where there were none: workers of before there were any read that too."""
    plain = asdict(outcome)
    if not outcome.purge_ids:
        del plain["purge_ids"]
    return plain


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
