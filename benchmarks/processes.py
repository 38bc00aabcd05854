"""One training in one process and in two, by turns: time ratio and difference of the weights.

    python benchmarks/processes.py [--photos 300] [--epochs 2] [--processes 2]

Trains the committed default's rectification and student on fewer photos, on the CPU with one thread
a process. Only the ratio means something, and only if each process has a core of its own.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from safetensors.torch import load_file

from reclip.pipeline.plan import Plan

RUNS = {"rectify": "voc-ref-pe", "distill": "voc-distill"}
DONE = re.compile(r": done in ([\d.]+) s")
TURNS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    params = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    params["tracking"] = {"enabled": False}
    params["seeds"] = {"rectify": [0], "distill": [0]}
    params["datasets"]["voc"]["source"]["train"] = given.photos
    for stage in RUNS:
        params[stage]["epochs"] = given.epochs
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
            run(folder, stage, "--dataset", "voc")
        for stage, name in RUNS.items():
            if stage == "distill":
                run(folder, "pseudo-mask", "--run", RUNS["rectify"])
            compare(Path(folder), stage, name, given.processes)


def compare(folder: Path, stage: str, name: str, processes: int) -> None:
    """Train by turns in one process and in several; print the ratio of the median times."""
    job = Plan.load(folder / "params.yaml").job(stage, name)
    took: dict[int, list[float]] = {1: [], processes: []}
    for _ in range(TURNS):
        for gpus in (processes, 1):  # the last one teaches the student
            said = run(folder, stage, "--run", name, "--gpus", str(gpus), "--force")
            took[gpus].append(float(DONE.search(said)[1]))
            kept = folder / f"weights-{gpus}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder / job.folder, kept)
    alone, together = (statistics.median(took[n]) for n in (1, processes))
    print(f"{stage}: {alone:.1f} s in one process, {together:.1f} s in {processes}, ", end="")
    print(
        f"{alone / together:.2f} times; weights differ by up to {difference(folder, processes):.1g}"
    )


def difference(folder: Path, processes: int) -> float:
    """Return the largest difference of a weight between the two trainings."""
    (one,), (two,) = ((folder / f"weights-{n}").rglob("*.safetensors") for n in (1, processes))
    one, two = load_file(one), load_file(two)
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def run(folder: Path | str, *arguments: str) -> str:
    """Return what a `reclip` command says, in the folder's project."""
    done = subprocess.run(
        [sys.executable, "-m", "reclip", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
