"""Read and write the runs of an MLflow experiment. Only this module imports MLflow, lazily: 1 s.

`reclip.tracking.sync` decides when a record is logged, and that it is logged once.
"""

from __future__ import annotations

import getpass
import logging
import time
from collections.abc import Iterator
from itertools import zip_longest

import mlflow.store.db.utils
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import chunk_list

from reclip.common.errors import ReclipError
from reclip.common.files import atomic
from reclip.tracking.results import Record, as_text
from reclip.tracking.server import sqlite_file

for _name in ("alembic", "mlflow", "urllib3"):  # our own messages report their faults
    logging.getLogger(_name).setLevel(logging.CRITICAL)
mlflow.store.db.utils.MAX_RETRY_COUNT = 2  # 10 tries wait 100 s for a database that is down

MAX_METRICS, MAX_PARAMS = 900, 100  # of one batch
NOTE = (
    "One run for each run id of the tables, with its settings and its mIoU (mean over seeds). "
    "Below it, one run for each stage and seed. The filter `tags.kind = 'run'` shows the run ids "
    "alone. The results on disk are the truth: `reclip sync-mlflow` logs what is missing here."
)


class Store:
    """An experiment of the store at `uri`, created if it does not exist.

    Args:
        deadline: no request starts after this value of `time.monotonic()`.

    Raises TimeoutError: the deadline has passed. Raises ReclipError: the experiment was deleted.
    Also raises all errors of MLflow, its server and its database.
    """

    def __init__(self, uri: str, experiment: str, deadline: float | None = None):
        _create_sqlite(uri)
        self._client = MlflowClient(tracking_uri=uri)
        self._deadline = deadline
        found = self._client.get_experiment_by_name(experiment) or self._create(experiment)
        if found.lifecycle_stage != "active":
            raise ReclipError(
                f"experiment '{experiment}' was deleted there: restore it with `mlflow "
                f"experiments restore -x {found.experiment_id}`, or rename `experiment`"
            )
        self._id = found.experiment_id

    def _create(self, name: str) -> Experiment:
        try:
            self._client.create_experiment(name, tags={"mlflow.note.content": NOTE})
        except MlflowException:  # another machine created it first
            if self._client.get_experiment_by_name(name) is None:
                raise
        return self._client.get_experiment_by_name(name)

    def runs(self, **tags: str) -> list[Run]:
        """Return the runs with all these tags, the oldest first."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found: list[Run] = []
        token = None
        while True:
            self._check_time()
            page = self._client.search_runs(
                [self._id], wanted, max_results=1000, order_by=["start_time", "run_id"],
                page_token=token,
            )  # fmt: skip
            found += page
            token = page.token
            if not token:
                return found

    def create(self, record: Record) -> Run:
        """Create a run with the record's name, tags and start, and nothing else."""
        self._check_time()
        tags = {**record.tags, "mlflow.user": _user()}
        return self._client.create_run(self._id, _ms(record.began), tags, record.name)

    def fill(self, run: Run, record: Record, *, resume: bool = False) -> None:
        """Log everything of the record but its tags.

        resume: skip the values that the run has.
        """
        logged = self._points(run) if resume else set()
        id = run.info.run_id
        params = as_text(record.params).items()
        params = [Param(name, value) for name, value in params if name not in run.data.params]
        metrics = [m for m in _metrics(record) if (m.key, m.step) not in logged]
        # A batch is one transaction: that costs more time than its content.
        batches = chunk_list(params, MAX_PARAMS), chunk_list(metrics, MAX_METRICS)
        for some_params, some_metrics in zip_longest(*batches, fillvalue=()):
            self._check_time()
            self._client.log_batch(id, metrics=some_metrics, params=some_params)
        if record.data:
            context = InputTag("mlflow.data.context", record.split)
            self._client.log_inputs(id, [DatasetInput(Dataset(**record.data), [context])])
        for path in record.files:
            self._check_time()
            self._client.log_artifact(id, str(path))

    def tag(self, run: Run, name: str, value: str | None) -> None:
        """Set a tag; None removes it."""
        if run.data.tags.get(name) == value:
            return
        if value is None:
            self._client.delete_tag(run.info.run_id, name)
        else:
            self._client.set_tag(run.info.run_id, name, value)

    def end(self, run: Run, at: float | None) -> None:
        """Set the run FINISHED, at a time or now. The end of a FINISHED run only moves later."""
        if run.info.status != "FINISHED" or (run.info.end_time or 0) < (_ms(at) or 0):
            self._client.set_terminated(run.info.run_id, end_time=_ms(at))

    def delete(self, run: Run) -> None:
        """Delete a run."""
        self._client.delete_run(run.info.run_id)

    def _points(self, run: Run) -> set[tuple[str, int]]:
        """Return name and step of every value that the run has."""
        names = run.data.metrics
        histories = [self._client.get_metric_history(run.info.run_id, name) for name in names]
        return {(metric.key, metric.step) for history in histories for metric in history}

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeoutError("it takes too long")


def _create_sqlite(uri: str) -> None:
    """Create a missing SQLite store, complete or not at all.

    MLflow needs seconds for the tables, and cannot use a file whose creator was killed meanwhile.
    """
    file = sqlite_file(uri)
    if file and not file.exists():
        with atomic(file) as partial:
            MlflowClient(tracking_uri=f"sqlite:///{partial}")


def _metrics(record: Record) -> Iterator[Metric]:
    """Yield every value; the points of a curve are spread over the time of the record."""
    ended = _ms(record.ended) or int(time.time() * 1000)
    began = _ms(record.began) or ended
    for name, value in record.metrics.items():
        yield Metric(name, value, ended, 0)
    for name, curve in record.curves.items():
        for step, value in curve:
            at = began + (ended - began) * step // max(curve[-1][0], 1)
            yield Metric(name, value, at, step)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without users
        return "unknown"
