"""One of the paper's tables with our values: as tidy CSV, as Markdown and as HTML.

The paper's values have their own columns. They are never mixed with our values, which are measured
on this experiment's data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from reclip.common.files import write_text
from reclip.common.templates import fill
from reclip.common.text import listed
from reclip.config.models import Table
from reclip.evaluate import verdicts
from reclip.evaluate.statistics import summarise
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import warnings_behind

COLUMNS = (
    "table", "row", "marks", "dataset", "paper", "ours", "sd", "seeds", "source", "protocol", "run"
)  # fmt: skip

PUBLISHED_COLUMNS = ("published in", "protocol there")
"""Of a table whose rows name the sources of published numbers."""


@dataclass(frozen=True)
class Found:
    """What was measured of a run: its mIoU by seed (None: it has none), and how."""

    values: verdicts.Values
    protocol: str


@dataclass(frozen=True)
class Cell:
    """A cell with its row: the paper's value and, where there is a run, ours by seed."""

    row: str
    marks: dict[str, str]
    dataset: str
    paper: float | None
    run: str | None
    values: verdicts.Values = field(default_factory=dict)
    protocol: str = ""
    published_in: str = ""
    published_protocol: str = ""
    over: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return "measured" if self.run else "cited"

    @cached_property
    def ours(self) -> dict[str, Any]:
        """Our value over seeds, of a measured cell: `summarise` of its values."""
        return summarise(list(self.values.values()))


def protocol(scores: Mapping[str, Any]) -> str:
    """Return in words how scores or metrics were measured."""
    plain = scores["post_processing"] == "none"
    return scores["protocol"] + ("" if plain else f", {scores['post_processing']}")


def cells(table: Table, found: Mapping[str, Found]) -> list[Cell]:
    """Return the cells of a table with what was `found` of each run."""
    return [
        Cell(
            row.row,
            row.marks,
            dataset,
            cell.paper,
            cell.run,
            found[cell.run].values if cell.run else {},
            found[cell.run].protocol if cell.run else row.protocol or "",
            row.source or "",
            (row.protocol or "") if row.source else "",
            row.over,
        )
        for row in table.rows
        for dataset, cell in row.cells.items()
    ]


def ordered(table: str, cells: Sequence[Cell], datasets: Sequence[str]) -> list[verdicts.Measured]:
    """Return the measured cells that the paper has a value for, dataset by dataset.

    None of a table that asks about pairs of its rows: its numbers have several protocols.
    """
    if any(cell.over for cell in cells):
        return []
    return [row for row in _measured(table, cells, datasets) if row.paper is not None]


def asked(table: str, cells: Sequence[Cell], datasets: Sequence[str]) -> list[verdicts.Pair]:
    """Return the pairs of rows that a table asks about, dataset by dataset."""
    over = {cell.row: cell.over for cell in cells if cell.over}
    return verdicts.asked(_measured(table, cells, datasets), over)


def _measured(
    table: str, cells: Sequence[Cell], datasets: Sequence[str]
) -> list[verdicts.Measured]:
    rows = [
        verdicts.Measured(table, c.row, c.dataset, c.run, c.paper, c.values) for c in cells if c.run
    ]
    return sorted(rows, key=lambda row: datasets.index(row.dataset))


def tidy(table: str, cells: Sequence[Cell]) -> list[dict[str, str]]:
    """Return a row of CSV for each cell: COLUMNS, and the 95% interval `low` to `high`."""
    return [
        {
            "table": table,
            "row": cell.row,
            "marks": " ".join(f"{k}={v}" for k, v in cell.marks.items() if v),
            "dataset": cell.dataset,
            "paper": _number(cell.paper, 1),
            "ours": _number(ours.get("mean"), 2),
            "sd": _number(ours.get("sd"), 2),
            "seeds": _number(ours.get("n"), 0),
            "low": _number(ours.get("low"), 2),
            "high": _number(ours.get("high"), 2),
            "source": cell.source,
            "protocol": cell.protocol,
            "run": cell.run or "",
        }
        for cell in cells
        for ours in [cell.ours if cell.run else {}]
    ]


def doubts(cells: Sequence[Cell], jobs: Mapping[str, Sequence[Job]]) -> list[str]:
    """Return the warnings of all jobs behind measured cells, each with the rows it concerns.

    jobs: the measurements of each run.
    """
    said = {
        run: sorted({text for job in of for text in warnings_behind(job)})
        for run, of in jobs.items()
    }
    rows: dict[str, list[str]] = {}
    for cell in cells:
        for warning in said[cell.run] if cell.run else ():
            rows.setdefault(warning, []).append(f"{cell.row} ({cell.dataset})")
    return [f"Warning on {listed(of, most=10)}: {warning}" for warning, of in rows.items()]


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a table from `content`, as the path's suffix says: .md or .html."""
    write_text(path, printed(content, path.suffix))


def printed(content: dict[str, Any], suffix: str) -> str:
    """Return the text of a table from `content`, for suffix .md or .html."""
    return fill(Path(__file__).with_suffix(f"{suffix}.j2"), **content)


def content(
    id: str, title: str, cells: Sequence[Cell], datasets: Collection[str], experiment: str
) -> dict[str, Any]:
    """Return the table as in the paper, with our column beside each column of the paper.

    A dataset that the paper does not use has our column alone. Without any of the paper's values
    there is no sentence on the order. If rows name the sources of published numbers, two more
    columns have them and their protocols.

    Returns:
        title, head (column names), rows (lists of texts) and notes (the sentences below).
    """
    marks = list(dict.fromkeys(k for c in cells for k in c.marks))
    cited = {cell.dataset for cell in cells if cell.paper is not None}
    datasets = [d for d in datasets if any(c.dataset == d for c in cells)]
    published = any(cell.published_in for cell in cells)
    theirs = "published" if published else "paper"
    head = ["Method", *marks]
    for dataset in datasets:
        head += [f"{dataset}, {theirs}"] * (dataset in cited) + [f"{dataset}, {experiment}"]
    rows = []
    for row, group in groupby(cells, lambda c: c.row):
        found = {cell.dataset: cell for cell in group}
        first = next(iter(found.values()))
        # One line a row: "measured" if any of its cells is, and each protocol once.
        source = max(cell.source for cell in found.values())
        if protocols := dict.fromkeys(c.protocol for c in found.values() if c.protocol):
            source += f" ({'; '.join(protocols)})"
        values = [v for d in datasets for v in _values(found.get(d))[d not in cited :]]
        origin = [first.published_in, first.published_protocol] if published else []
        rows.append([row, *(first.marks.get(k, "") for k in marks), *values, *origin, source])
    return {
        "title": f"Table {id.removeprefix('table')}. {title}",
        "head": [*head, *(PUBLISHED_COLUMNS if published else ()), "source"],
        "rows": rows,
        "notes": _notes(id, cells, datasets, experiment, bool(cited)),
    }


def _notes(
    id: str, cells: Sequence[Cell], datasets: Sequence[str], experiment: str, cited: bool
) -> list[str]:
    """Return the verdicts in words: on the pairs asked about, or else on the paper's order."""
    if pairs := asked(id, cells, datasets):
        return verdicts.sentences_asked(pairs, experiment)
    if not cited:
        return []
    return verdicts.sentences(verdicts.pairs(ordered(id, cells, datasets)), experiment)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _values(cell: Cell | None) -> list[str]:
    """Return the paper's value and ours."""
    if cell is None:
        return ["", ""]
    if not cell.run:
        return [_number(cell.paper, 1), ""]
    mean, sd = cell.ours["mean"], cell.ours["sd"]
    spread = "" if sd is None else f" ± {sd:.1f} ({cell.ours['n']} seeds)"
    return [_number(cell.paper, 1), _number(mean, 1) + spread]
