"""`make bench`: Pantler side by side with what a user would pick instead.

Every figure is a ratio of two things measured in turn in one run, since the machine's speed drifts.
The servers have one processor, the load and Redis the other. Give names of sections to run only
those.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
from rich.table import Table

from bench.chart import svg
from bench.report import Line, console
from bench.sections.clients import QUICK, clients
from bench.sections.commands import round_trips, set_script
from bench.sections.footprint import memory, start
from bench.sections.gateway import gateway
from bench.sections.hot_keys import hot_keys
from bench.sections.invalidation import invalidate_tags, mark_memory, pattern, tagged_get
from bench.sections.leaderboards import board_size, bulk_submit
from bench.sections.levels import l1_hit, l1_hit_ratio, l1_memory, l1_staleness
from bench.sections.places import nearby
from bench.sections.pubsub import subscribers
from bench.sections.rate_limits import acquire, acquire_script, denied, limit_memory, limits
from bench.sections.reads import batch_get, redis_py, unary_get
from bench.sections.records import (
    drain,
    record_stampede,
    records_wire,
    refresh_ahead,
    write_behind,
)
from bench.sections.stampede import stampede
from bench.sections.waiters import waiters
from bench.sections.watchers import watchers

SECTIONS: dict[str, Callable[[], Iterator[Line]]] = {
    "get": unary_get,
    "batch": batch_get,
    "redis-py": redis_py,
    "round-trips": round_trips,
    "set-script": set_script,
    "stampede": stampede,
    "waiters": waiters,
    "watchers": watchers,
    "subscribers": subscribers,
    "invalidate-tags": invalidate_tags,
    "tagged-get": tagged_get,
    "pattern": pattern,
    "mark-memory": mark_memory,
    "l1-hit": l1_hit,
    "l1-staleness": l1_staleness,
    "l1-memory": l1_memory,
    "l1-hit-ratio": l1_hit_ratio,
    "hot-keys": hot_keys,
    "acquire": acquire,
    "denied": denied,
    "acquire-script": acquire_script,
    "limits": limits,
    "limit-memory": limit_memory,
    "board-size": board_size,
    "bulk-submit": bulk_submit,
    "nearby": nearby,
    "write-behind": write_behind,
    "drain": drain,
    "records-wire": records_wire,
    "record-stampede": record_stampede,
    "refresh-ahead": refresh_ahead,
    "start": start,
    "memory": memory,
    "gateway": gateway,
    "clients": clients,
}
QUICK_SECTIONS: dict[str, Callable[[], Iterator[Line]]] = {"clients": partial(clients, QUICK)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all if none")
    parser.add_argument(
        "--quick", action="store_true", help=f"only whether it works: {', '.join(QUICK_SECTIONS)}"
    )
    parser.add_argument("--svg", type=Path, help="where to draw the chart of `clients`")
    options = parser.parse_args()
    sections = QUICK_SECTIONS if options.quick else SECTIONS
    wanted = options.sections or list(sections)
    unknown = set(wanted) - set(sections)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if (psutil.cpu_count() or 1) < 2:
        parser.error("needs two processors, one for the servers and one for the load")
    table = Table("what", "Pantler", "compared with", "ratio", "wanted", box=None)
    for name in wanted:
        for line in sections[name]():
            if options.svg and line.chart:
                options.svg.write_text(svg(line.chart, "Pantler"))
            table.add_row(line.what, line.measured, line.compared, line.ratio, line.wanted)
    console.print(table)


if __name__ == "__main__":
    main()
