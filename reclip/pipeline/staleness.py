"""Report staleness, and pass it on to Snakemake and DVC through the plan files.

Receipts decide (reclip.pipeline.receipts). Every job reads its plan file, under both front ends.
DVC compares the content of plan files. Snakemake compares times only, so the plan file of a stale
job is made newer than its oldest output, and none of its inputs is left in the future. The inputs
of a fresh job are `ancient` to Snakemake. So the times that clones, pulls and users set have no
effect.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reclip.common.files import accessible
from reclip.common.text import listed
from reclip.pipeline import pruning
from reclip.pipeline.job import Job, seed_part
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import (
    corrupted_outputs,
    read_receipt,
    warnings,
    why_stale,
    write_plan_file,
)
from reclip.pipeline.stages import STAGES

COARSE = 2_000_000_000  # ns; no file system keeps times less precisely


def report(plan: Plan, *, verify: bool = False) -> Iterator[str]:
    """Yield a line for every job, in the order of the pipeline, then a line of counts.

    A warning that a fresh result's receipt holds has a line of its own.

    verify: also compare the checksum of every output.
    """
    asked = set(plan.default_jobs)
    counts = {"stale": 0, "fresh": 0, "aside": 0}
    for job in plan.jobs:
        reason = why_stale(job)
        if reason is None and verify:
            bad = corrupted_outputs(job.receipt)
            reason = f"changed on disk: {listed(bad)}" if bad else None
        word = "fresh" if reason is None else "stale" if job in asked else "aside"
        counts[word] += 1
        yield f"{word}  {job.name}" + (f": {reason}" if reason else "")
        if reason is None:
            yield from (f"warning  {said}" for said in warnings(job))
    if not counts["stale"]:
        aside = f", {counts['aside']} aside" if counts["aside"] else ""
        yield f"everything is fresh: {counts['fresh']} outputs{aside}"
    else:
        yield ", ".join(f"{n} {word}" for word, n in counts.items() if n or word == "stale")


def write_plan_files(plan: Plan) -> None:
    """Write the plan file of every job and delete plan files of removed jobs."""
    for job in plan.jobs:
        write_plan_file(job)
    known = {job.plan_file for job in plan.jobs}
    folder = plan.root / "plan"
    for path in sorted(folder.glob("*/**/*.json")):
        if path not in known and _is_plan_file(path.relative_to(folder), read_receipt(path)):
            path.unlink()


def _is_plan_file(path: Path, found: dict[str, Any] | None) -> bool:
    """Return whether a file's content is as `write_plan_file` writes it for the job of its name.

    path: from the folder of the plan files.
    """
    if found is None:
        return False
    stage, id = str(found.get("stage")), str(found.get("id"))
    seeded = stage in STAGES and STAGES[stage].kind == "seed"
    part = seed_part(found.get("seed")) if seeded else ""
    return path.with_suffix("").parts == tuple(filter(None, (stage, id, part)))


@accessible()
def settle(plan: Plan) -> set[Job]:
    """Write the plan files, show Snakemake by file times which jobs are stale, and return these.

    The plan file of a stale job becomes newer than the oldest of its outputs. If that lies in the
    future, it gets an earlier time. An input that lies in the future gets the present time, because
    Snakemake stops at an output that is older than an input.

    Raises ReclipError: a plan file belongs to another user.
    """
    write_plan_files(plan)
    stale = {job for job in plan.jobs if why_stale(job)}
    latest = _now(plan.root) + COARSE if stale else 0
    for job in stale:
        # Snakemake deletes the receipt before the stage runs.
        pruning.remember(job, read_receipt(job.receipt))
        for path in (job.plan_file, *(other.receipt for other in job.inputs.values())):
            if path.exists() and _time(path) > latest:
                os.utime(path)
        made = [path for path in job.declared if path.exists()]
        oldest = min(made, key=_time, default=None)  # the one that Snakemake looks at
        if oldest is not None and _time(job.plan_file) <= _time(oldest):
            # By the clock of the file server, which sets the outputs' times, too.
            os.utime(job.plan_file)
            if (now := _time(job.plan_file)) <= _time(oldest):
                os.utime(oldest, ns=(now - COARSE, now - COARSE))
    return stale


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def _now(folder: Path) -> int:
    """Return the time, in ns, that the file server gives to a new file."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime_ns
