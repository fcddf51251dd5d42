"""The sketch against exact counts, and the sampler against the share that it is to take."""

import random
from collections import Counter
from itertools import accumulate, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.engines.cache.hot_keys.sampler import Sampler
from pantler_server.engines.cache.hot_keys.sketch import SpaceSaving

STREAMS = st.lists(st.integers(0, 40).map(str), max_size=400)
READS = 200_000


def sketch_of(stream: list[str], capacity: int) -> SpaceSaving:
    sketch = SpaceSaving(capacity)
    for key in stream:
        sketch.add(key)
    return sketch


@given(STREAMS, st.integers(1, 50))
def test_counts_are_within_the_error_bound_of_the_paper(stream: list[str], capacity: int) -> None:
    exact, counts = Counter(stream), sketch_of(stream, capacity).counts()
    assert len(counts) <= capacity
    assert sum(count for count, _ in counts.values()) == len(stream)
    for key, (count, error) in counts.items():
        assert count - error <= exact[key] <= count
        assert error <= len(stream) / capacity


@given(STREAMS, st.integers(1, 50))
def test_every_key_above_its_share_has_a_counter(stream: list[str], capacity: int) -> None:
    counts = sketch_of(stream, capacity).counts()
    for key, count in Counter(stream).items():
        assert key in counts or count <= len(stream) / capacity


@given(STREAMS)
def test_counts_are_exact_while_there_are_counters_enough(stream: list[str]) -> None:
    sketch = sketch_of(stream, 41)
    assert sketch.total == len(stream)
    assert dict(sketch.top(41)) == Counter(stream)
    assert [count for _, count in sketch.top(3)] == sorted(Counter(stream).values())[:-4:-1]


def zipf(keys: int, reads: int, exponent: float, seed: int) -> list[str]:
    """A stream of keys whose names are their ranks."""
    weights = list(accumulate(rank**-exponent for rank in range(1, keys + 1)))
    drawn = random.Random(seed).choices(range(keys), cum_weights=weights, k=reads)
    return [str(rank) for rank in drawn]


def test_a_skewed_stream_gives_its_true_top_10() -> None:
    stream = zipf(100_000, READS, 1.1, seed=1)
    exact = [key for key, _ in Counter(stream).most_common(10)]
    assert [key for key, _ in sketch_of(stream, 1000).top(10)] == exact


def test_a_flat_stream_is_not_taken_for_a_hot_one() -> None:
    stream = [str(number) for number in range(20_000)] * 2
    random.Random(1).shuffle(stream)
    counts = sketch_of(stream, 1000).counts()
    assert min(count for count, _ in counts.values()) >= 39  # what they would look like …
    assert max(count for _, count in sketch_of(stream, 1000).top(1000)) <= 2  # … and what is sure


@pytest.mark.parametrize("ratio", [0.01, 0.25, 1.0])
def test_reads_are_taken_by_their_share_alone_or_in_batches(ratio: float) -> None:
    random.seed(4)
    alone, batched = Sampler(ratio), Sampler(ratio)
    for _ in range(READS):
        if alone.left:
            alone.left -= 1
        else:
            alone.take("k")
    for size in repeat(100, READS // 100):
        batched.take_of(["k"] * size)
    spread = (READS * ratio * (1 - ratio)) ** 0.5
    for sampler in (alone, batched):
        assert abs(sampler.begin_anew().total - READS * ratio) <= 4 * spread
        assert sampler.sketch.total == 0


def test_a_rhythm_of_reads_is_sampled_without_bias() -> None:
    random.seed(5)
    sampler, rhythm = Sampler(0.01), [str(number % 100) for number in range(READS)]
    for begin in range(0, READS, 1000):
        sampler.take_of(rhythm[begin : begin + 1000])
    counts = [count for count, _ in sampler.sketch.counts().values()]
    assert len(counts) == 100  # every hundredth read would be of one key alone
    # Chi squared with 99 degrees of freedom: more than 160 in one of 10,000 runs.
    assert sum((count - 20) ** 2 / 20 for count in counts) < 160


def test_a_ratio_next_to_nothing_is_taken_for_one_in_a_million() -> None:
    sampler = Sampler(5e-324)
    assert sampler.ratio == 1e-6
    assert sampler.left >= 0
