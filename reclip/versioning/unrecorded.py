"""Results that DVC has no record of, which it would delete before it makes or fetches others."""

from __future__ import annotations

import os

from reclip.common.errors import ReclipError
from reclip.common.text import listed
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.pipeline.staleness import write_plan_files
from reclip.versioning.dvc_cache import Cache
from reclip.versioning.dvc_yaml import jobs_of_pipeline


def before_repro(plan: Plan, params: str) -> None:
    """Write the plan files; refuse where `dvc repro` would delete fresh results.

    This is dvc.yaml's first stage. It runs whenever settings or code are not those of dvc.lock, or
    a stage ran without DVC (Job.unrecorded_marker), and before any other stage's output is deleted.
    """
    write_plan_files(plan)
    if "DVC_STAGE" not in os.environ:  # run by hand: nothing follows
        return
    jobs = jobs_of_pipeline(plan, params)
    fresh = [job for job in jobs if not why_stale(job)]
    cache = Cache()
    unknown = [job.name for job in fresh if not cache.knows(job.receipt)]
    if unknown:
        partial = " --partial" * (len(fresh) < len(jobs))
        raise ReclipError(
            f"DVC has no record of {len(unknown)} fresh results and would delete them "
            f"({listed(unknown)}): run `reclip record{partial}` first"
        )
    plan.jobs[0].unrecorded_marker.unlink(missing_ok=True)
