"""Record results in DVC and restore them; both verify checksums.

`dvc.lock` (in git) names the results of one state of settings and code. DVC's cache and remotes
hold the files. The receipts travel with them, so checksums can be verified after a transfer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.git import ignored, tracked
from reclip.common.text import listed
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.pruning import unknown_files
from reclip.pipeline.receipts import corrupted_outputs, read_receipt, why_stale
from reclip.pipeline.staleness import write_plan_files
from reclip.versioning import dvc
from reclip.versioning.dvc_yaml import WHOLE, jobs_of_pipeline, named

LOCK = Path("dvc.lock")
SECRET = re.compile(
    r"^\s*(password|\w*secret\w*|\w*token|\w*_key|connection_string)\s*=|://[^/\s]*:[^/\s]*@", re.M
)


def record(plan: Plan, *, partial: bool = False) -> str:
    """Record every result in DVC, so `dvc repro` has nothing to do. Return the next commands.

    partial: skip stale results. Otherwise they are an error.
    Raises ReclipError: no git or DVC, a secret in a tracked file, or stale or changed results.
    """
    dvc.require_project()
    config = Path(".dvc/config")
    if config.is_file() and SECRET.search(config.read_text(encoding="utf-8")):
        raise ReclipError(
            f"'{config}', which goes into git, holds a password or key: move it to "
            f".dvc/config.local with `dvc remote modify --local`"
        )
    jobs = jobs_of_pipeline(plan)
    reasons = {job: reason for job in jobs if (reason := why_stale(job))}
    if reasons and not partial:
        first = listed([f"{job.name}: {reason}" for job, reason in reasons.items()], "; ", 2)
        raise ReclipError(
            f"{len(reasons)} of {len(jobs)} results are stale ({first}): run `snakemake` first, or "
            f"skip them with `reclip record --partial`"
        )
    kept: list[Job] = []
    for job in jobs:  # each after its inputs
        if job not in reasons and all(i in kept for i in job.inputs.values()):
            kept.append(job)
    changed = [str(path) for job in kept for path in _damaged(job)]
    if changed:
        raise ReclipError(
            f"{listed(changed)} changed after being made: run its stage again with --force"
        )
    _commit(plan, jobs, kept)
    files = [str(LOCK), "dvc.yaml", plan.file]
    outputs = [path for job in kept for path in job.outputs]
    if set(outputs) - ignored(outputs):
        files.append(str(plan.root))
    push = "dvc push" if dvc.default_remote() else "dvc remote add -d NAME URL, dvc push"
    return (
        f"Recorded {len(kept)} of {len(jobs)} results in {LOCK}. "
        f"Next: git add {' '.join(files)}, git commit, {push}"
    )


def _commit(plan: Plan, jobs: list[Job], kept: list[Job]) -> None:
    marker = plan.jobs[0].unrecorded_marker
    write_plan_files(plan)
    marker.unlink(missing_ok=True)
    try:
        some = [name for name, job in named(jobs).items() if job in kept]
        names = [] if len(kept) == len(jobs) else ["plan", *some]
        dvc.run("commit", "--force", *names)
    except BaseException:
        marker.touch()
        raise


def before_repro(plan: Plan) -> None:
    """Write the plan files.

    This is the first stage of dvc.yaml. It runs if settings or code differ from dvc.lock, or if a
    stage ran without DVC (Job.unrecorded_marker). DVC deletes no output before it.

    Raises ReclipError: `dvc repro` would delete unrecorded results, or files of the user.
    """
    write_plan_files(plan)
    if "DVC_STAGE" not in os.environ:  # the user ran it: no other stage follows
        return
    jobs = jobs_of_pipeline(plan)
    require_no_other_files(jobs)
    fresh = [job for job in jobs if not why_stale(job)]
    cache = dvc.cache_folder()
    unknown = [job.name for job in fresh if not dvc.cached_file(cache, job.receipt).is_file()]
    if unknown:
        partial = " --partial" * (len(fresh) < len(jobs))
        raise ReclipError(
            f"DVC has no record of {len(unknown)} fresh results and would delete them "
            f"({listed(unknown)}): run `reclip record{partial}` first"
        )
    plan.jobs[0].unrecorded_marker.unlink(missing_ok=True)


def require_no_other_files(jobs: Iterable[Job]) -> None:
    """Raise ReclipError if a folder that DVC would replace holds files that only exist there.

    A file that no receipt names may be a result whose receipt was lost: DVC's cache has a copy
    then.
    """
    whole = [job for job in jobs if job.kind in WHOLE]
    unknown = [p for job in whole for p in unknown_files(job, read_receipt(job.receipt))]
    cache = dvc.cache_folder() if unknown else Path()
    if found := [str(path) for path in unknown if not dvc.cached_file(cache, path).is_file()]:
        raise ReclipError(
            f"DVC would delete {len(found)} file{'s' * (len(found) > 1)} that no stage wrote "
            f"({listed(found)}): move them out of the results, or run `snakemake`, which keeps them"
        )


def restore(plan: Plan, *, remote: str | None = None) -> Iterator[str]:
    """Restore the results that dvc.lock names from DVC's cache or its remote, and verify all.

    Yields a sentence for each result that is not complete afterwards.
    Raises ReclipError: no git or DVC, nothing recorded, or some results are not complete.
    """
    dvc.require_project()
    jobs = jobs_of_pipeline(plan)
    if not LOCK.is_file():
        raise ReclipError(f"{LOCK} is missing, so nothing was recorded: run `reclip record` first")
    write_plan_files(plan)
    damaged = [name for name, job in named(jobs).items() if not why_stale(job) and _damaged(job)]
    if damaged:
        require_no_other_files(job for name, job in named(jobs).items() if name in damaged)
        dvc.attempt("checkout", "--force", *damaged)
    lost = any(why_stale(job) for job in jobs)
    # From the cache, and what it lacks from the remote.
    error = dvc.attempt("pull", *(["--remote", remote] if remote else [])) if lost else None
    if error:
        dvc.attempt("checkout")  # the files that did arrive
        if not remote and not dvc.default_remote():
            error = dvc.HINTS["no remote"]
    faults = [f"{job.name}: {fault}" for job in jobs if (fault := _fault(job))]
    yield from faults
    if faults:
        because = f", because {error}" if error else ""
        raise ReclipError(
            f"{len(faults)} of {len(jobs)} results are not complete{because}. "
            f"`snakemake` makes them again"
        )
    if lost and not plan.jobs[0].unrecorded_marker.exists():
        # `dvc repro` then finds these results, even if others were here before.
        dvc.run("commit", "--force")


def _damaged(job: Job) -> list[Path]:
    return [Path(os.path.normpath(job.folder / name)) for name in corrupted_outputs(job.receipt)]


def _fault(job: Job) -> str | None:
    """Return in words why a result is not complete, and how to get it; None if it is."""
    if said := why_stale(job):
        outputs = (read_receipt(job.receipt) or {}).get("outputs", {})
        paths = [Path(os.path.normpath(job.folder / name)) for name in outputs]
        bad = [path for path in paths if not path.is_file()]
    elif bad := _damaged(job):
        said = f"damaged: {listed([path.name for path in bad])}"
    else:
        return None
    if in_git := tracked(bad):
        return f"{said}; git has it: git checkout -- {' '.join(map(str, in_git))}"
    if bad and bad[0].is_file() and (copy := dvc.damaged_copy(bad[0])):
        where = os.path.relpath(copy)
        return f"{said}; DVC's copy is damaged: delete {where} and run `reclip restore` again"
    return said
