"""Results that only receipts vouch for: enough for whatever looks at receipts alone."""

from __future__ import annotations

from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish


def make(plan: Plan, *stages: str) -> None:
    """Stand-ins for the outputs of all jobs, or of some stages."""
    for job in plan.jobs:
        if not stages or job.stage in stages:
            make_one(job)


def make_one(job: Job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    inside = job.folder / f"{job.id}.fake"
    inside.write_text(job.name)
    for path in job.outputs:
        path.write_text(job.name)
    finish(job, [inside, *job.outputs])
