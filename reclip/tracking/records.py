"""What MLflow is told of a job: names, tags, parameters, metrics. Nothing here knows MLflow.

A record is a run of MLflow to be: one for each seed of a job, below one for the run id, dataset or
experiment that the job belongs to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reclip.common.files import read_json
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.stages import STAGES
from reclip.tracking import usage
from reclip.tracking.lineage import settings_behind, settings_of
from reclip.tracking.results import Curves, readings, summary


@dataclass(frozen=True)
class Data:
    """The dataset that a record rests on."""

    name: str
    digest: str
    source: dict[str, Any]
    counts: dict[str, int]
    split: str


@dataclass
class Record:
    """One run of MLflow; times are seconds since 1970, None where nothing noted them."""

    name: str
    tags: dict[str, str]
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    data: Data | None = None
    began: float | None = None
    ended: float | None = None


def children(plan: Plan, job: Job) -> list[Record]:
    """A finished job, seed by seed; one record for stages that have no seeds."""
    kind = STAGES[job.stage].kind
    took = usage.read(job)
    tags = {"kind": "stage", "job": job.name, "stage": job.stage, "digest": job.digest}
    tags |= _subject(plan, job) | _command(job)
    if took and took["commit"]:
        tags["mlflow.source.git.commit"] = took["commit"]
    found = []
    for one in readings(job):
        seed = {} if one.seed is None else {"seed": str(one.seed)}
        began, ended = _times(took, one.seed)
        record = Record(
            _name(job, one.seed),
            tags | seed,
            settings_of(job) if kind in ("dataset", "run") else {},
            one.metrics | _load(took),
            one.curves,
            [*one.files, job.receipt],
            _data(job.inputs.get("data"), "val" if job.stage == "evaluate" else "train"),
            began,
            ended,
        )
        found.append(record)
    return found


def parent(plan: Plan, job: Job) -> Record:
    """What the records of `job` stand below: its run id, its dataset, or all tables and figures.

    That of a run id has all settings behind it and, once evaluated, the metrics to compare.
    """
    kind = STAGES[job.stage].kind
    began, ended = _together(plan, kind, job.id)
    if kind == "dataset":
        tags = {"kind": "data", "dataset": job.id}
        data = _data(plan.job("prepare", job.id), "train, val")
        return Record(f"data {job.id}", tags, data=data, began=began, ended=ended)
    if kind != "run":
        return Record("tables and figures", {"kind": "report"}, began=began, ended=ended)
    tags = {"kind": "run", **_subject(plan, job)}
    if rows := _rows(plan, job.id):
        tags["mlflow.note.content"] = rows
    data = _data(plan.result(job.id).inputs["data"], "train, val")
    settings = settings_behind(plan, job.id)
    found = Record(job.id, tags, settings, data=data, began=began, ended=ended)
    if job.stage == "evaluate":
        found.tags["digest"] = job.digest
        found.metrics, found.files = summary(read_json(job.outputs[0])), [job.outputs[0]]
    return found


def as_text(params: dict[str, Any]) -> dict[str, str]:
    """Parameters as MLflow keeps them, written as in params.yaml."""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in params.items()}
    return {name: text[:500] for name, text in texts.items()}


def _name(job: Job, seed: int | None) -> str:
    """With the run id, for a chart's legend does not show what a record stands below."""
    if job.stage == "tabulate":
        return f"{job.id} {job.settings['table'].title}"
    return f"{job.id} {job.stage}" + ("" if seed is None else f" seed {seed}")


def _subject(plan: Plan, job: Job) -> dict[str, str]:
    kind = STAGES[job.stage].kind
    if kind == "run":
        given = plan.params.runs[job.id]
        return {"run": job.id, "dataset": given.dataset, "method": given.method}
    return {kind: job.id} if kind != "experiment" else {}


def _command(job: Job) -> dict[str, str]:
    """What makes it again, in MLflow's column `Source`."""
    kind = STAGES[job.stage].kind
    of = f" --{kind} {job.id}" if kind != "experiment" else ""
    return {"mlflow.source.name": f"reclip {job.stage}{of}", "mlflow.source.type": "LOCAL"}


def _rows(plan: Plan, run: str) -> str:
    """The rows of the paper's tables that a run is measured for."""
    return "; ".join(
        f"{table}: {row.row} ({column})"
        for table, given in plan.params.tables.items()
        for row in given.rows
        for column, cell in row.cells.items()
        if cell.run == run
    )


def _times(took: dict | None, seed: int | None) -> tuple[float | None, float | None]:
    if took is None:
        return None, None
    return took["seeds"].get(str(seed), (took["began"], took["ended"]))


def _together(plan: Plan, kind: str, id: str) -> tuple[float | None, float | None]:
    """As if its jobs had followed each other at once: what they took, not what they waited.

    A run or dataset has its stages; all tables, figures and the check are one.
    """
    kinds = {kind} if kind in ("run", "dataset") else {"table", "experiment"}
    jobs = [
        plan.job(stage, name)
        for stage in STAGES
        if STAGES[stage].kind in kinds
        for name in plan.ids(stage)
        if name == id or "table" in kinds
    ]
    notes = [note for job in jobs if (note := usage.read(job))]
    if not notes:
        return None, None
    began = min(note["began"] for note in notes)
    return began, began + sum(note["ended"] - note["began"] for note in notes)


def _load(took: dict | None) -> dict[str, float]:
    """Where MLflow shows the machine's load: that of the whole job, once, as it ended."""
    if took is None:
        return {}
    seconds = max(took["ended"] - took["began"], 1e-3)
    found = {k: v for k, v in took.items() if k.endswith(("cpu_seconds", "megabytes"))}
    found |= {"seconds": seconds}
    found["cpu_utilization_percentage"] = 100 * took["cpu_seconds"] / seconds
    return {f"system/{name}": value for name, value in found.items()}


def _data(data: Job | None, split: str) -> Data | None:
    if data is None:
        return None
    try:
        counts = read_json(data.folder / "classes.json")["counts"]
    except (OSError, ValueError, KeyError):
        counts = {}
    source = json.loads(json.dumps(data.wanted["settings"]["source"]))
    return Data(data.id, data.digest[:12], source, counts, split)
