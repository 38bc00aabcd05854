"""MLflow mirrors the results: files are the truth, and a fault here never costs one.

What is logged is read back from a job's files, so `reclip sync-mlflow` can log later what could not
be logged at once, and goes on where a killed process stopped.
"""

from __future__ import annotations

import logging
import os
import time

from reclip.common.errors import ReclipError
from reclip.common.passwords import without_password
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.tracking import records, usage
from reclip.tracking.server import answers, store_uri, turn

log = logging.getLogger(__name__)

# MLflow's own defaults hold every job up for four minutes when its server does not answer, and for
# as long as the server likes when it says so in a header.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nor does a job call at anyone else's
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a run
}
JOB_SECONDS = 60  # what logging may hold up a job; after that nothing more is begun

# Set by a Snakemake run that logs its jobs when it ends.
LATER = "RECLIP_TRACKING_LATER"


def mirror(plan: Plan, job: Job) -> None:
    """Log a job that this process just finished, now or, if Snakemake does so, later.

    A failure is one warning.
    """
    if not plan.params.tracking.enabled:
        return
    try:
        usage.note(job)
        if not os.environ.get(LATER):
            _log_one(plan, job)
    except Exception as error:  # whatever MLflow, its server or its database does
        log.warning(
            "tracking: %s was not logged to %s (%s); the result is whole, "
            "`reclip sync-mlflow` logs it later",
            job.name,
            without_password(store_uri(plan)),
            _sentence(error),
        )


def _log_one(plan: Plan, job: Job) -> None:
    uri = store_uri(plan)
    children, parent = records.children(plan, job), records.parent(plan, job)
    _knock(uri)
    from reclip.tracking.recording import record
    from reclip.tracking.store import Store

    with turn(uri):
        deadline = time.monotonic() + JOB_SECONDS
        record(Store(uri, plan.params.experiment, deadline), parent, children)


def sync(plan: Plan) -> str:
    """Log every fresh result that is not there yet, and say in a sentence what was done.

    Raises ReclipError: the store cannot be reached, or some results could not be logged.
    """
    if not plan.params.tracking.enabled:
        return "tracking is off (tracking.enabled): nothing was logged"
    uri = store_uri(plan)
    fresh = [job for job in plan.jobs if why_stale(job) is None]
    if not fresh:
        return "no fresh result to log"
    logged, faults = 0, []
    try:
        _knock(uri)
        from reclip.tracking.recording import is_there, record
        from reclip.tracking.store import Store

        with turn(uri):
            store = Store(uri, plan.params.experiment)
        runs = store.runs()
    except Exception as error:
        raise ReclipError(
            f"nothing was logged to {without_password(uri)} ({_sentence(error)}): "
            f"run `reclip sync-mlflow` again once it is there"
        ) from error
    for job in fresh:
        try:
            children, parent = records.children(plan, job), records.parent(plan, job)
            if not is_there(parent, children, runs):
                with turn(uri):
                    record(store, parent, children)
                logged += 1
        except Exception as error:
            faults.append(f"{job.name}: {_sentence(error)}")
            if not answers(uri):
                break
    done = f"logged {logged} of {len(fresh)} fresh results to {without_password(uri)}"
    if faults:
        raise ReclipError(
            f"{done}, then {faults[0]}: run `reclip sync-mlflow` again, it logs the rest"
        )
    return done if logged == len(fresh) else f"{done}; the others were there"


def _knock(uri: str) -> None:
    """Set how long MLflow may wait, and see that a server is there before MLflow is imported.

    Raises ReclipError: nobody answers.
    """
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    if not answers(uri):
        raise ReclipError("it does not answer")


def _sentence(error: Exception) -> str:
    """What went wrong, in one line; of a request what it failed of, not its whole address."""
    text = " ".join(without_password(str(error)).split()).rpartition("(Caused by ")[2]
    return text[:200].rstrip(" ).:") or type(error).__name__
