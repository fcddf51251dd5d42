"""Workloads that look like production's.

The figures are those of two of the 54 cache clusters of Twitter in March 2020, from the repository
twitter/cache-trace, stat/2020Mar.md (CC BY 4.0), described in Yang, Yue, Vinayak: "A large scale
analysis of hundreds of in-memory cache clusters at Twitter", OSDI 2020.
"""

import bisect
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto


class Operation(Enum):
    """What a client does with a key."""

    GET = auto()
    """Reads it; on a miss it fetches the value elsewhere and sets it (cache-aside)."""
    SET = auto()
    """Sets it, as after a change at the source."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One cluster's traffic. Weights need not add up to 1."""

    name: str
    key_bytes: int
    value_bytes: int
    zipf_alpha: float
    """The k-th most frequent key is asked for in proportion to k ** -alpha."""
    operations: tuple[tuple[Operation, float], ...]
    ttls: tuple[tuple[timedelta, float], ...]
    keys: int
    """How many keys there are: scaled down from the cluster's, the source does not say by how
    much."""

    def key(self, rank: int) -> str:
        """The key of a rank, of the workload's size."""
        return f"{self.name}:{rank:0{self.key_bytes - len(self.name) - 1}d}"

    def draws(self, seed: int) -> Iterator[tuple[Operation, int, timedelta]]:
        """An endless run of operations: what, the rank of the key (from 0), and the ttl of a
        Set."""
        chance = random.Random(seed)
        cumulated = list(
            itertools.accumulate((rank + 1) ** -self.zipf_alpha for rank in range(self.keys))
        )
        operations, operation_weights = zip(*self.operations, strict=True)
        ttls, ttl_weights = zip(*self.ttls, strict=True)
        while True:
            yield (
                chance.choices(operations, operation_weights)[0],
                bisect.bisect(cumulated, chance.random() * cumulated[-1]),
                chance.choices(ttls, ttl_weights)[0],
            )


CLUSTER_52 = Workload(
    name="cluster52",
    key_bytes=20,
    value_bytes=273,
    zipf_alpha=1.2117,
    # get 0.91, add 0.04, gets 0.02, cas 0.02: gets reads, add and cas write
    operations=((Operation.GET, 0.93), (Operation.SET, 0.06)),
    ttls=((timedelta(days=1), 0.65), (timedelta(days=14), 0.27), (timedelta(hours=12), 0.07)),
    keys=200_000,
)
CLUSTER_22 = Workload(
    name="cluster22",
    key_bytes=54,
    value_bytes=4,
    zipf_alpha=0.7624,
    # get 0.72, incr 0.18, set 0.10: incr writes
    operations=((Operation.GET, 0.72), (Operation.SET, 0.28)),
    ttls=((timedelta(days=1), 0.85), (timedelta(hours=1), 0.11), (timedelta(minutes=30), 0.03)),
    keys=200_000,
)
