"""The calls of RateLimitService."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import timedelta
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

from pantler import rate_limit_messages as messages
from pantler.connection import Connection
from pantler.errors import answer_to
from pantler.permits import Permits
from pantler.rate_limit_model import (
    AllDecision,
    Decision,
    RateLimitCheck,
    RateLimitRule,
    RefundResult,
)
from pantler.rate_limited import limited
from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

P = ParamSpec("P")
T = TypeVar("T")


class RateLimitCalls(Connection):
    """How a client asks whether something may be done now.

    A `subject` is whom to count for, as "user:42". A `rule` is the name of a rule of the server's
    configuration, or a RateLimitRule. A denial is a Decision that is false, not an error.
    """

    async def acquire(
        self, subject: str, rule: str | RateLimitRule, *, cost: int = 1, request_id: str = ""
    ) -> Decision:
        """Takes permits, if they are there.

            if not await client.acquire("user:42", "api"):
                ...  # too many: say so

        After an error the permits may have been taken or not. With a `request_id`, such as a UUID,
        the call may be repeated: within 10 minutes it gets the first answer again.
        """
        request = rate_limit_pb2.AcquireRequest(
            subject=subject,
            cost=cost,
            request_id=request_id,
            **messages.limited_by(rule),
        )
        answer = await self._operate("acquire", request, repeatable=bool(request_id))
        return messages.decision(answer)

    async def acquire_all(
        self, checks: Iterable[RateLimitCheck], *, request_id: str = ""
    ) -> AllDecision:
        """Takes permits from all of up to 100 rules and subjects, or from none. `request_id` as in
        `acquire`."""
        request = rate_limit_pb2.AcquireAllRequest(
            checks=map(messages.check_message, checks), request_id=request_id
        )
        answer = await answer_to(self._rate_limit_service.AcquireAll, request, self._timeout_s)
        return AllDecision(answer.allowed, tuple(map(messages.decision, answer.decisions)))

    async def peek(self, subject: str, rule: str | RateLimitRule, *, cost: int = 1) -> Decision:
        """What an `acquire` would say now. It takes nothing."""
        request = rate_limit_pb2.PeekRequest(
            subject=subject, cost=cost, **messages.limited_by(rule)
        )
        answer = await answer_to(self._rate_limit_service.Peek, request, self._timeout_s)
        return messages.peeked(answer)

    async def reset(self, subject: str, rule: str | RateLimitRule) -> None:
        """Forgets what a subject has taken; its slots are held by nobody then."""
        request = rate_limit_pb2.ResetRequest(subject=subject, **messages.limited_by(rule))
        await answer_to(self._rate_limit_service.Reset, request, self._timeout_s)

    async def refund(
        self, subject: str, rule: str | RateLimitRule, *, cost: int = 1, request_id: str = ""
    ) -> RefundResult:
        """Gives permits back that were taken and not used. Once their window is over, it gives back
        what was taken in the next. `request_id` as in `acquire`, but another one."""
        request = rate_limit_pb2.RefundRequest(
            subject=subject,
            cost=cost,
            request_id=request_id,
            **messages.limited_by(rule),
        )
        answer = await answer_to(self._rate_limit_service.Refund, request, self._timeout_s)
        return RefundResult(answer.limit, answer.remaining, answer.reset_after.ToTimedelta())

    async def renew_slot(self, subject: str, rule: str | RateLimitRule, slot_id: str) -> timedelta:
        """Holds a slot for the rule's window from now on, which is returned. Raises SlotNotHeld.
        `slot` does this by itself."""
        request = rate_limit_pb2.RenewSlotRequest(
            subject=subject, slot_id=slot_id, **messages.limited_by(rule)
        )
        answer = await answer_to(self._rate_limit_service.RenewSlot, request, self._timeout_s)
        return answer.slot_expires_after.ToTimedelta()

    async def release_slot(self, subject: str, rule: str | RateLimitRule, slot_id: str) -> None:
        """Gives a slot to whoever asks next. Raises SlotNotHeld if it had expired, or was
        released."""
        request = rate_limit_pb2.ReleaseSlotRequest(
            subject=subject, slot_id=slot_id, **messages.limited_by(rule)
        )
        await answer_to(self._rate_limit_service.ReleaseSlot, request, self._timeout_s)

    async def list_rules(self) -> dict[str, RateLimitRule]:
        """The rules of the server's configuration, by name."""
        request = rate_limit_pb2.ListRulesRequest()
        answer = await answer_to(self._rate_limit_service.ListRules, request, self._timeout_s)
        return {named.name: messages.rule(named.rule) for named in answer.rules}

    def slot(
        self,
        subject: str,
        rule: str | RateLimitRule,
        *,
        cost: int = 1,
        wait: timedelta = timedelta(0),
    ) -> Permits:
        """Holds a slot of a concurrency rule for the time of a block, however long that is.

            async with client.slot("tenant:7", "reports", wait=timedelta(seconds=5)):
                ...  # no more of these at once, on all machines, than the rule allows

        Waits up to `wait` for a slot, then raises RateLimited. While the block runs the slot is
        renewed. If it is lost all the same (the subject was reset, or the server was away for the
        rule's window), the block is cancelled, as by `asyncio.timeout`, and SlotNotHeld is raised:
        another may hold the slot by then.
        """
        return Permits(self, subject, rule, cost, wait, needs_slot=True)

    def rate_limited(
        self,
        rule: str | RateLimitRule,
        *,
        subject: str | Callable[..., str],
        cost: int = 1,
        wait: timedelta = timedelta(0),
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
        """Makes an async function or method acquire before each call.

            @client.rate_limited("api", subject="user:{user_id}")
            async def search(user_id: int, text: str) -> list[str]: ...

        `subject` is a template as `Namespace.cached` has for keys, in which `{…}` stands for an
        argument of the call, or a function that is given the call's arguments. Raises ValueError if
        the template does not fit the function; a call raises UncacheableArgument if an argument
        makes no subject. If denied, waits for the permits if that takes no longer than `wait`; else
        raises RateLimited, and the function is not called. Of a concurrency rule the slot is held
        while the function runs, as by `slot`; but where slots are waited for use `slot` itself,
        since only that looks whether one was released early.
        """
        return limited(lambda of: Permits(self, of, rule, cost, wait), subject)

    @cached_property
    def _rate_limit_service(self) -> "rate_limit_pb2_grpc.RateLimitServiceAsyncStub":
        return rate_limit_pb2_grpc.RateLimitServiceStub(self._channel)
