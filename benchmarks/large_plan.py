"""Time `reclip status` and `snakemake -n` on settings of 1,007 and of 3,561 jobs.

    python benchmarks/large_plan.py [--folder DIR] [--datasets N ...]

Both must grow in proportion to the number of jobs, in time and in memory. Each is timed twice:
before anything is made, and with a stand-in file and a receipt for every output.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml

from reclip.config import PARAMS
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish

ROOT = Path(__file__).parents[1]
COPIED = ("Snakefile", "workflow", "profiles")
COMMANDS = {
    "reclip status": ["-m", "reclip", "status"],
    "snakemake -n": ["-m", "snakemake", "--dry-run", "--quiet", "all"],
}
PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], capture_output=True).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def settings(datasets: int) -> dict[str, Any]:
    """Return settings with about 30 jobs a dataset; 120 datasets have 1,040 runs, 3,561 jobs."""
    sources, runs, tables = {}, {}, {}
    for number in range(datasets):
        dataset = f"d{number}"
        sources[dataset] = {"source": {"kind": "world", "world": "voc", "seed": number}}
        made = {"query": {"method": "query"}}
        for k in range(4):
            made[f"rectify{k}"] = {"method": "rectify", "rectify": {"lr": 0.01 * (k + 1)}}
        for k in range(2):
            made[f"distill{k}"] = {"method": "distill", "teacher": f"{dataset}-rectify{k}"}
        made["probe"] = {"method": "probe", "student": f"{dataset}-distill0"}
        if number % 3:  # two thirds have a further run, and a table
            made["longer"] = {"method": "rectify", "rectify": {"epochs": 300}}
            cells = {run: {dataset: {"run": f"{dataset}-{run}"}} for run in ("query", "longer")}
            rows = [{"row": run, "cells": cell} for run, cell in cells.items()]
            tables[f"t{number}"] = {"title": dataset, "rows": rows}
        for run, values in made.items():
            runs[f"{dataset}-{run}"] = {"dataset": dataset, **values}
    clip = {"model": "mini-clip"}
    return {
        "experiment": "large", "clip": clip, "datasets": sources, "runs": runs, "tables": tables
    }  # fmt: skip


def stand_in(plan: Plan) -> None:
    """Write a small file and a receipt for every job, as if it had run."""
    for job in plan.jobs:
        inside = job.folder / f"{job.id}.txt"
        for path in (inside, *job.outputs):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(job.name, encoding="utf-8")
        finish(job, [inside, *job.outputs])


def measure(command: list[str]) -> tuple[float, float]:
    """Return seconds of wall time and MB of peak memory of a Python command."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return time.monotonic() - began, int(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="work here instead of a temporary folder")
    parser.add_argument("--datasets", type=int, nargs="+", default=[34, 120])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(f"{'jobs':>6}  {'command':<14} {'results':<8} {'s':>5} {'ms/job':>7} {'MB':>5}")
        for datasets in options.datasets:
            folder = (options.folder or Path(temporary)) / f"{datasets}-datasets"
            folder.mkdir(parents=True)
            for name in COPIED:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, folder / name)
            text = yaml.safe_dump(settings(datasets), sort_keys=False)
            (folder / PARAMS).write_text(text, encoding="utf-8")
            with chdir(folder):
                plan = Plan.load()
                jobs = len(plan.jobs)
                for results in ("none", "all"):
                    if results == "all":
                        stand_in(plan)
                    for name, command in COMMANDS.items():
                        seconds, memory = measure(command)
                        print(
                            f"{jobs:>6}  {name:<14} {results:<8} {seconds:>5.1f} "
                            f"{1000 * seconds / jobs:>7.2f} {memory:>5.0f}",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
