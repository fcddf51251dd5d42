"""What a section of the benchmark says."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

console = Console()


@dataclass(frozen=True, slots=True)
class Line:
    """A figure, beside what it is compared with and what it is to reach."""

    what: str
    measured: str
    compared: str = ""
    ratio: str = ""
    wanted: str = ""


def rounds(count: int, what: str) -> Iterable[int]:
    """The numbers of the rounds, with a bar on the terminal that goes when they are over."""
    return track(range(count), what, console=console, transient=True)
