"""`reclip plan --resources`: what each job asks for, as a table."""

from __future__ import annotations

import pandas as pd

from reclip.cost.resources import compute_costs, resources
from reclip.pipeline.plan import Plan


def resources_text(plan: Plan, machine: str | None) -> str:
    """Return a line for the jobs of a stage on a dataset, run or table; seeds are alike.

    machine: see `resources`.
    Raises ReclipError: an unknown CLIP or backbone, or a setting that names a missing file.
    """
    costs, alike = compute_costs(plan), {}
    for job in plan.jobs:
        alike.setdefault((job.stage, job.id), []).append(job)
    rows = [
        {
            "stage": stage,
            "id": id,
            "jobs": len(jobs),
            **resources(plan, jobs[0], costs, machine)._asdict(),
        }
        for (stage, id), jobs in alike.items()
    ]
    return pd.DataFrame(rows).to_string(index=False)
