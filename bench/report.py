"""What a section of the benchmark says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

console = Console()


@dataclass(frozen=True, slots=True)
class Chart:
    """Figures to draw, by whose they are."""

    title: str
    bars: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A figure, beside what it is compared with and what it is to reach."""

    what: str
    measured: str
    compared: str = ""
    ratio: str = ""
    wanted: str = ""
    chart: Chart | None = None


def rounds(count: int, what: str) -> Iterable[int]:
    """The numbers of the rounds, with a bar on the terminal that goes when they are over."""
    return track(range(count), what, console=console, transient=True)
