"""Event rules: what of the configuration is refused, which events match, what their fields give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.config_file import load_settings
from pantler_server.core.errors import MAX_VIOLATIONS, ConfigInvalid, InvalidFields
from pantler_server.core.event_config import EventRule
from pantler_server.core.template import Template
from pantler_server.engines.events.rules import MAX_TARGETS, Rule, Targets, plan

Problems = Callable[[str], list[str]]


def rule(**said: Any) -> Rule:
    named = {"name": "r", "type": "t", "namespace": "n", **said}
    if not {"keys", "tags", "all"} & said.keys():
        named["all"] = True
    return Rule.of(EventRule.model_validate(named))


def keys(template: str, fields: dict[str, Any]) -> list[str]:
    return list(rule(keys=[template]).targets(fields).keys)


def refused(asked: Rule, fields: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidFields) as failed:
        asked.targets(fields)
    return [(one.path, one.description) for one in failed.value.violations]


@pytest.mark.parametrize(
    ("template", "fields", "expected"),
    [
        ("all", {}, ["all"]),
        ("user:{user_id}", {"user_id": "ada"}, ["user:ada"]),
        ("user:{user_id}", {"user_id": 5.0}, ["user:5"]),
        ("user:{user_id}", {"user_id": -(2.0**53) + 1}, ["user:-9007199254740991"]),
        ("{on}", {"on": True}, ["true"]),
        ("{on}", {"on": False}, ["false"]),
        ("{{{user-id}}}", {"user-id": "ada"}, ["{ada}"]),
        ("{{user}}", {}, ["{user}"]),
        ("{order.customer.id}", {"order": {"customer": {"id": "7"}}}, ["7"]),
        ("{a}{b}{a}", {"a": "x", "b": "y"}, ["xyx"]),
        ("c:{id}", {"id": ["x", 1.0, "x"]}, ["c:x", "c:1"]),
        ("c:{id}", {"id": []}, []),
        ("p:{items.id}", {"items": [{"id": 1.0}, {"id": 2.0}]}, ["p:1", "p:2"]),
        ("{a}/{b}", {"a": ["1", "2"], "b": ["x", "y"]}, ["1/x", "1/y", "2/x", "2/y"]),
        ("{a}/{a}", {"a": ["1", "2"]}, ["1/1", "2/2"]),
        ("{größe}", {"größe": "XL"}, ["XL"]),
    ],
)
def test_a_template_gives_a_key_for_each_value(
    template: str, fields: dict[str, Any], expected: list[str]
) -> None:
    assert keys(template, fields) == expected


@pytest.mark.parametrize(
    ("fields", "place", "problem"),
    [
        ({}, "fields.o.id", "must be set"),
        ({"o": None}, "fields.o.id", "must be set"),
        ({"o": {"id": None}}, "fields.o.id", "must be set"),
        ({"o": "text"}, "fields.o.id", "must be set"),
        ({"o": {"id": {}}}, "fields.o.id", "must be text, a whole number, true or false, not an "),
        ({"o": {"id": ["x", 1.5, 2.5]}}, "fields.o.id[1]", "must be a whole number below 2^53"),
        ({"o": [{"id": 1.0}, {}]}, "fields.o[1].id", "must be set"),
        ({"o": {"id": 2.0**53}}, "fields.o.id", "must be a whole number below 2^53, or text"),
        ({"o": {"id": float("inf")}}, "fields.o.id", "must be a whole number below 2^53"),
        ({"o": {"id": float("nan")}}, "fields.o.id", "must be a whole number below 2^53"),
        ({"o": {"id": "a\nb"}}, "fields.o.id", "must not contain control characters"),
        ({"o": {"id": "x" * 511}}, "fields.o.id", "must give a key of 1 to 512 bytes, not 513"),
        ({"o": {"id": ["ö"] * 1001}}, "fields.o.id", "must give at most 1000 keys and tags, not "),
    ],
)
def test_a_field_that_gives_no_key_is_named_with_its_rule(
    fields: dict[str, Any], place: str, problem: str
) -> None:
    [(path, description)] = refused(rule(name="paid", keys=["o:{o.id}"]), fields)
    assert path == place
    assert description.startswith(problem)
    assert description.endswith(": event rule 'paid' needs it")


def test_an_empty_field_and_a_long_tag_are_refused() -> None:
    [(path, problem)] = refused(rule(keys=["user:{a}"]), {"a": ""})
    assert (path, problem) == ("fields.a", "must not be empty: event rule 'r' needs it")
    [(path, problem)] = refused(rule(tags=["{a}{b}"]), {"a": "x", "b": "x" * 256})
    assert (path, problem) == (
        "fields.b",
        "must give a tag of 1 to 256 bytes, not 257: event rule 'r' needs it",
    )


def test_lists_that_multiply_are_counted_before_they_are_made() -> None:
    many = [str(number) for number in range(20_000)]
    [(path, problem)] = refused(rule(keys=["{a}{b}{c}"]), {"a": ["x"], "b": many, "c": many})
    assert path == "fields.b"
    assert "not 400000000" in problem
    exactly = rule(keys=["{a}"], tags=["{a}"])
    half = many[: MAX_TARGETS // 2]
    assert len(exactly.targets({"a": half}).tags) == MAX_TARGETS // 2
    refused(exactly, {"a": [*half, "one more"]})


@pytest.mark.parametrize(
    ("when", "fields", "expected"),
    [
        ({}, {}, True),
        ({"status": "paid"}, {"status": "paid"}, True),
        ({"status": "paid"}, {"status": "open"}, False),
        ({"status": "paid"}, {}, False),
        ({"status": "paid"}, {"status": None}, False),
        ({"status": "paid"}, {"status": {"is": "paid"}}, False),
        ({"status": ["paid", "sent"]}, {"status": "sent"}, True),
        ({"status": "paid", "items": 3}, {"status": "paid", "items": 3.0}, True),
        ({"status": "paid", "items": 3}, {"status": "paid", "items": 4.0}, False),
        ({"items": 3}, {"items": "3"}, False),
        ({"items": 0.5}, {"items": 0.5}, True),
        ({"gift": True}, {"gift": True}, True),
        ({"gift": True}, {"gift": 1.0}, False),
        ({"count": 1}, {"count": True}, False),
        ({"order.status": "paid"}, {"order": {"status": "paid"}}, True),
        ({"roles": "admin"}, {"roles": ["user", "admin"]}, True),
        ({"roles": "admin"}, {"roles": ["user"]}, False),
    ],
)
def test_a_rule_matches_if_all_its_conditions_hold(
    when: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert rule(when=when).matches(fields) is expected


def test_a_plan_has_the_rules_that_match_in_their_order() -> None:
    rules = [
        rule(name="first", keys=["{id}"]),
        rule(name="other", when={"kind": "other"}, keys=["{missing}"]),
        rule(name="last", tags=["t:{id}", "t:{id}"]),
    ]
    first, last = plan(rules, {"id": "1"})
    assert first == Targets(rules[0].config, ["1"], [])
    assert last == Targets(rules[2].config, [], ["t:1"])


def test_a_plan_tells_what_all_rules_lack_up_to_a_few() -> None:
    rules = [rule(name=f"r{number}", keys=[f"{{f{number}}}"]) for number in range(20)]
    with pytest.raises(InvalidFields) as failed:
        plan(rules, {"f1": "there"})
    told = [(one.path, one.description) for one in failed.value.violations]
    assert len(told) == MAX_VIOLATIONS
    assert told[:2] == [
        (f"fields.f{number}", f"must be set: event rule 'r{number}' needs it") for number in (0, 2)
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be 1 to 512 bytes"),
        ("a\tb", "without control characters"),
        ("x" * 513, "must be 1 to 512 bytes"),
        ("{", "Single '{' encountered"),
        ("}", "Single '}' encountered"),
        ("{a", "expected '}'"),
        ("{}", "'' is no field"),
        ("{ a }", "' a ' is no field"),
        ("{a..b}", "'a..b' is no field"),
        ("{a[0]}", "'a[0]' is no field"),
        ("{a!r}", "a field takes neither"),
        ("{a:>3}", "a field takes neither"),
    ],
)
def test_what_is_no_template_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is no template") as refused:
        Template.parse(text, 512)
    assert problem in str(refused.value)


RULE = """events:
  - name: first
    type: order.paid
    namespace: orders
    keys: ['order:{id}']
"""


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """What is wrong with a configuration, each as `line: path: message`."""

    def said(text: str) -> list[str]:
        file = tmp_path / "pantler.yaml"
        file.write_text(text)
        with pytest.raises(ConfigInvalid) as refused:
            load_settings(file)
        return [str(problem).removeprefix(f"{file}:") for problem in refused.value.problems]

    return said


@pytest.mark.parametrize(
    ("changed", "to", "expected"),
    [
        ("name: first", "name: First", "2: events.0.name: 'First' does not match"),
        ("type: order.paid", "type: ''", "3: events.0.type: must be 1 to 128 bytes"),
        ("type: order.paid", 'type: "a\\n"', "3: events.0.type: must be 1 to 128 bytes"),
        ("    type: order.paid\n", "", "2: events.0.type: Field required"),
        ("namespace: orders", "namespace: Orders", "4: events.0.namespace: 'Orders' does not"),
        ("keys:", "kezs:", "5: events.0.kezs: there is no such setting"),
        ("    keys: ['order:{id}']\n", "", "2: events.0: invalidates nothing: give it keys, tags"),
        ("['order:{id}']", "order:{id}", "5: events.0.keys: must be a list of templates"),
        ("['order:{id}']", "[{id}]", "5: events.0.keys: {'id': None} is no text: put the templ"),
        ("['order:{id}']", "['order:{id']", "5: events.0.keys.0: 'order:{id' is no template: ex"),
        ("['order:{id}']", "[a, '{b.}']", "5: events.0.keys.1: '{b.}' is no template: 'b.' is"),
        ("['order:{id}']", "[a]\n    all: true", "2: events.0: all: true covers every key and tag"),
        ("keys: [", "cascade: true\n    tags: [", "2: events.0: cascade starts from keys"),
        ("keys: [", "mode: medium\n    keys: [", "5: events.0.mode: Input should be 'hard' or"),
        ("keys: [", "when: {'a b': 1}\n    keys: [", "5: events.0.when.a b.[key]: 'a b' is no f"),
        ("keys: [", "when: {a: null}\n    keys: [", "5: events.0.when.a: None is neither text nor"),
        ("keys: [", "when: {a: []}\n    keys: [", "5: events.0.when.a: must have a value, or seve"),
        ("keys: [", "when: {a: .nan}\n    keys: [", "5: events.0.when.a: nan is neither text nor"),
        (
            "events:",
            "strict_namespaces: true\nevents:",
            "5: events.0.namespace: 'orders' is not un",
        ),
    ],
)
def test_a_wrong_rule_is_refused_with_its_line(
    problems: Problems, changed: str, to: str, expected: str
) -> None:
    assert changed in RULE
    [problem] = problems(RULE.replace(changed, to))
    assert problem[: len(expected)] == expected


def test_every_wrong_rule_is_said(problems: Problems) -> None:
    second = "  - {name: first, type: t, namespace: n, all: true}\n"
    assert problems(RULE + second) == ["6: events.1.name: 'first' is the name of events.0 too"]
    first, last = problems(RULE.replace("order:{id}", "{}") + second.replace("all", "ale"))
    assert first == (
        "5: events.0.keys.0: '{}' is no template: '' is no field: write its name, or "
        "order.customer_id for a field within another. A field is written {name}, a brace itself "
        "is doubled"
    )
    assert last == "6: events.1.ale: there is no such setting"


def test_rules_reach_a_worker_as_they_were_loaded(tmp_path: Path) -> None:
    file = tmp_path / "pantler.yaml"
    file.write_text(RULE + "    when: {a: [1, 1.5, true, '1', text], b: false}\n    mode: soft\n")
    loaded = load_settings(file)
    handed_on = Settings.model_validate_json(loaded.to_json())
    assert handed_on.events == loaded.events
    assert repr(handed_on.events[0].when) == repr(loaded.events[0].when)


def test_the_rules_of_an_event_give_no_more_than_an_answer_holds() -> None:
    many = {"n": [str(number) for number in range(900)]}
    rules = [rule(name=f"r{number}", keys=["k{n}"]) for number in range(5)]
    assert len(plan(rules[:4], many)) == 4
    with pytest.raises(InvalidFields, match="at most 4000 keys and tags in all, not 4500"):
        plan(rules, many)
