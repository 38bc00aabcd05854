"""What Snakemake, MLflow and process starts add to the stages' own compute, stage by stage.

    python benchmarks/overhead.py [--folder DIR] [--params FILE]

Copies the checkout, runs `snakemake` there from nothing, and takes each job apart: Python writes
the time of every import into the job's log (PYTHONPROFILEIMPORTTIME), the job writes what its stage
took, and Snakemake what the whole process took. What the run would have taken without any overhead
follows from scheduling the same jobs with their compute alone. DVC takes no part in such a run.
"""

from __future__ import annotations

import argparse
import heapq
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.stages import STAGES
from reclip.tracking import usage

IMPORT = re.compile(r"^import time:\s+(\d+) \|", re.M)
DONE = re.compile(r": done in ([\d.]+) s")


@dataclass
class Took:
    """Seconds of one job."""

    compute: float
    imports: float
    process: float  # from its start to its end

    @property
    def rest(self) -> float:
        """The interpreter, the plan and its digests, the receipt, the note for MLflow."""
        return self.process - self.compute - self.imports


def seconds_of_imports(log: str) -> float:
    return sum(map(int, IMPORT.findall(log))) / 1e6


def took(job: Job, logs: Path) -> Took:
    of_experiment = STAGES[job.stage].kind == "experiment"
    log = logs / (f"{job.stage}.log" if of_experiment else f"{job.stage}/{job.key}.log")
    text = log.read_text(encoding="utf-8")
    start, _, stage = text.partition(f"\n{job.name}: ")  # said when all is there to begin
    stage, _, end = stage.partition(f"\n{job.name}: ")
    late = seconds_of_imports(stage)
    early = seconds_of_imports(start) + seconds_of_imports(end)
    note = usage.read(job)
    compute = max(0.0, float(DONE.findall(text)[-1]) - late)  # said to a tenth of a second
    return Took(compute, early + late, note["ended"] - note["began"])


def makespan(jobs: list[Job], seconds: Callable[[Job], float], workers: int) -> float:
    """How long the jobs take if nothing else does: each begins once inputs and a core are there.

    Of several, the one begins that most is to follow.
    """
    tail: dict[Job, float] = {}
    for job in reversed(jobs):
        after = (tail[other] for other in jobs if job in other.inputs.values() and other in tail)
        tail[job] = seconds(job) + max(after, default=0)
    waiting = {job: len({i for i in job.inputs.values() if i in tail}) for job in jobs}
    ready = [(-tail[job], n, job) for n, job in enumerate(jobs) if not waiting[job]]
    heapq.heapify(ready)
    running: list[tuple[float, int, Job]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, n, job = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds(job), n, job))
        now, _, job = heapq.heappop(running)
        for n, other in enumerate(jobs):
            if job in other.inputs.values():
                waiting[other] -= 1
                if not waiting[other]:
                    heapq.heappush(ready, (-tail[other], n, other))
    return now


def table(jobs: list[Job], times: dict[Job, Took]) -> str:
    lines = [
        "| stage | jobs | compute, s | imports, s | other, s | added |",
        "| --- | --: | --: | --: | --: | --: |",
    ]

    def line(name: str, some: list[Took]) -> str:
        compute, imports, rest = (
            sum(getattr(t, key) for t in some) for key in ("compute", "imports", "rest")
        )
        added = f"{(imports + rest) / compute:.0%}" if compute >= 1 else ""
        cells = f"{compute:.1f} | {imports:.1f} | {rest:.1f} | {added}"
        return f"| {name} | {len(some)} | {cells} |"

    for stage in STAGES:
        if some := [times[job] for job in jobs if job.stage == stage]:
            lines.append(line(f"`{stage}`", some))
    return "\n".join([*lines, line("all", list(times.values()))])


def run(folder: Path, params: str, *command: str) -> float:
    """Seconds of wall time."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(folder), "RECLIP_PARAMS": params}
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", help="where to run, and to go on after a break")
    parser.add_argument("--params", default="params.yaml")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary).resolve()
        for name in ("Snakefile", "workflow", "profiles", "reclip", given.params):
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy
            (folder / name).exists() or copy(name, folder / name)
        os.environ["PYTHONPROFILEIMPORTTIME"] = "1"
        command = [sys.executable, "-m", "snakemake", "--quiet", "all"]
        whole = run(folder, given.params, *command, "--config", f"params={given.params}")
        del os.environ["PYTHONPROFILEIMPORTTIME"]
        (folder / "mlflow.db").unlink(missing_ok=True)
        mlflow = run(folder, given.params, sys.executable, "-m", "reclip", "sync-mlflow")
        os.chdir(folder)
        plan = Plan.load(given.params)
        jobs = plan.default_jobs
        times = {job: took(job, Path("logs") / plan.params.experiment) for job in jobs}
    workers = 2
    alone = makespan(jobs, lambda job: times[job].compute, workers)
    print(f"\n{table(jobs, times)}\n")
    print(f"on {workers} cores, in seconds of wall time:\n")
    print("| what | s | added |\n| --- | --: | --: |")
    print(f"| the stages' compute | {alone:.0f} | |")
    others = whole - alone - mlflow
    for name, seconds in (("Snakemake and process starts", others), ("MLflow", mlflow)):
        print(f"| {name} | {seconds:.0f} | {seconds / alone:.0%} |")
    print(f"| `snakemake` from nothing | {whole:.0f} | {whole / alone - 1:.0%} |")


if __name__ == "__main__":
    main()
