"""Bars as an SVG that is readable on a light and on a dark page."""

from html import escape

from bench.report import Chart

WIDTH = 720
NAME_WIDTH = 190
FIGURE_WIDTH = 80  # right of the longest bar
ROW = 30
BAR = 18
TOP = 44  # for the title

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.bar { fill: #8c959f }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .bar { fill: #6e7681 }
  .ours { fill: #4493f8 }
}
"""


def svg(chart: Chart, ours: str) -> str:
    """The longest bar first; those whose name begins with `ours` stand out."""
    bars = sorted(chart.bars.items(), key=lambda bar: -bar[1])
    height = TOP + ROW * len(bars)
    most, room = bars[0][1], WIDTH - NAME_WIDTH - FIGURE_WIDTH
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img"',
        f'  width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"',
        f'  aria-label="{escape(chart.title)}">',
        f"<style>\n{_STYLE}</style>",
        f'<text class="title" x="0" y="20">{escape(chart.title)}</text>',
    ]
    for number, (name, figure) in enumerate(bars):
        top, width = TOP + ROW * number, max(1, round(room * figure / most))
        kind = "bar ours" if name.startswith(ours) else "bar"
        middle = top + BAR - 5
        lines += [
            f'<text x="{NAME_WIDTH - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{NAME_WIDTH}" y="{top}" width="{width}" height="{BAR}"/>',
            f'<text x="{NAME_WIDTH + width + 8}" y="{middle}">{figure:,.0f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
