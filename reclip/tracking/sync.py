"""Log results to MLflow exactly once, even with retries and parallel writers.

The files are the truth, and a fault here never costs a result. Records are read back from a job's
files, so `reclip sync-mlflow` logs later what failed at once, and resumes an interrupted upload.

A child is identified by its digest, a parent by its run id or dataset. A run of MLflow is set
FINISHED last, so any other status means an interrupted upload.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from reclip.common.errors import ReclipError
from reclip.common.passwords import without_password
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.tracking import records, usage
from reclip.tracking.results import Record, as_text
from reclip.tracking.server import answers, lock, store_uri

if TYPE_CHECKING:
    from mlflow.entities import Run

    from reclip.tracking.store import Store

log = logging.getLogger(__name__)

# By default, MLflow holds up a job for four minutes when its server does not answer, and for as
# long as the server asks in a header.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for each run
}
JOB_SECONDS = 60  # after this time, logging a job starts no further request

LATER = "RECLIP_TRACKING_LATER"
"""Environment variable: set by a Snakemake run that logs all its jobs at its end."""

FINISHED, PARENT = "FINISHED", "mlflow.parentRunId"
WHO = ("kind", "run", "dataset")  # the tags that identify a parent


def mirror(plan: Plan, job: Job) -> None:
    """Log a job that this process just finished, or leave that to the end of a Snakemake run.

    A fault becomes one warning.
    """
    if not plan.params.tracking.enabled:
        return
    try:
        usage.note(job)
        if not os.environ.get(LATER):
            child, parent = records.child(plan, job), records.parent(plan, job)
            with _opened(plan, JOB_SECONDS) as store:
                record(store, parent, child)
    except Exception as error:  # anything that MLflow, its server or its database raises
        where, why = without_password(store_uri(plan)), _sentence(error)
        log.warning(
            f"tracking: {job.name} was not logged to {where} ({why}). The result is complete. "
            f"`reclip sync-mlflow` logs it later"
        )


def sync(plan: Plan) -> str:
    """Log every fresh result that the store lacks, and return a sentence for the user.

    Raises ReclipError: the store cannot be reached, or some results could not be logged.
    """
    if not plan.params.tracking.enabled:
        return "tracking is off (tracking.enabled): nothing was logged"
    fresh = [job for job in plan.jobs if why_stale(job) is None]
    if not fresh:
        return "no fresh result to log"
    uri = store_uri(plan)
    shown = without_password(uri)
    try:
        with _opened(plan) as store:
            runs = store.runs()
    except Exception as error:
        raise ReclipError(
            f"nothing was logged to {shown} ({_sentence(error)}): "
            f"run `reclip sync-mlflow` again when the store answers"
        ) from error
    logged, faults = 0, []
    for job in fresh:
        try:
            child, parent = records.child(plan, job), records.parent(plan, job)
            if not is_logged(parent, child, runs):
                with lock(uri):
                    record(store, parent, child)
                logged += 1
        except Exception as error:
            faults.append(f"{job.name}: {_sentence(error)}")
            if not answers(uri):
                break
    done = f"logged {logged} of {len(fresh)} fresh results to {shown}"
    if faults:
        raise ReclipError(
            f"{done}, then {faults[0]}: run `reclip sync-mlflow` again to log the rest"
        )
    return done if logged == len(fresh) else f"{done}; the others were logged before"


@contextmanager
def _opened(plan: Plan, seconds: float | None = None) -> Iterator[Store]:
    """Lock and open the store of a plan.

    seconds: the time after which no request starts; None: no limit.
    Raises ReclipError: the server does not answer. MLflow is not imported then.
    """
    uri = store_uri(plan)
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    if not answers(uri):
        raise ReclipError("it does not answer")
    from reclip.tracking.store import Store

    with lock(uri):
        deadline = None if seconds is None else time.monotonic() + seconds
        yield Store(uri, plan.params.experiment, deadline)


def _sentence(error: Exception) -> str:
    """Return an error as one line; of a failed request its cause, not its whole address."""
    text = " ".join(without_password(str(error)).split()).rpartition("(Caused by ")[2]
    return text[:200].rstrip(" ).:") or type(error).__name__


def is_logged(parent: Record, child: Record, runs: list[Run]) -> bool:
    """Return whether `runs` has all of it, so `record` would change nothing."""
    wanted = [parent.tags.get(name) for name in WHO]
    above = [run for run in runs if [run.data.tags.get(name) for name in WHO] == wanted]
    if len(above) != 1 or not _is_complete(above[0], parent) or _digest_differs(above[0], parent):
        return False
    return any(
        run.data.tags.get("digest") == child.tags["digest"]
        and run.data.tags.get(PARENT) == above[0].info.run_id
        and run.info.status == FINISHED
        and "superseded" not in run.data.tags
        for run in runs
    )


def record(store: Store, parent: Record, child: Record) -> None:
    """Log a job's record below the parent. Runs of its earlier settings become superseded."""
    above = _log_parent(store, parent)
    job, digest = child.tags["job"], child.tags["digest"]
    same, others = [], []
    for run in store.runs(job=job):
        (same if run.data.tags.get("digest") == digest else others).append(run)
    for run in others:
        store.tag(run, "superseded", "yes")
    child.tags[PARENT] = above.info.run_id
    news = _log_child(store, child, same)
    # The digest says whose metrics the parent has, so it is set after them.
    if _digest_differs(above, parent):
        store.fill(above, parent)
        store.tag(above, "digest", parent.tags["digest"])
    store.tag(above, records.WARNINGS, parent.tags.get(records.WARNINGS))  # None removes an old one
    if news or above.info.status != FINISHED:
        store.end(above, parent.ended)


def _is_complete(run: Run, parent: Record) -> bool:
    return run.info.status == FINISHED and run.data.params == as_text(parent.params)


def _digest_differs(run: Run, parent: Record) -> bool:
    return parent.tags.get("digest") not in (None, run.data.tags.get("digest"))


def _log_parent(store: Store, parent: Record) -> Run:
    """Return the parent's one run, completed but for its metrics.

    MLflow's parameters cannot be changed. So after a change of settings a new run takes over the
    children of the old one. Keys by digest would not do: a child whose own settings stayed would
    need two parents, and a run id would have several.
    """
    params = as_text(parent.params)
    found = store.runs(**{name: parent.tags[name] for name in WHO if name in parent.tags})
    kept = next((run for run in found if run.data.params.items() <= params.items()), None)
    if kept is None or not _is_complete(kept, parent):
        tags = {name: value for name, value in parent.tags.items() if name != "digest"}
        bare = replace(parent, tags=tags, metrics={}, files=[])
        kept = kept or store.create(bare)
        store.fill(kept, bare)
    for run in found:
        if run.info.run_id != kept.info.run_id:
            for child in store.runs(**{PARENT: run.info.run_id}):
                store.tag(child, PARENT, kept.info.run_id)
            store.delete(run)
    return kept


def _log_child(store: Store, child: Record, runs: list[Run]) -> bool:
    """Log a child, or resume its interrupted upload. Return False if it was complete.

    runs: the runs of its digest. If two machines created the same child, one of both stays.
    """
    mine = sorted(runs, key=lambda run: run.info.status != FINISHED)
    for run in mine[1:]:
        store.delete(run)
    run = mine[0] if mine else store.create(child)
    store.tag(run, PARENT, child.tags[PARENT])
    store.tag(run, "superseded", None)  # a revert makes its settings current again
    if run.info.status == FINISHED:
        return False
    store.fill(run, child, resume=True)
    store.end(run, child.ended)
    return True
