"""What docs/findings.md says of later extractors: a table of `mini-strong`, and what a row adds.

    reclip init mini-strong --output mini-strong.yaml
    python benchmarks/strong.py mini-strong.yaml extractors   # trains what is missing: two hours
    python benchmarks/strong.py mini-strong.yaml students

It makes the rows of one table over the check's seeds. First it prints mIoU, total variation of
class shares and drop to the edge of each row (reclip's `evaluate/preference.py`), then the
difference of each pair that the settings ask about, seed by seed. Both have 95% intervals.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mini
import numpy as np

from reclip.common.files import read_json
from reclip.config.models import Table
from reclip.evaluate import results_table, verdicts
from reclip.evaluate.preference import drop, total_variation
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan


def measured(jobs: list[Job]) -> results_table.Found:
    """Return the mIoU of a run's evaluations by seed."""
    scores = [read_json(job.folder / "scores.json") for job in jobs]
    return results_table.Found({one["seed"]: one["miou"] for one in scores}, "")


def print_rows(plan: Plan, table: Table) -> None:
    """Print mIoU and biases of each row, a block a dataset."""
    print("| dataset | row | mIoU | total variation | drop |")
    print("| --- | --- | ---: | ---: | ---: |")
    for dataset in dict.fromkeys(cell for row in table.rows for cell in row.cells):
        for row in table.rows:
            jobs = mini.evaluations(plan, row.cells[dataset].run)
            miou = list(measured(jobs).values.values())
            variation = [float(total_variation(np.load(j.folder / "confusion.npy"))) for j in jobs]
            lost = [float(drop(np.load(job.folder / "rings.npy"))) for job in jobs]
            cells = (mini.mean(values, 1) for values in (miou, variation, lost))
            print(f"| {dataset} | {row.row} | {' | '.join(cells)} |")


def print_pairs(plan: Plan, name: str, table: Table) -> None:
    """Print the verdict on each pair of rows that the table asks about."""
    print("| dataset | row | over | difference | the row is |")
    print("| --- | --- | --- | ---: | --- |")
    runs = plan.experiment.table_runs(name)
    found = {run: measured(mini.evaluations(plan, run)) for run in runs}
    cells = results_table.cells(table, found)
    for pair in results_table.asked(name, cells, list(plan.params.datasets)):
        said = f"{verdicts.points(pair.found.mean)} ({verdicts.interval(pair.found)})"
        rows = f"{pair.dataset} | {pair.higher.row} | {pair.lower.row}"
        print(f"| {rows} | {said} | {verdicts.NAMES_OF_ASKED[pair.verdict]} |")


def main() -> None:
    settings, name = Path(sys.argv[1]), sys.argv[2]
    plan = Plan.load(settings)
    table = plan.params.tables[name]
    runs = plan.experiment.table_runs(name)
    mini.make(settings, (job.receipt for run in runs for job in mini.evaluations(plan, run)))
    print_rows(plan, table)
    print()
    print_pairs(plan, name, table)


if __name__ == "__main__":
    main()
