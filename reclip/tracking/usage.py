"""What a job took: its time, processor time and memory, noted under `logs/` as its process ends.

A note is of one execution on one machine: it is no result, and nothing depends on it.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from reclip.common.files import read_json, write_json
from reclip.common.git import git
from reclip.pipeline.job import Job

MEGABYTE = 2**20


def _file(job: Job) -> Path:
    experiment = job.plan_folder.parent.name
    return Path("logs") / experiment / "usage" / job.stage / f"{job.id}.json"


def note(job: Job) -> None:
    """Note what this process, which just finished `job`, has taken since it started."""
    began, ended = psutil.Process(os.getpid()).create_time(), time.time()
    spent = resource.getrusage(resource.RUSAGE_SELF)
    # Linux counts kilobytes, macOS bytes.
    peak = spent.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found = {
        "digest": job.digest,
        "commit": git("rev-parse", "--verify", "--quiet", "HEAD").stdout.strip() or None,
        "began": began,
        "ended": ended,
        "seeds": _seeds(job, began),
        "cpu_seconds": spent.ru_utime + spent.ru_stime,
        "peak_memory_megabytes": peak / MEGABYTE,
    }
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        found["gpu_peak_memory_megabytes"] = torch.cuda.max_memory_allocated() / MEGABYTE
    write_json(_file(job), found)


def _seeds(job: Job, began: float) -> dict[str, list[float]]:
    """When each seed was begun and whole; left out are those that an earlier process trained."""
    ends = {p.stem.split("-")[1]: p.stat().st_mtime for p in job.folder.glob("seed-*-curve.csv")}
    found = {}
    for seed, ended in sorted(ends.items(), key=lambda item: item[1]):
        if ended > began:
            found[seed] = [began, ended]
            began = ended
    return found


def read(job: Job) -> dict[str, Any] | None:
    """The note of the execution that made the job's present output; None if there is none."""
    try:
        found = read_json(_file(job))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("digest") == job.digest else None
