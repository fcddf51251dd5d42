"""Hooks: what a client tells of its calls, to metrics and traces.

    client = AsyncClient("…", hooks=[PrometheusHook(), OpenTelemetryHook()])

`pantler.prometheus` and `pantler.opentelemetry` have these.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pantler.model import Entry

Metadata = Sequence[tuple[str, str]]
Tokens = list[tuple["Hook", Any]]
T = TypeVar("T")

log = logging.getLogger("pantler")

# Not raised: a write that was done would look failed, and a stream end that all calls share.
_FAILED = "the hook %r failed"


class Hook:
    """Derive from it; each method may be left out. They are called in the client's event loop, and
    must not block. What they raise is logged, and changes nothing for callers; a hook whose `begin`
    raised is not told how that call ends.

    A call is one of the client to the server, with all its repetitions. `get_or_set` makes a
    `batch_get`, and a `batch_set` if it fetches. A read that the near cache answers is told only by
    `get`. Streams that are followed, as a watch, and those
    of progress are no calls.
    """

    def begin(self, operation: str, namespace: str, address: str) -> Any:
        """A call begins. `operation` is its RPC in snake case, as `get` and `invalidate_keys`;
        `namespace` is empty where it has none. What this gives goes to `end`."""

    def metadata(self, token: Any) -> Metadata:
        """What goes to the server with a call; keys are lower case. Only for calls that are not
        gathered with others on a stream: what those have in common is not of one call."""
        return ()

    def end(self, token: Any, outcome: str, error: BaseException | None) -> None:
        """`outcome` is `hit` or `miss` of a read of one key, else `ok`; of a call that failed it is
        the class of the error, as `Unavailable`, or `CancelledError`."""

    def sent(self, operations: int) -> None:
        """A message with so many operations was sent to the server."""

    def breaker(self, is_open: bool) -> None:
        """From now on the server is left alone, or asked again. Not told at the beginning, when it
        is asked; a client that is closed while it leaves its server alone tells False."""


class Telemetry:
    """All hooks of a client."""

    def __init__(self, hooks: Sequence[Hook], address: str) -> None:
        self.hooks = hooks
        self._address = address

    async def told(self, operation: str, namespace: str, call: Awaitable[T]) -> T:
        """What the call gives, and the hooks are told of it."""
        tokens = self.begin(operation, namespace)
        try:
            answer = await call
        except BaseException as exc:
            self.end(tokens, type(exc).__name__, exc)
            raise
        self.end(tokens, _outcome(operation, answer))
        return answer

    def get(self, get: Callable[..., Awaitable[Entry | None]]) -> Callable[..., Any]:
        """The client's `get`, of which the hooks are told."""

        async def call(namespace: str, key: str, *, accept_stale: bool = False) -> Entry | None:
            return await self.told("get", namespace, get(namespace, key, accept_stale=accept_stale))

        return call

    def operate(self, operate: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """The client's `_operate`, of which the hooks are told, but for `get`."""

        async def call(name: str, request: Any, *args: Any, **kwargs: Any) -> Any:
            answering = operate(name, request, *args, **kwargs)
            if name == "get":
                return await answering
            return await self.told(name, getattr(request, "namespace", ""), answering)

        return call

    def begin(self, operation: str, namespace: str) -> Tokens:
        tokens: Tokens = []
        for hook in self.hooks:
            try:
                tokens.append((hook, hook.begin(operation, namespace, self._address)))
            except Exception:
                log.exception(_FAILED, hook)
        return tokens

    def metadata(self, tokens: Tokens) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        for hook, token in tokens:
            try:
                pairs += hook.metadata(token)
            except Exception:
                log.exception(_FAILED, hook)
        return pairs

    def end(self, tokens: Tokens, outcome: str, error: BaseException | None = None) -> None:
        for hook, token in tokens:
            try:
                hook.end(token, outcome, error)
            except Exception:
                log.exception(_FAILED, hook)

    def sent(self, operations: int) -> None:
        self._tell(lambda hook: hook.sent(operations))

    def breaker(self, is_open: bool) -> None:
        self._tell(lambda hook: hook.breaker(is_open))

    def _tell(self, tell: Callable[[Hook], None]) -> None:
        for hook in self.hooks:
            try:
                tell(hook)
            except Exception:
                log.exception(_FAILED, hook)


def _outcome(operation: str, answer: Any) -> str:
    if operation == "get":
        return "miss" if answer is None else "hit"
    if operation == "batch_get" and len(answer.outcomes) == 1:
        found = answer.outcomes[0].WhichOneof("outcome")
        return found if found in ("hit", "miss") else "ok"
    return "ok"
