"""Measure each stage's peak memory at two numbers of photos: it should not grow with them.

    python benchmarks/many_photos.py [--photos 2000 20000] [--folder DIR]

Draws that many scenes of `mini`, caches their features, guesses their classes and rectifies for one
epoch. Each stage is a process of its own; the peak is its resident memory at its largest, as the
system counts it (ru_maxrss), with pages of mapped files. Eight minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

RUN = "voc-ref-pe"
STAGES = {
    "prepare": "--dataset=voc",
    "embed-text": "--dataset=voc",
    "cache-features": "--dataset=voc",
    "hypothesise": "--dataset=voc",
    "rectify": f"--run={RUN} --seed=0",
}
SETTINGS = ("rectify.epochs=1", f"runs.{RUN}.seeds=[0]", "tracking.enabled=false")
KILOBYTE = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes


class Took(NamedTuple):
    """Peak memory in MB and wall time in seconds of a process."""

    peak: float
    seconds: float


def run(folder: Path, *command: str) -> Took:
    began = time.monotonic()
    with open(folder / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "reclip", *command], cwd=folder, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"reclip {' '.join(command)} failed: see {folder / 'log.txt'}")
    return Took(usage.ru_maxrss * KILOBYTE / 1e6, time.monotonic() - began)


def measure(folder: Path, photos: int) -> dict[str, Took]:
    folder.mkdir()
    changes = (*SETTINGS, f"datasets.voc.source.train={photos}")
    run(folder, "init", "mini", *(f"--set={change}" for change in changes))
    return {stage: run(folder, stage, *what.split()) for stage, what in STAGES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs=2, default=(2000, 20_000))
    parser.add_argument("--folder", help="where to work; by default a folder that is removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        few, many = (measure(Path(scratch) / str(n), n) for n in options.photos)
    head = [f"{n:,} photos, {unit}" for unit in ("MB", "s") for n in options.photos]
    print(f"| stage | {' | '.join(head[:2])} | ratio | {' | '.join(head[2:])} |")
    print("| --- |" + " --: |" * 5)
    for stage in STAGES:
        a, b = few[stage], many[stage]
        print(
            f"| `{stage}` | {a.peak:.0f} | {b.peak:.0f} | {b.peak / a.peak:.2f} "
            f"| {a.seconds:.1f} | {b.seconds:.1f} |"
        )


if __name__ == "__main__":
    main()
