"""Results to other people and back, through DVC: only what is true is recorded or restored.

`dvc.lock` (in git) names the results of one state of settings and code; DVC's cache and remotes
hold them. The receipts, which travel along, say whether what came back is what was made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.git import ignored, tracked
from reclip.common.text import listed
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import corrupted_outputs, read_receipt, why_stale
from reclip.pipeline.staleness import write_plan_files
from reclip.versioning.dvc import HINTS, DvcError, default_remote, dvc, require_project
from reclip.versioning.dvc_cache import Cache
from reclip.versioning.dvc_yaml import jobs_of_pipeline, named

LOCK = Path("dvc.lock")
SECRET = re.compile(
    r"^\s*(password|\w*secret\w*|\w*token|\w*_key|connection_string)\s*=|://[^/\s]*:[^/\s]*@", re.M
)


def record(plan: Plan, params: str, *, partial: bool = False) -> str:
    """Have DVC keep every result, so that `dvc repro` has nothing to do; says what comes next.

    Args:
        partial: leave out what is stale, instead of refusing.
    """
    require_project()
    _refuse_secrets()
    jobs = jobs_of_pipeline(plan, params)
    reasons = {job: reason for job in jobs if (reason := why_stale(job))}
    if reasons and not partial:
        first = listed([f"{job.name}: {reason}" for job, reason in reasons.items()], "; ", 2)
        raise ReclipError(
            f"{len(reasons)} of {len(jobs)} results are stale ({first}): run `snakemake` first, or "
            f"`reclip record --partial` to leave them out"
        )
    kept: list[Job] = []
    for job in jobs:  # each after its inputs
        if job not in reasons and all(i in kept for i in job.inputs.values()):
            kept.append(job)
    changed = [str(path) for job in kept for path in _damaged(job)]
    if changed:
        raise ReclipError(
            f"{listed(changed)} changed after being made: make it again by its stage, with --force"
        )
    _commit(plan, jobs, kept)
    files = [str(LOCK), "dvc.yaml", params]
    outputs = [path for job in kept for path in job.outputs]
    if set(outputs) - ignored(outputs):
        files.append(str(plan.root))
    push = "dvc push" if default_remote() else "dvc remote add -d NAME URL, dvc push"
    return (
        f"recorded {len(kept)} of {len(jobs)} results in {LOCK}; "
        f"now: git add {' '.join(files)}, git commit, {push}"
    )


def _commit(plan: Plan, jobs: list[Job], kept: list[Job]) -> None:
    note = plan.jobs[0].unrecorded_marker
    write_plan_files(plan)
    note.unlink(missing_ok=True)
    try:
        some = [name for name, job in named(jobs).items() if job in kept]
        names = [] if len(kept) == len(jobs) else ["plan", *some]
        dvc("commit", "--force", *names)
    except BaseException:
        note.touch()
        raise


def _refuse_secrets() -> None:
    config = Path(".dvc/config")
    if config.is_file() and SECRET.search(config.read_text(encoding="utf-8")):
        raise ReclipError(
            f"'{config}', which goes into git, holds a password or key: move it to "
            f".dvc/config.local with `dvc remote modify --local`"
        )


def restore(plan: Plan, params: str, *, remote: str | None = None) -> Iterator[str]:
    """Bring back what dvc.lock names, from DVC's cache or else its remote, and check all of it.

    Yields a sentence a result that is not whole afterwards.
    """
    require_project()
    jobs = jobs_of_pipeline(plan, params)
    if not LOCK.is_file():
        raise ReclipError(f"there is no {LOCK}, so nothing was recorded: run `reclip record` first")
    write_plan_files(plan)
    damaged = [name for name, job in named(jobs).items() if not why_stale(job) and _damaged(job)]
    if damaged:
        _tried("checkout", "--force", *damaged)
    lost = any(why_stale(job) for job in jobs)
    trouble = _pull(remote) if lost else None
    broken = 0
    for job in jobs:
        if said := _not_whole(job):
            broken += 1
            yield f"{job.name}: {said}"
    if broken:
        because = f", as {trouble}" if trouble else ""
        raise ReclipError(
            f"{broken} of {len(jobs)} results are not whole{because}; `snakemake` makes them again"
        )
    if lost and not plan.jobs[0].unrecorded_marker.exists():
        dvc("commit", "--force")  # so that `dvc repro` finds these results when others were there


def _pull(remote: str | None) -> DvcError | None:
    """Check out what the cache has, and fetch what it lacks; returns what kept some away."""
    trouble = _tried("pull", *(["--remote", remote] if remote else []))
    if trouble:
        _tried("checkout")  # what has come, though not all did
        if not remote and not default_remote():
            return DvcError(HINTS["no remote"])
    return trouble


def _tried(*command: str) -> DvcError | None:
    try:
        dvc(*command)
    except DvcError as error:
        return error
    return None


def _damaged(job: Job) -> list[Path]:
    receipt = read_receipt(job.receipt) or {}
    return [_path(job, name) for name in corrupted_outputs(receipt, job.folder)]


def _path(job: Job, output: str) -> Path:
    return Path(os.path.normpath(job.folder / output))


def _not_whole(job: Job) -> str | None:
    """What is wrong with a result, and where it can be had from."""
    said = why_stale(job)
    if said:
        outputs = (read_receipt(job.receipt) or {}).get("outputs", {})
        bad = [path for name in outputs if not (path := _path(job, name)).is_file()]
    elif bad := _damaged(job):
        said = f"damaged: {listed([path.name for path in bad])}"
    else:
        return None
    if in_git := tracked(bad):
        return f"{said}; git has it: git checkout -- {' '.join(map(str, in_git))}"
    if bad and bad[0].is_file() and (copy := Cache().damaged_copy(bad[0])):
        where = os.path.relpath(copy)
        return f"{said}; DVC's copy is damaged: delete {where} and run `reclip restore` again"
    return said
