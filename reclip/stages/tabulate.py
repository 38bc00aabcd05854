"""Stage `tabulate`: write one of the paper's tables as tidy CSV, as Markdown and as HTML.

The paper's values have their own columns. They are never mixed with our values, which are measured
on this experiment's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_text
from reclip.common.tables import write_table
from reclip.common.templates import fill
from reclip.common.text import listed
from reclip.config.models import Cell, Row
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish, warnings_behind

COLUMNS = (
    "table", "row", "marks", "dataset", "paper", "ours", "sd", "seeds", "source", "protocol", "run"
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A cell with its row: the paper's value and, where there is a run, ours."""

    row: str
    marks: dict[str, str]
    dataset: str
    paper: float | None
    run: str | None
    mean: float | None = None
    sd: float | None = None
    seeds: int | None = None
    protocol: str = ""

    @property
    def source(self) -> str:
        return "measured" if self.run else "cited"


def main(job: Job) -> None:
    """Write `<table>.csv`, `<table>.md` and, for the report, `<table>.html`.

    The report shows HTML, but only links to Markdown.
    """
    table, datasets = job.settings["table"], job.settings["datasets"]
    cells = [
        measure(job, row, dataset, cell)
        for row in table.rows
        for dataset, cell in row.cells.items()
    ]
    rows = [
        (
            job.id, c.row, " ".join(f"{k}={v}" for k, v in c.marks.items() if v), c.dataset,
            _number(c.paper, 1), _number(c.mean, 2), _number(c.sd, 2), _number(c.seeds, 0),
            c.source, c.protocol, c.run or "",
        )
        for c in cells
    ]  # fmt: skip
    values = content(job.id, table.title, cells, datasets, job.settings["experiment"])
    if job.settings["weights"]:
        values["notes"].append(" ".join(job.settings["weights"]))
    values["notes"] += doubts(job, cells)
    write_table(job.outputs[0], COLUMNS, rows)
    for path in job.outputs[1:]:
        write_text(path, printed(values, path.suffix))
    finish(job, list(job.outputs))


def doubts(job: Job, cells: list[Measured]) -> list[str]:
    """Return the warnings of all jobs behind measured cells, each with the rows it concerns."""
    rows: dict[str, list[str]] = {}
    for cell in cells:
        for warning in warnings_behind(job.inputs[cell.run]) if cell.run else ():
            rows.setdefault(warning, []).append(f"{cell.row} ({cell.dataset})")
    return [f"Warning on {listed(of, most=10)}: {warning}" for warning, of in rows.items()]


def printed(values: dict[str, Any], suffix: str) -> str:
    """Return the text of a table from `content`, for suffix .md or .html."""
    return fill(Path(__file__).with_suffix(f"{suffix}.j2"), **values)


def measure(job: Job, row: Row, dataset: str, cell: Cell) -> Measured:
    """Return the cell with its run's metrics.

    Raises ReclipError: the metrics were produced with other settings.
    """
    given = row.row, row.marks, dataset, cell.paper, cell.run
    if cell.run is None:
        return Measured(*given, protocol=row.protocol or "")
    evaluation = job.inputs[cell.run]
    metrics = read_json(evaluation.outputs[0])
    if metrics["job"] != evaluation.digest:
        raise ReclipError(
            f"'{evaluation.outputs[0]}' was produced with other settings: "
            f"run `snakemake {evaluation.outputs[0]}`"
        )
    miou, protocol = metrics["miou"], metrics["protocol"]
    if metrics["post_processing"] != "none":
        protocol += f", {metrics['post_processing']}"
    return Measured(*given, miou["mean"], miou["sd"], miou["n"], protocol)


def ordering(cells: list[Measured]) -> tuple[int, list[str]]:
    """Compare the order of our values with the paper's, for each dataset.

    Returns:
        The number of pairs that the paper orders, and a sentence for each pair that we do not
        order alike.
    """
    datasets = list(dict.fromkeys(c.dataset for c in cells))
    ours = [c for c in cells if c.run and c.paper is not None]
    ours.sort(key=lambda c: datasets.index(c.dataset))
    pairs = [
        (a, b) if a.paper < b.paper else (b, a)
        for a, b in combinations(ours, 2)
        if a.dataset == b.dataset and a.paper != b.paper
    ]
    return len(pairs), [
        f"{low.dataset}: {high.row} ({high.mean:.1f}) is not above {low.row} ({low.mean:.1f})"
        for low, high in pairs
        if not low.mean < high.mean
    ]


def content(
    id: str, title: str, cells: list[Measured], datasets: list[str], experiment: str
) -> dict[str, Any]:
    """Return the table as in the paper, with our column beside each column of the paper.

    A dataset that the paper does not use has our column alone. Without any of the paper's values
    there is no sentence on the order.

    Returns:
        title, head (column names), rows (lists of texts) and notes (the sentences below).
    """
    marks = list(dict.fromkeys(k for c in cells for k in c.marks))
    cited = {cell.dataset for cell in cells if cell.paper is not None}
    datasets = [d for d in datasets if any(c.dataset == d for c in cells)]
    head = ["Method", *marks]
    for dataset in datasets:
        head += [f"{dataset}, paper"] * (dataset in cited) + [f"{dataset}, {experiment}"]
    rows = []
    for row, group in groupby(cells, lambda c: c.row):
        found = {cell.dataset: cell for cell in group}
        first = next(iter(found.values()))
        # One line a row: "measured" if any of its cells is, and each protocol once.
        source = max(cell.source for cell in found.values())
        if protocols := dict.fromkeys(c.protocol for c in found.values() if c.protocol):
            source += f" ({'; '.join(protocols)})"
        values = [v for d in datasets for v in _values(found.get(d))[d not in cited :]]
        rows.append([row, *(first.marks.get(k, "") for k in marks), *values, source])
    return {
        "title": f"Table {id.removeprefix('table')}. {title}",
        "head": [*head, "source"],
        "rows": rows,
        "notes": [_verdict(cells)] if cited else [],
    }


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _values(cell: Measured | None) -> list[str]:
    """Return the paper's value and ours."""
    if cell is None:
        return ["", ""]
    spread = "" if cell.sd is None else f" ± {cell.sd:.1f} ({cell.seeds} seeds)"
    return [_number(cell.paper, 1), _number(cell.mean, 1) + spread]


def _verdict(cells: list[Measured]) -> str:
    pairs, broken = ordering(cells)
    if not pairs:
        return "No two measured rows to put in order."
    holds = "The paper's ordering of the measured rows holds here"
    if not broken:
        return f"{holds} (all {pairs} pairs)."
    return f"{holds} for {pairs - len(broken)} of {pairs} pairs, not for: {'; '.join(broken)}."
