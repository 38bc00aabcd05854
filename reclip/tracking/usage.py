"""Note the time, processor time and memory that a job took, in a file under `logs/`.

A note describes one execution on one machine. It is not a result, and nothing depends on it.
"""

from __future__ import annotations

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
    return Path("logs") / job.plan_folder.parent.name / "usage" / job.stage / f"{job.key}.json"


def note(job: Job) -> None:
    """Note the resources that this process, which just finished `job`, took since its start."""
    began, ended = psutil.Process().create_time(), time.time()
    spent = resource.getrusage(resource.RUSAGE_SELF)
    # Linux counts kilobytes, macOS bytes.
    peak = spent.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found = {
        "digest": job.digest,
        "commit": git("rev-parse", "--verify", "--quiet", "HEAD").stdout.strip() or None,
        "began": began,
        "ended": ended,
        "cpu_seconds": spent.ru_utime + spent.ru_stime,
        "peak_memory_megabytes": peak / MEGABYTE,
    }
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        found["gpu_peak_memory_megabytes"] = torch.cuda.max_memory_allocated() / MEGABYTE
    write_json(_file(job), found)


def read(job: Job) -> dict[str, Any] | None:
    """Return the note of the execution that made the job's present output, or None."""
    try:
        found = read_json(_file(job))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("digest") == job.digest else None
