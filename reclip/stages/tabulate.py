"""Stage `tabulate`: one of the paper's tables, as tidy CSV and as Markdown.

The paper's values stand in columns of their own; they are never mixed with ours, which are measured
on this experiment's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_text
from reclip.common.tables import write_table
from reclip.config.models import Cell, Row, Table
from reclip.evaluate.page import html_page
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish

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
            job.id,
            c.row,
            " ".join(f"{k}={v}" for k, v in c.marks.items() if v),
            c.dataset,
            "" if c.paper is None else f"{c.paper:.1f}",
            "" if c.mean is None else f"{c.mean:.2f}",
            "" if c.sd is None else f"{c.sd:.2f}",
            "" if c.seeds is None else c.seeds,
            c.source,
            c.protocol,
            c.run or "",
        )
        for c in cells
    ]
    write_table(csv_path, COLUMNS, rows)
    shown = [d for d in job.settings["datasets"] if any(c.dataset == d for c in cells)]
    text = markdown(job.id, table.title, cells, shown, job.settings["experiment"])
    if job.settings["weights"]:
        text += "\n" + " ".join(job.settings["weights"]) + "\n"
    write_text(md_path, text)
    write_text(html_path, html_page(text))
    finish(job, list(job.outputs))


def measure(job: Job, row: Row, dataset: str, cell: Cell) -> Measured:
    """The cell with its run's metrics.

    Raises ReclipError: metrics that were made with other settings than those on screen.
    """
    if cell.run is None:
        cited = row.protocol or ""
        return Measured(row.row, row.marks, dataset, cell.paper, None, protocol=cited)
    evaluation = job.inputs[cell.run]
    metrics = read_json(evaluation.outputs[0])
    if metrics["job"] != evaluation.digest:
        raise ReclipError(
            f"'{evaluation.outputs[0]}' is of other settings: "
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
    """Whether ours orders the measured rows as the paper does, dataset by dataset.

    Returns:
        The number of pairs that the paper orders, and a sentence for each that ours does not.
    """
    pairs, broken = 0, []
    datasets = dict.fromkeys(c.dataset for c in cells)
    for dataset in datasets:
        ours = [c for c in cells if c.dataset == dataset and c.run and c.paper is not None]
        for a, b in combinations(ours, 2):
            if a.paper == b.paper:
                continue
            low, high = sorted((a, b), key=lambda c: c.paper)
            pairs += 1
            if not low.mean < high.mean:
                broken.append(
                    f"{dataset}: {high.row} ({high.mean:.1f}) is not above "
                    f"{low.row} ({low.mean:.1f})"
                )
    return pairs, broken


def markdown(
    id: str, title: str, cells: list[Measured], datasets: list[str], experiment: str
) -> str:
    """The table as in the paper, with our column beside each of its own.

    Of data that the paper does not know there is our column alone, and no ordering to hold.
    """
    marks = list(dict.fromkeys(k for c in cells for k in c.marks))
    by_row: dict[str, dict[str, Measured]] = {}
    for cell in cells:
        by_row.setdefault(cell.row, {})[cell.dataset] = cell
    cited = {cell.dataset for cell in cells if cell.paper is not None}
    head = ["Method", *marks]
    for dataset in datasets:
        paper = [f"{dataset}, paper"] if dataset in cited else []
        head += [*paper, f"{dataset}, {experiment}"]
    lines = [f"**Table {id.removeprefix('table')}. {title}** (mIoU, %)", ""]
    lines += [_line([*head, "source"]), _line(["---"] * (len(head) + 1))]
    for row, found in by_row.items():
        first = next(iter(found.values()))
        # One line a row: "measured" if any of its cells is, each protocol once.
        sources = sorted({cell.source for cell in found.values()}, reverse=True)
        protocols = list(dict.fromkeys(c.protocol for c in found.values() if c.protocol))
        said = f"{sources[0]} ({'; '.join(protocols)})" if protocols else sources[0]
        line = [row, *(first.marks.get(k, "") for k in marks)]
        for dataset in datasets:
            line += _values(found.get(dataset))[dataset not in cited :]
        lines.append(_line([*line, said]))
    if cited:
        lines += ["", _verdict(cells)]
    return "\n".join(lines) + "\n"


def _line(values: list[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _values(cell: Measured | None) -> list[str]:
    if cell is None:
        return ["", ""]
    paper = "" if cell.paper is None else f"{cell.paper:.1f}"
    if cell.mean is None:
        return [paper, ""]
    spread = "" if cell.sd is None else f" ± {cell.sd:.1f} ({cell.seeds} seeds)"
    return [paper, f"{cell.mean:.1f}{spread}"]


def _verdict(cells: list[Measured]) -> str:
    pairs, broken = ordering(cells)
    if not pairs:
        return "No two measured rows to put in order."
    if not broken:
        return f"The paper's ordering of the measured rows holds here (all {pairs} pairs)."
    listed = "; ".join(broken)
    return (
        f"The paper's ordering of the measured rows holds here for {pairs - len(broken)} of "
        f"{pairs} pairs, not for: {listed}."
    )
