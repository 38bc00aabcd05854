"""Describe a job to MLflow: names, tags, parameters, metrics. This module does not import MLflow.

A record becomes one run of MLflow: a child for each job, below a parent for the run id, dataset or
experiment of the job.
"""

from __future__ import annotations

import json
from typing import Any

from reclip.common.files import read_json
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import warnings_behind
from reclip.pipeline.stages import STAGES
from reclip.tracking import usage
from reclip.tracking.results import Record, readings, settings_behind, settings_of, summary

WARNINGS = "warnings"
"""Tag of a run id: the warnings of its training and of all jobs before it, if there are any."""

MAX_TAG = 4000  # letters; MLflow takes 5,000 bytes and more


def child(plan: Plan, job: Job) -> Record:
    """Return the record of a finished job."""
    took = usage.read(job)
    tags = {
        "kind": "stage",
        "job": job.name,
        "stage": job.stage,
        "digest": job.digest,
        **_subject(plan, job),
        "mlflow.source.name": f"reclip {job.stage}{job.options}",  # shown in the column `Source`
        "mlflow.source.type": "LOCAL",
    }
    if took and took["commit"]:
        tags["mlflow.source.git.commit"] = took["commit"]
    title = job.settings["table"].title if job.stage == "tabulate" else job.stage
    record = readings(job)
    record.name = f"{job.id} {title}"  # with the run id: the legend of a chart shows no parent
    record.tags |= tags
    if job.seed is not None:
        record.name += f" seed {job.seed}"
        record.tags["seed"] = str(job.seed)
    if STAGES[job.stage].names in ("dataset", "run"):
        record.params = settings_of(job)
    record.metrics |= _load(took)
    record.files.append(job.receipt)
    record.data = _data(job.inputs.get("data"))
    record.split = "val" if job.stage == "evaluate" else "train"
    if took:
        record.began, record.ended = took["began"], took["ended"]
    return record


def parent(plan: Plan, job: Job) -> Record:
    """Return the parent of a job's record: its run id, its dataset, or all tables and figures.

    The parent of a run id has all settings behind the run and, after its evaluation, the metrics
    to compare.
    """
    kind = STAGES[job.stage].names
    if kind == "dataset":
        tags = {"kind": "data", "dataset": job.id}
        found = Record(f"data {job.id}", tags, data=_data(plan.job("prepare", job.id)))
    elif kind == "run":
        tags = {"kind": "run", **_subject(plan, job)}
        if rows := _rows(plan, job.id):
            tags["mlflow.note.content"] = rows
        if said := sorted({s for one in plan.trained(job.id) for s in warnings_behind(one)}):
            tags[WARNINGS] = " ".join(said)[:MAX_TAG]
        found = Record(job.id, tags, settings_behind(plan, job.id))
        found.data = _data(plan.job("prepare", plan.params.runs[job.id].dataset))
        if job.stage == "gather":
            found.tags["digest"] = job.digest
            found.metrics, found.files = summary(read_json(job.outputs[0])), [job.outputs[0]]
    else:
        found = Record("tables and figures", {"kind": "report"})
    found.began, found.ended = _total_time(plan, job)
    return found


def _subject(plan: Plan, job: Job) -> dict[str, str]:
    kind = STAGES[job.stage].names
    if kind == "run":
        given = plan.params.runs[job.id]
        return {"run": job.id, "dataset": given.dataset, "method": given.method}
    return {kind: job.id} if kind != "experiment" else {}


def _rows(plan: Plan, run: str) -> str:
    """Return the rows of the paper's tables that a run is measured for."""
    return "; ".join(
        f"{table}: {row.row} ({column})"
        for table, given in plan.params.tables.items()
        for row in given.rows
        for column, cell in row.cells.items()
        if cell.run == run
    )


def _total_time(plan: Plan, job: Job) -> tuple[float | None, float | None]:
    """Return the start of a parent's first job, and that plus the time of all its jobs.

    The time between two jobs does not count.
    """

    def group(job: Job) -> tuple[str, str] | None:
        kind = STAGES[job.stage].names
        return (kind, job.id) if kind in ("dataset", "run") else None

    alike = [other for other in plan.jobs if group(other) == group(job)]
    notes = [note for other in alike if (note := usage.read(other))]
    if not notes:
        return None, None
    began = min(note["began"] for note in notes)
    return began, began + sum(note["ended"] - note["began"] for note in notes)


def _load(took: dict[str, Any] | None) -> dict[str, float]:
    """Return the load of the job's whole process, under names that MLflow shows as system load."""
    if took is None:
        return {}
    seconds = max(took["ended"] - took["began"], 1e-3)
    found = {k: v for k, v in took.items() if k.endswith(("cpu_seconds", "megabytes"))}
    found |= {"seconds": seconds, "cpu_utilization_percentage": 100 * took["cpu_seconds"] / seconds}
    return {f"system/{name}": value for name, value in found.items()}


def _data(data: Job | None) -> dict[str, str] | None:
    if data is None:
        return None
    try:
        counts = read_json(data.folder / "classes.json")["counts"]
    except (OSError, ValueError, KeyError):
        counts = {}
    origin = data.inputs.get("of", data)  # the dataset whose photos it has
    source = json.dumps(origin.wanted["settings"]["source"])
    return {
        "name": data.id, "digest": data.digest[:12], "source_type": "local", "source": source,
        "profile": json.dumps(counts),
    }  # fmt: skip
