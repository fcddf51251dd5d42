"""`pantler limit`: rate limits."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Json,
    RequestId,
    Timeout,
    channel,
    print_json,
    seconds,
)
from pantler_server.cli.exit_code import ExitCode
from pantler_server.cli.limit_decision import decision_as_json, left, rule_as_json, said, short
from pantler_server.cli.limit_rule import RuleChoice, takes_rule
from pantler_server.cli.limit_watch import watch
from pantler_server.core.rate_limit import MAX_LIMIT

if TYPE_CHECKING:
    from pantler.v1 import rate_limit_pb2

Subject = Annotated[str, typer.Argument(help="For whom it is counted: user:42.")]
Cost = Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many permits.")]
Slot = Annotated[str, typer.Option(help="The slot, as `pantler limit acquire` printed it.")]

limit_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Ask what rate limits allow, and correct what they count.\n\n"
    "A rule says how much is allowed, such as 100 in a minute; it stands in the server's "
    "configuration under a name, or is spelled out by options. For each subject (a user, an "
    "address, a tenant) it counts apart.",
)


@limit_app.command()
@takes_rule
def acquire(
    subject: Subject,
    rule: RuleChoice,
    cost: Cost = 1,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Take permits, if they are there. If not, the exit code is 1.

    For example, `pantler limit acquire user:42 api` by a rule of the configuration, or `pantler
    limit acquire user:42 --algorithm gcra --limit 10 --window 1m` by one of your own.
    """
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    with channel(address) as opened:
        request = rate_limit_pb2.AcquireRequest(
            subject=subject, cost=cost, request_id=request_id, **rule.fields
        )
        answer = rate_limit_pb2_grpc.RateLimitServiceStub(opened).Acquire(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        expires = answer.slot_expires_after.ToJsonString() if answer.slot_id else None
        slot = {"slot_id": answer.slot_id or None, "slot_expires_after": expires}
        print_json({**decision_as_json(answer), **slot})
    else:
        print(said(answer))
        if answer.slot_id:
            words = f"{shlex.quote(subject)} {rule.words} --slot {shlex.quote(answer.slot_id)}"
            print(f"it holds a slot for {short(answer.slot_expires_after)}; to release it:")
            print(f"pantler limit release {words}")
    _end(answer)


@limit_app.command()
@takes_rule
def peek(
    subject: Subject,
    rule: RuleChoice,
    cost: Cost = 1,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Say what `pantler limit acquire` would say now, and take nothing. If it would be denied, the
    exit code is 1."""
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    with channel(address) as opened:
        request = rate_limit_pb2.PeekRequest(subject=subject, cost=cost, **rule.fields)
        answer = rate_limit_pb2_grpc.RateLimitServiceStub(opened).Peek(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json(decision_as_json(answer))
    else:
        print(said(answer))
    _end(answer)


@limit_app.command()
@takes_rule
def reset(
    subject: Subject,
    rule: RuleChoice,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Forget what a subject has taken: it starts anew. Its slots are held by nobody then."""
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    with channel(address) as opened:
        request = rate_limit_pb2.ResetRequest(subject=subject, **rule.fields)
        rate_limit_pb2_grpc.RateLimitServiceStub(opened).Reset(
            request, timeout=seconds(timeout, "--timeout")
        )
    print("reset")


@limit_app.command()
@takes_rule
def refund(
    subject: Subject,
    rule: RuleChoice,
    cost: Cost = 1,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Give permits back that were taken and not used.

    A slot of a concurrency rule is given back by `pantler limit release`.
    """
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    with channel(address) as opened:
        request = rate_limit_pb2.RefundRequest(
            subject=subject, cost=cost, request_id=request_id, **rule.fields
        )
        answer = rate_limit_pb2_grpc.RateLimitServiceStub(opened).Refund(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        reset_after = answer.reset_after.ToJsonString()
        document = {"limit": answer.limit, "remaining": answer.remaining}
        print_json({**document, "reset_after": reset_after})
    else:
        print(f"refunded, {left(answer)}")


@limit_app.command()
@takes_rule
def release(
    subject: Subject,
    slot: Slot,
    rule: RuleChoice,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Release a slot of a concurrency rule, for whoever asks next. If it is held no more, the exit
    code is 1."""
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    with channel(address) as opened:
        request = rate_limit_pb2.ReleaseSlotRequest(subject=subject, slot_id=slot, **rule.fields)
        rate_limit_pb2_grpc.RateLimitServiceStub(opened).ReleaseSlot(
            request, timeout=seconds(timeout, "--timeout")
        )
    print("released")


@limit_app.command()
def rules(
    address: Address = DEFAULT_ADDRESS, timeout: Timeout = DEFAULT_TIMEOUT, json: Json = False
) -> None:
    """List the rules of the server's configuration."""
    from pantler.v1 import rate_limit_pb2, rate_limit_pb2_grpc

    with channel(address) as opened:
        answer = rate_limit_pb2_grpc.RateLimitServiceStub(opened).ListRules(
            rate_limit_pb2.ListRulesRequest(), timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json([{"name": one.name, **rule_as_json(one.rule)} for one in answer.rules])
    elif answer.rules:
        _print_table(answer)
    else:
        print("the configuration has no rate limits")


limit_app.command()(watch)


def _print_table(answer: "rate_limit_pb2.ListRulesResponse") -> None:
    from rich.console import Console
    from rich.table import Column, Table

    name = Column("rule", overflow="fold")  # a long one is still shown as a whole
    titles = ("limit", "window", "burst", "shadow", "without Redis")
    table = Table(name, Column("algorithm", no_wrap=True), *titles, box=None)
    for one in answer.rules:
        facts = rule_as_json(one.rule)
        window = short(one.rule.window)
        if facts["calendar"]:
            window = f"{facts['calendar']}, {facts['time_zone'] or 'UTC'}"
        table.add_row(
            one.name,
            facts["algorithm"],
            str(facts["limit"]),
            window,
            str(facts["burst"] or ""),
            "yes" if facts["shadow"] else "no",
            facts["on_unavailable"] or "fails",
        )
    Console().print(table)


def _end(answer: "rate_limit_pb2.AcquireResponse | rate_limit_pb2.PeekResponse") -> None:
    if not answer.allowed:
        raise typer.Exit(ExitCode.DENIED)
