"""Stage `tabulate`: write one of the paper's tables as tidy CSV, as Markdown and as HTML.

The paper's values have their own columns. They are never mixed with our values, which are measured
on this experiment's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_text
from reclip.common.tables import write_table
from reclip.common.templates import fill
from reclip.config.models import Cell, Row, Table
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish

COLUMNS = (
    "table", "row", "marks", "dataset", "paper", "ours", "sd", "seeds", "source", "protocol", "run"
)  # fmt: skip

# The report shows HTML, but only links to Markdown.
PAGE = Path(__file__).with_suffix(".html.j2")


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


@dataclass(frozen=True)
class Printed:
    """A table as text: title, column names, rows, and the sentences below it."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]

    def markdown(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join([f"**{self.title}** (mIoU, %)", table, *self.notes]) + "\n"

    def html(self) -> str:
        return fill(PAGE, **vars(self))


def main(job: Job) -> None:
    """Write `<table>.csv`, `<table>.md` and, for the report, `<table>.html`."""
    table: Table = job.settings["table"]
    cells = [
        measure(job, row, dataset, cell)
        for row in table.rows
        for dataset, cell in row.cells.items()
    ]
    csv_path, md_path, html_path = job.outputs
    rows = [
        (
            job.id, c.row, " ".join(f"{k}={v}" for k, v in c.marks.items() if v), c.dataset,
            _number(c.paper, 1), _number(c.mean, 2), _number(c.sd, 2), _number(c.seeds, 0),
            c.source, c.protocol, c.run or "",
        )
        for c in cells
    ]  # fmt: skip
    write_table(csv_path, COLUMNS, rows)
    shown = [d for d in job.settings["datasets"] if any(c.dataset == d for c in cells)]
    printed = printed_table(job.id, table.title, cells, shown, job.settings["experiment"])
    if job.settings["weights"]:
        printed.notes.append(" ".join(job.settings["weights"]))
    write_text(md_path, printed.markdown())
    write_text(html_path, printed.html())
    finish(job, list(job.outputs))


def measure(job: Job, row: Row, dataset: str, cell: Cell) -> Measured:
    """Return the cell with its run's metrics.

    Raises ReclipError: the metrics were produced with other settings.
    """
    if cell.run is None:
        cited = row.protocol or ""
        return Measured(row.row, row.marks, dataset, cell.paper, None, protocol=cited)
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
    return Measured(
        row.row, row.marks, dataset, cell.paper, cell.run, miou["mean"], miou["sd"], miou["n"],
        protocol,
    )  # fmt: skip


def ordering(cells: list[Measured]) -> tuple[int, list[str]]:
    """Compare the order of our values with the paper's, for each dataset.

    Returns:
        The number of pairs that the paper orders, and a sentence for each pair that we do not
        order alike.
    """
    pairs, broken = 0, []
    for dataset in dict.fromkeys(c.dataset for c in cells):
        ours = [c for c in cells if c.dataset == dataset and c.run and c.paper is not None]
        for low, high in (sorted(pair, key=lambda c: c.paper) for pair in combinations(ours, 2)):
            if low.paper == high.paper:
                continue
            pairs += 1
            if not low.mean < high.mean:
                broken.append(
                    f"{dataset}: {high.row} ({high.mean:.1f}) is not above "
                    f"{low.row} ({low.mean:.1f})"
                )
    return pairs, broken


def printed_table(
    id: str, title: str, cells: list[Measured], datasets: list[str], experiment: str
) -> Printed:
    """Return the table as in the paper, with our column beside each column of the paper.

    A dataset that the paper does not use has our column alone. Without any of the paper's values
    there is no sentence on the order.
    """
    marks = list(dict.fromkeys(k for c in cells for k in c.marks))
    by_row: dict[str, dict[str, Measured]] = {}
    for cell in cells:
        by_row.setdefault(cell.row, {})[cell.dataset] = cell
    cited = {cell.dataset for cell in cells if cell.paper is not None}
    head = ["Method", *marks]
    for dataset in datasets:
        head += [f"{dataset}, paper"] * (dataset in cited) + [f"{dataset}, {experiment}"]
    rows = []
    for row, found in by_row.items():
        first = next(iter(found.values()))
        # One line a row: "measured" if any of its cells is, and each protocol once.
        source = max(cell.source for cell in found.values())
        protocols = list(dict.fromkeys(c.protocol for c in found.values() if c.protocol))
        line = [row, *(first.marks.get(k, "") for k in marks)]
        for dataset in datasets:
            line += _values(found.get(dataset))[dataset not in cited :]
        rows.append([*line, f"{source} ({'; '.join(protocols)})" if protocols else source])
    title = f"Table {id.removeprefix('table')}. {title}"
    return Printed(title, [*head, "source"], rows, [_verdict(cells)] if cited else [])


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
