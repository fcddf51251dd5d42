"""Events: what the rules of the configuration invalidate when something happens."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from prometheus_client import Counter

from pantler_server.core.config import Settings
from pantler_server.core.errors import ServiceError, StoreError
from pantler_server.core.namespace import Namespace, Namespaces
from pantler_server.engines.events.model import Event, Published, RuleOutcome
from pantler_server.engines.events.records import Records
from pantler_server.engines.events.rules import Rule, Targets, plan
from pantler_server.store.store import Store

_EVENTS = Counter(
    "pantler_events",
    "Events by the rules applied to them: (none) if none was, (duplicate) if that was done before",
    ("rule",),
)


class Invalidation(Protocol):
    """The port through which rules are applied. Each call is acknowledged when it returns, with the
    id of the purge of the namespace's CDN (empty if it has none), and may be repeated."""

    async def invalidate_keys(
        self,
        space: Namespace,
        named: Sequence[str],
        deadline: float,
        *,
        soft: bool = False,
        cascade: bool = False,
    ) -> tuple[list[str], str]:
        """All that were invalidated, these and what a cascade reached."""

    async def invalidate_tags(
        self, space: Namespace, tags: Sequence[str], deadline: float, *, soft: bool = False
    ) -> str: ...

    async def invalidate_namespace(
        self, space: Namespace, deadline: float, *, soft: bool = False
    ) -> tuple[int, str]: ...


class EventEngine:
    """Applies the rules that are in force when an event comes, each at least once."""

    def __init__(
        self, state: Store, settings: Settings, namespaces: Namespaces, invalidation: Invalidation
    ) -> None:
        self._records = Records(state)
        self._namespaces = namespaces
        self._invalidation = invalidation
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration; events under way go by the rules they began with."""
        rules: dict[str, list[Rule]] = {}
        for config in settings.events:
            rules.setdefault(config.type, []).append(Rule.of(config))
        self._rules: Mapping[str, Sequence[Rule]] = rules

    async def publish(self, event: Event, deadline: float) -> Published:
        """Applies the rules for an event, one after the other, unless that was done before. Without
        a rule for its type there is nothing to do, and nothing to remember.

        Raises InvalidFields before anything is done; else what the first rule that failed raises,
        and the caller repeats the call.
        """
        rules = self._rules.get(event.type)
        if rules is None:
            _EVENTS.labels("(none)").inc()
            return Published((), duplicate=False)
        if event.event_id:
            known = await self._records.outcomes(event, deadline)
            if known is not None:
                _EVENTS.labels("(duplicate)").inc()
                return Published(known, duplicate=True)
        outcomes = await self._apply_all(plan(rules, event.fields), deadline)
        if event.event_id:
            await self._records.write(event, outcomes, deadline)
        for outcome in outcomes:
            _EVENTS.labels(outcome.rule).inc()
        if not outcomes:
            _EVENTS.labels("(none)").inc()
        return Published(outcomes, duplicate=False)

    async def _apply_all(self, planned: Sequence[Targets], deadline: float) -> list[RuleOutcome]:
        """A rule that fails keeps no other from being applied, or one whose cascade is too wide
        would do so for good; but while Redis is away there is no use in going on."""
        outcomes: list[RuleOutcome] = []
        failed: ServiceError | None = None
        for targets in planned:
            try:
                outcomes.append(await self._apply_one(targets, deadline))
            except ServiceError as error:
                error.metadata = {**error.metadata, "rule": targets.rule.name}
                if isinstance(error, StoreError):
                    raise
                failed = failed or error
        if failed is not None:
            raise failed
        return outcomes

    async def _apply_one(self, targets: Targets, deadline: float) -> RuleOutcome:
        rule = targets.rule
        soft = rule.mode == "soft"
        space = await self._namespaces.resolve(rule.namespace, deadline)
        cascaded = 0
        purge_ids = []
        if targets.keys:
            reached, purge_id = await self._invalidation.invalidate_keys(
                space, targets.keys, deadline, soft=soft, cascade=rule.cascade
            )
            cascaded = len(reached) - len(targets.keys)
            purge_ids.append(purge_id)
        if targets.tags:
            purge_ids.append(
                await self._invalidation.invalidate_tags(space, targets.tags, deadline, soft=soft)
            )
        if rule.all:
            _, purge_id = await self._invalidation.invalidate_namespace(space, deadline, soft=soft)
            purge_ids.append(purge_id)
        return RuleOutcome(
            rule.name,
            rule.namespace,
            soft,
            targets.keys,
            cascaded,
            targets.tags,
            rule.all,
            tuple(filter(None, purge_ids)),
        )
