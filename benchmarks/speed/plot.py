"""The table as a figure: the share of the limit, and times faster than the plain version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reclip.evaluate.figures import style
from speed.limits import FLOATS
from speed.measure import Row
from speed.reasons import ENOUGH

COLOURS = dict(zip(("integer", *FLOATS), ("#666666", *style.SERIES[1:3]), strict=True))
LINE = 0.2  # inches a bar
WIDEST = 1.2


def draw(rows: Sequence[Row], title: str) -> Figure:
    """Return the figure of a machine; a group of bars is a stage, a line of it a size."""
    height = 1.4 + LINE * (len(rows) + len({row.stage for row in rows}))
    figure = Figure(figsize=(style.WIDTH, height))
    left, right = figure.subplots(1, 2, sharey=True)
    rows = sorted(rows, key=lambda row: [r.stage for r in rows].index(row.stage))
    at, labels = _places(rows)
    for row, y in zip(rows, at, strict=True):
        look = {"height": 0.8, "color": COLOURS[row.precision]}
        left.barh(y, shown(row.share), **look)
        right.barh(y, row.ratio - 1, left=1, **look)
        _say(left, y, shown(row.share), f"{100 * row.share:.0f}" if row.share >= 0.01 else "<1")
        _say(
            right,
            y,
            max(row.ratio, 1),
            f"{row.ratio:.2g}" if row.ratio < 10 else f"{row.ratio:.0f}",
        )
    left.set_yticks(at, labels)
    left.invert_yaxis()
    left.axvline(100 * ENOUGH, color=style.NOTE, lw=0.8, ls="--")
    left.set(title="Share of the machine's limit, % (dashed: 60)", xlim=(0, None))
    right.axvline(1, color="black", lw=0.8)
    right.set(title="Times faster than the plain version (logarithmic)", xscale="log")
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter("")
    right.margins(x=0.12)
    right.spines["left"].set_visible(False)  # the line at 1 is the axis
    for ax in (left, right):
        ax.tick_params(axis="y", length=0)
        ax.margins(y=0.01)
    present = [p for p in COLOURS if any(row.precision == p for row in rows)]
    handles = [style.Patch(facecolor=COLOURS[p], label=p) for p in present]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), title=title)
    style.note(figure, "Limit: the time that the machine needs at least, see docs/speed.md")
    return figure


def _places(rows: Sequence[Row]) -> tuple[list[float], list[str]]:
    """Return the place and the label of each bar; stages stand apart."""
    at, labels, y = [], [], 0.0
    for k, row in enumerate(rows):
        new = k == 0 or rows[k - 1].stage != row.stage
        y += 1.8 if new and k else 1.0 if k else 0.0
        first = new or rows[k - 1].size != row.size
        at.append(y)
        labels.append(f"{row.stage}, {row.size}" if new else row.size if first else "")
    return at, labels


def shown(share: float) -> float:
    """Return the length of a bar in percent; a disturbed one does not squeeze the others."""
    return 100 * min(share, WIDEST)


def _say(ax: Axes, y: float, x: float, text: str) -> None:
    ax.annotate(text, (x, y), (3, 0), textcoords="offset points", va="center", fontsize=6.5)


def write(rows: Sequence[Row], title: str, path: Path) -> None:
    with style.applied():
        style.save(draw(rows, title), path)
