"""Collect the settings of every job that a run depends on, as one flat dict.

These are MLflow's parameters and the settings in `reclip compare`: both name the same differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan

# `hypothesis_image` repeats hypotheses.image, and `seeded_teacher` follows from the teacher.
REPEATED = {"hypothesis_image", "seeded_teacher"}


def flatten(data: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested settings as (dotted key, value)."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from flatten(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, data


def settings_of(job: Job) -> dict[str, Any]:
    """Return the settings that one job reads, without empty ones."""
    said = {k: v for k, v in job.wanted["settings"].items() if k not in REPEATED}
    if (sha256 := said.pop("weights", None)) and isinstance(sha256, str):
        # A student has the weights of a backbone beside those of CLIP.
        said["backbone_sha256" if job.stage == "distill" else "clip_sha256"] = sha256[:12]
    return {key: value for key, value in flatten(said) if value is not None and value != []}


def settings_behind(plan: Plan, run: str) -> dict[str, Any]:
    """Return all settings that a run's result depends on, sorted by key.

    Where two jobs have the same key, the job nearer to the result wins.
    """
    given = plan.params.runs[run]
    found = {"dataset": given.dataset, "method": given.method}
    found |= {role: named for role in ("teacher", "student") if (named := getattr(given, role))}
    jobs = [plan.result(run)]
    for job in jobs:  # grows: breadth first, so nearer jobs come first
        found = {**settings_of(job), **found}
        jobs += [other for other in job.inputs.values() if other not in jobs]
    return dict(sorted(found.items()))
