"""The table of costs: a row for a stage and dataset, totals, and what the numbers assume."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reclip.cost.jobs import JobCost
from reclip.cost.machines import Rates, seconds
from reclip.cost.work import Work

# Stages whose jobs take seconds: one row.
REST = ("tabulate", "plot", "check", "summarise")


@dataclass
class Row:
    """Some jobs together; hours on a GPU, and here unless nothing was measured."""

    stage: str
    dataset: str
    jobs: int
    trainings: int
    work: Work
    gpu_hours: float
    hours_here: float | None


def rows(costs: list[JobCost], gpu: Rates, here: Rates | None, at_once: int) -> list[Row]:
    """Rows in the pipeline's order, then the total and the part that only the check needs.

    at_once: jobs side by side here.
    """

    def row(stage: str, dataset: str, some: Iterable[JobCost]) -> Row:
        some = list(some)
        on_gpu = sum(seconds(c.work, gpu, c.loaders) for c in some)
        # Where all cores compute, threads that read ahead only take turns with them.
        on_this = here and sum(seconds(c.work, here, c.loaders * here.overlap) for c in some)
        return Row(
            stage,
            dataset,
            len(some),
            sum(c.trainings for c in some),
            sum((c.work for c in some), Work()),
            on_gpu / 3600,
            on_this / at_once / 3600 if here else None,
        )

    groups: dict[tuple[str, str], list[JobCost]] = {}
    for cost in costs:
        stage = "tables, figures" if cost.stage in REST else cost.stage
        groups.setdefault((stage, cost.dataset), []).append(cost)
    found = [row(stage, dataset, some) for (stage, dataset), some in groups.items()]
    found.append(row("total", "", costs))
    check = [c for c in costs if c.for_check]
    return [*found, row("of it for the check alone", "", check)] if check else found


def header(gpu_name: str, here: bool) -> list[str]:
    names = [
        "stage",
        "dataset",
        "jobs",
        "trainings",
        "FLOP",
        "disk",
        f"hours, {gpu_name} (estimate)",
    ]
    return [*names, "hours here"] if here else names


def cells(row: Row) -> list[str]:
    """A row in words."""
    out = [row.stage, row.dataset, str(row.jobs), str(row.trainings or "")]
    out += [amount(row.work.flops), amount(row.work.written, "B"), hours(row.gpu_hours)]
    return out if row.hours_here is None else [*out, hours(row.hours_here)]


def amount(value: float, unit: str = "") -> str:
    """Three digits and a prefix; nothing for nothing."""
    for prefix, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{_digits(value / size, 3)} {prefix}{unit}"
    return f"{value:.0f} {unit}".strip() if value else ""


def hours(value: float) -> str:
    """Two digits, but never more than two decimals."""
    return _digits(value, 2) if value >= 0.005 else "<0.01"


def _digits(value: float, count: int) -> str:
    """Rounded to so many digits, written without an exponent."""
    value = float(f"{value:.{count}g}")
    whole = len(str(int(value))) if value >= 1 else 0
    return f"{value:,.{min(2, max(0, count - whole))}f}"


def plain_text(lines: list[list[str]]) -> str:
    """Columns aligned by spaces: the first two to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(lines: list[list[str]]) -> str:
    """A Markdown table; the last lines (totals) are as the others."""
    head, *body = lines
    marks = [" --- "] * 2 + [" ---: "] * (len(head) - 2)
    written = ["| " + " | ".join(line) + " |" for line in (head, *body)]
    return "\n".join([written[0], "|" + "|".join(marks) + "|", *written[1:]])
