"""Which rule a command of `pantler limit` goes by: one of the configuration, or one that its
options spell out."""

import inspect
import shlex
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, NamedTuple

import typer

from pantler_server.cli.call import seconds
from pantler_server.core.calendar import Period
from pantler_server.core.rate_limit import MAX_LIMIT, Algorithm


class RuleChoice(NamedTuple):
    """The rule that was given."""

    fields: dict[str, Any]
    """Of any request that has a rule."""
    words: str
    """How it is given to another command."""


def takes_rule(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command all that names a rule (`_chosen` has the list) in place of its parameter
    `rule`, which it gets as a RuleChoice."""
    own = inspect.signature(command, eval_str=True)
    chosen = inspect.signature(_chosen, eval_str=True).parameters
    before: list[inspect.Parameter] = []
    after: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        if name != "rule":
            (before if parameter.default is parameter.empty else after).append(parameter)

    @wraps(command)
    def with_rule(**given: Any) -> None:
        rule = _chosen(**{name: given.pop(name) for name in chosen})
        command(rule=rule, **given)

    parameters = [*before, *chosen.values(), *after]
    vars(with_rule).pop("__wrapped__")  # typer would look at it, and not at the signature
    vars(with_rule)["__signature__"] = own.replace(parameters=parameters)
    with_rule.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_rule


def _chosen(
    rule: Annotated[
        str | None,
        typer.Argument(
            metavar="RULE",
            help="The name of a rule of the server's configuration (`pantler limit rules` lists "
            "them); leave it out to spell a rule out by --algorithm and the options below it.",
            show_default=False,
        ),
    ] = None,
    algorithm: Annotated[
        Algorithm | None, typer.Option(help="How the rule counts.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_LIMIT,
            help="Its permits in a window, or held at once.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            help="The length of its window: 500ms, 30s, 1h; of concurrency, how long a slot is "
            "held.",
            show_default=False,
        ),
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_LIMIT,
            help="Of token_bucket and gcra: how many permits may be taken at once after a rest "
            "(default: as many as --limit).",
            show_default=False,
        ),
    ] = None,
    calendar: Annotated[
        Period | None,
        typer.Option(help="Of fixed_window, instead of --window.", show_default=False),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            help="Where the calendar is: Europe/Berlin (default: UTC).", show_default=False
        ),
    ] = None,
) -> RuleChoice:
    options = {
        "algorithm": algorithm,
        "limit": limit,
        "window": window,
        "burst": burst,
        "calendar": calendar,
        "time_zone": time_zone,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if rule is not None:
        if given:
            wrong = f"give its name or --{_dashed(next(iter(given)))}, not both"
            raise typer.BadParameter(wrong, param_hint="RULE")
        return RuleChoice({"rule_name": rule}, shlex.quote(rule))
    if algorithm is None or limit is None:
        wrong = "give the name of a rule, or --algorithm and --limit"
        raise typer.BadParameter(wrong, param_hint="RULE")
    words = [word for name, value in given.items() for word in (f"--{_dashed(name)}", str(value))]
    return RuleChoice({"rule": _as_fields(given)}, shlex.join(words))


def _as_fields(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of the message RateLimitRule."""
    from pantler.v1 import rate_limit_pb2

    fields = dict(given)
    fields["algorithm"] = rate_limit_pb2.Algorithm.Value(f"ALGORITHM_{given['algorithm'].upper()}")
    if "calendar" in given:
        name = f"CALENDAR_PERIOD_{given['calendar'].upper()}"
        fields["calendar"] = rate_limit_pb2.CalendarPeriod.Value(name)
    if "window" in given:
        us = round(seconds(given["window"], "--window") * 1_000_000)
        fields["window"] = {"seconds": us // 1_000_000, "nanos": us % 1_000_000 * 1000}
    return fields


def _dashed(name: str) -> str:
    return name.replace("_", "-")
