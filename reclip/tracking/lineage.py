"""What a run rests on: the settings of every job behind it, as one flat list.

MLflow's parameters and `reclip compare` are this list, so both name the same differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan

# `hypothesis_image` repeats hypotheses.image, and `seeded_teacher` follows from the teacher.
REPEATED = {"hypothesis_image", "seeded_teacher"}


def flatten(data: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested settings as (dotted key, value)."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from flatten(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, data


def settings_of(job: Job) -> dict[str, Any]:
    """What one job read of the settings, but for what is not set."""
    said = {k: v for k, v in job.wanted["settings"].items() if k not in REPEATED}
    if (sha256 := said.pop("weights", None)) and isinstance(sha256, str):
        # Whose weights: a student has a backbone's beside CLIP's.
        said["backbone_sha256" if job.stage == "distill" else "clip_sha256"] = sha256[:12]
    return {key: value for key, value in flatten(said) if value is not None and value != []}


def jobs_behind(job: Job) -> list[Job]:
    """The job and all that it reads from, directly or not, the nearest first."""
    found, todo = {}, [job]
    while todo:
        job = todo.pop(0)
        if job.name not in found:
            found[job.name] = job
            todo += job.inputs.values()
    return list(found.values())


def settings_behind(plan: Plan, run: str) -> dict[str, Any]:
    """All that a run's result depends on, its own settings before those of what it rests on."""
    given = plan.params.runs[run]
    found = {"dataset": given.dataset, "method": given.method}
    found |= {role: named for role in ("teacher", "student") if (named := getattr(given, role))}
    for job in jobs_behind(plan.result(run)):
        found = {**settings_of(job), **found}
    return {key: found[key] for key in sorted(found)}
