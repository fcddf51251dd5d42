"""What waits for a target becomes requests within its limits, with nothing left out."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.cdns.target import Batch, Kind, Limits
from pantler_server.engines.cdn.batching import ALL, Planned, Value, Waiting, plan
from pantler_server.engines.cdn.scripts import EVERYTHING, parts_of


def waiting(number: int, values: Sequence[Value], *, soft: bool = False) -> Waiting:
    name = str(number)
    kinds = frozenset(value.kind for value in values)
    return Waiting(name.encode(), name, number, 0, soft, dict.fromkeys(values), kinds)


def tags(*texts: str) -> list[Value]:
    return [Value(Kind.TAG, text) for text in texts]


URL_VALUE = Value(Kind.URL, "https://shop.example/")


def limits(*, tags: int = 3, urls: int = 2, tag_bytes: int = 20) -> Limits:
    return Limits(tags, urls, tag_bytes, 10.0, 1)


def values_of(batch: Batch) -> list[Value]:
    if batch.everything:
        return [ALL]
    assert bool(batch.tags) != bool(batch.urls)
    return [
        *(Value(Kind.TAG, text) for text in batch.tags),
        *(Value(Kind.URL, text) for text in batch.urls),
    ]


names = st.text("abc", min_size=1, max_size=30)
some_values = st.lists(
    st.builds(Value, st.sampled_from([Kind.TAG, Kind.URL]), names), min_size=1, max_size=8
)
everything = st.sampled_from([[ALL]])
asked = st.tuples(st.one_of(some_values, some_values, some_values, everything), st.booleans())


@given(st.lists(asked, max_size=12), st.integers(1, 5), st.integers(1, 4), st.integers(5, 60))
def test_every_value_is_in_a_request_as_hard_as_it_was_asked_for(
    asked: list[tuple[list[Value], bool]], most_tags: int, most_urls: int, tag_bytes: int
) -> None:
    entries = [waiting(n, values, soft=soft) for n, (values, soft) in enumerate(asked)]
    for can_soft in (True, False):
        bounds = limits(tags=most_tags, urls=most_urls, tag_bytes=tag_bytes)
        planned = list(plan(entries, bounds, can_soft=can_soft))
        sent = [(value, one.batch.soft) for one in planned for value in values_of(one.batch)]
        assert len({value for value, _ in sent}) == len(sent)  # each once
        assert can_soft or not any(soft for _, soft in sent)
        for one in entries:
            for value in one.left:
                how = [soft for sent_value, soft in sent if sent_value in (value, ALL)]
                assert how, f"{value} is left out"
                assert one.soft or not all(how), f"{value} is only purged softly"


@given(st.lists(asked, max_size=12), st.integers(1, 5), st.integers(1, 4), st.integers(5, 60))
def test_limits_are_kept(
    asked: list[tuple[list[Value], bool]], most_tags: int, most_urls: int, tag_bytes: int
) -> None:
    entries = [waiting(n, values, soft=soft) for n, (values, soft) in enumerate(asked)]
    bounds = limits(tags=most_tags, urls=most_urls, tag_bytes=tag_bytes)
    for one in plan(entries, bounds, can_soft=True):
        assert len(one.batch.tags) <= most_tags
        assert len(one.batch.urls) <= most_urls
        size = sum(len(tag) + 1 for tag in one.batch.tags)
        assert size <= tag_bytes or len(one.batch.tags) == 1


@given(st.lists(asked, max_size=12), st.booleans())
def test_when_all_are_done_nothing_is_left(
    asked: list[tuple[list[Value], bool]], can_soft: bool
) -> None:
    entries = [waiting(n, values, soft=soft) for n, (values, soft) in enumerate(asked)]
    for one in plan(entries, limits(), can_soft=can_soft):
        one.done()
    assert not any(one.left for one in entries)
    assert not any(one.refusal for one in entries)


@given(st.lists(asked, min_size=1, max_size=12), st.data())
def test_what_one_request_does_is_its_own(
    asked: list[tuple[list[Value], bool]], data: st.DataObject
) -> None:
    entries = [waiting(n, values, soft=soft) for n, (values, soft) in enumerate(asked)]
    planned = list(plan(entries, limits(), can_soft=True))
    one = data.draw(st.sampled_from(planned))
    before = {entry.entry_id: set(entry.left) for entry in entries}
    one.done()
    for entry in entries:
        gone = before[entry.entry_id] - set(entry.left)
        assert one.batch.everything or gone <= set(values_of(one.batch))
        assert not gone or entry in one.entries
        assert not (gone and one.batch.soft) or entry.soft


@given(some_values)
def test_halves_have_all_of_a_request_and_of_those_who_want_it(values: list[Value]) -> None:
    entries = [waiting(0, values), waiting(1, values[::2])]
    for one in plan(entries, limits(tags=100, urls=100, tag_bytes=10_000), can_soft=True):
        halves = one.halves()
        if len(values_of(one.batch)) == 1:
            assert not halves
            continue
        assert [value for half in halves for value in values_of(half.batch)] == values_of(one.batch)
        assert sorted(map(str, one.wants)) == sorted(
            str(want) for half in halves for want in half.wants
        )


def test_as_few_requests_as_the_limits_allow() -> None:
    entries = [waiting(n, tags(f"t{n}")) for n in range(10_000)]
    planned = list(plan(entries, limits(tags=256, tag_bytes=1 << 20), can_soft=True))
    assert len(planned) == 40  # ceil(10_000 / 256)
    assert [one.is_full for one in planned] == [True] * 39 + [False]


def test_a_soft_purge_of_everything_leaves_what_must_be_hard() -> None:
    entries = [
        waiting(0, tags("hard")),
        waiting(1, tags("hard", "soft"), soft=True),
        waiting(2, [ALL], soft=True),
    ]
    planned = list(plan(entries, limits(), can_soft=True))
    assert [(values_of(one.batch), one.batch.soft) for one in planned] == [
        ([ALL], True),
        (tags("hard"), False),
    ]


def test_a_hard_purge_of_everything_is_the_only_request() -> None:
    entries = [waiting(0, tags("a")), waiting(1, [ALL]), waiting(2, [ALL], soft=True)]
    [one] = plan(entries, limits(), can_soft=True)
    assert one.batch == Batch(everything=True)


def test_a_refused_purge_of_everything_leaves_the_rest_to_be_sent() -> None:
    entries = [waiting(0, tags("a")), waiting(1, [ALL])]
    [one] = plan(entries, limits(), can_soft=True)
    one.refused("it can't")
    assert [entry.refusal for entry in entries] == ["", "it can't"]
    [rest] = plan(entries, limits(), can_soft=True)
    assert rest.batch.tags == ("a",)


def test_a_value_is_as_old_as_the_first_who_wants_it() -> None:
    entries = [waiting(7, tags("b"), soft=True), waiting(9, tags("a", "b"))]
    [one] = plan(entries, limits(), can_soft=True)
    assert isinstance(one, Planned)
    assert one.due_ms == 7
    assert not one.batch.soft


TAGS, URLS, EVERYTHING_ONLY = (frozenset([kind]) for kind in Kind)


def test_a_target_gets_what_it_can_forget_by_of_a_purge_that_names_both() -> None:
    one = waiting(0, [*tags("a"), URL_VALUE])
    one.keep_to(URLS)
    assert (list(one.left), one.refusal) == ([URL_VALUE], "")
    part = waiting(0, tags("a"))
    part.kinds |= URLS  # of another part
    part.keep_to(URLS)
    assert (list(part.left), part.refusal) == ([], "")


@pytest.mark.parametrize(
    ("values", "kinds", "why"),
    [
        (tags("a"), URLS, "it can't purge by tag"),
        ([*tags("a"), URL_VALUE], EVERYTHING_ONLY, "it can't purge by tag nor by URL"),
        ([ALL], TAGS | URLS, "it can't purge everything"),
    ],
)
def test_a_purge_of_which_a_target_can_do_nothing_is_refused(
    values: list[Value], kinds: frozenset[Kind], why: str
) -> None:
    one = waiting(0, values)
    one.keep_to(kinds)
    assert (list(one.left), one.refusal) == ([], why)


def test_parts_tell_the_kinds_of_the_whole_purge() -> None:
    urls = [URL_VALUE._replace(text=f"{URL_VALUE.text}{n}") for n in range(600)]
    read = [json.loads(part.text) for part in parts_of([*tags("a"), *urls])]
    assert [one.get("k") for one in read] == [None, "tu"]
    assert [json.loads(part.text).get("k") for part in parts_of(urls)] == [None, None]


def test_large_purges_come_in_parts() -> None:
    values = [Value(Kind.URL, f"https://shop.example/{n}") for n in range(1200)]
    assert len(parts_of(values)) == 3
    assert len(parts_of([Value(Kind.TAG, "x" * 2000)] * 100)) == 4
    assert parts_of([*values, ALL]) == [EVERYTHING]
