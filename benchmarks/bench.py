"""Measure every stage against its plain version and against the machine's own limit.

    python benchmarks/bench.py
    python benchmarks/bench.py --sizes voc --stages "dense features,rectification" --threads 1

Writes a table, its data and a plot to benchmarks/results/<machine>.md, .json and .png. Weights and
photos are seeded; nothing is downloaded. docs/speed.md says how to read the table. The exit status
is 1 if a stage stays under 60% of its limit and speed/reasons.py gives no reason.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from speed import plot, table
from speed.inputs import Inputs
from speed.limits import Probes, probes
from speed.machine import describe, slug
from speed.measure import Row, measure, overall_rates
from speed.rates import Measured, rates
from speed.reasons import unexplained
from speed.side_by_side import JOBS, steps_a_second
from speed.sizes import SIZES
from speed.stages import STAGES
from speed.timing import Budget

from reclip.common.errors import ReclipError
from reclip.common.files import write_json, write_text
from reclip.config.models import ComputeSettings
from reclip.device import setup

RESULTS = Path(__file__).parent / "results"
FULL, QUICK = Budget(least=3, most=15, seconds=5.0), Budget(least=1, most=3, seconds=0.2)
SIDE_BY_SIDE_SECONDS = 5.0


def options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--sizes", default=",".join(SIZES), help="some of %(default)s")
    add("--stages", default=",".join(STAGES), help="some of %(default)s")
    add("--quick", action="store_true", help="fewer turns, small probes: figures are rough")
    add("--threads", type=int, default=_cores(), help="of the CPU; all cores by default")
    add("--rates", action="store_true", help="also print the entry for GPUS of the cost model")
    add("--output", type=Path, default=RESULTS, help="folder; benchmarks/results by default")
    chosen = parser.parse_args(arguments)
    chosen.sizes = _known(parser, "--sizes", chosen.sizes, SIZES)
    chosen.stages = _known(parser, "--stages", chosen.stages, STAGES)
    return chosen


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _known(
    parser: argparse.ArgumentParser, option: str, text: str, known: Iterable[str]
) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{option}: unknown {', '.join(unknown)}; choose from {', '.join(known)}")
    return names


def main(arguments: list[str] | None = None) -> int:
    chosen = options(arguments)
    device = setup(ComputeSettings(device=chosen.device, threads=chosen.threads))
    budget = QUICK if chosen.quick else FULL
    limits = probes(device, chosen.quick)
    report: dict[str, Any] = {
        "machine": describe(device),
        "quick": chosen.quick,
        "limits": overall_rates(limits, budget),
        "side_by_side": _side_by_side(device, chosen.sizes[-1], chosen.quick),
    }
    path = chosen.output / slug(report["machine"])
    measured: list[Measured] = []
    for name in chosen.sizes:
        measured += measure_size(Inputs(SIZES[name], device), chosen.stages, limits, budget)
        measured.sort(key=lambda m: chosen.stages.index(m.row.stage))
        rows = [m.row for m in measured]
        found = rates(measured, device, report["machine"]["name"])
        report |= {"rows": [row._asdict() for row in rows], "rates": found and asdict(found)}
        write(report, rows, path)  # after each size: a long run may be ended early
    print(path.with_suffix(".md").read_text(encoding="utf-8"))
    if chosen.rates:
        print(found or "no rates: they need dense-features, class-map and distillation-grid")
    return _judge(rows, device)


def measure_size(
    inputs: Inputs, stages: list[str], limits: Probes, budget: Budget
) -> Iterator[Measured]:
    """Yield the rows of the stages at one size, in the order of `stages`."""
    for stage in stages:
        if inputs.device.type == "cpu" and stage in inputs.size.gpu_only:
            continue
        print(f"{inputs.size.title}: {stage}", file=sys.stderr, flush=True)
        case = STAGES[stage](inputs)
        for row in measure(stage, case, inputs, limits, budget):
            yield Measured(row, case.work)


def _side_by_side(device: torch.device, size: str, quick: bool) -> dict[str, float] | str:
    """Return steps a second by the number of jobs on the GPU, or why none were measured."""
    if device.type != "cuda":
        return "measured on a GPU only"
    seconds = 1.0 if quick else SIDE_BY_SIDE_SECONDS
    return {str(jobs): steps_a_second(jobs, size, str(device), seconds) for jobs in JOBS}


def write(report: dict[str, Any], rows: list[Row], path: Path) -> None:
    """Write the table, its data and its plot to files that `path` begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path.with_suffix(".md"), table.document(report, rows))
    write_json(path.with_suffix(".json"), report)
    plot.write(rows, report["machine"]["name"], path.with_suffix(".png"))


def _judge(rows: list[Row], device: torch.device) -> int:
    """Return the exit status: 1 if a stage is under 60% of its limit without a reason."""
    missing = unexplained(rows, device.type)
    for row in missing:
        print(
            f"{row.stage} ({row.size}, {row.precision}) reaches {row.share:.0%} of its limit: find "
            f"out why and add the reason to benchmarks/speed/reasons.py",
            file=sys.stderr,
        )
    return int(bool(missing))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ReclipError as error:
        sys.exit(f"error: {error}")
