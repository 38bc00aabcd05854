"""Compare the results here with those that git's committed dvc.lock names.

Bytes are compared only where the settings, code and inputs are the recorded ones. A result of
other settings is another result, and is reported as such.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reclip.common.errors import ReclipError
from reclip.common.files import canonical_json, read_json
from reclip.common.git import committed, git
from reclip.common.text import listed
from reclip.pipeline.job import Job, config_option
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import corrupted_outputs, differences, read_receipt, why_stale
from reclip.pipeline.stages import STAGES
from reclip.versioning import dvc
from reclip.versioning.dvc_yaml import jobs_of_pipeline, named

LOCK = Path("dvc.lock")
PINS = Path("requirements.lock")
COMPUTING = (
    "torch", "torchvision", "numpy", "scipy", "pillow", "timm", "open-clip-torch", "matplotlib",
)  # fmt: skip
"""Packages whose version may change the bytes of a result."""

SAME = "the same bytes"
BYTES = "with other bytes"
DAMAGED = "changed after being made"
STALE = "stale"
MISSING = "not made yet"
SETTINGS = "recorded with other settings or code"
UNRECORDED = "not in the record"
KINDS = (BYTES, DAMAGED, STALE, MISSING, SETTINGS, UNRECORDED)
"""How a result may differ from the record."""

REASONS = {
    "prepare": "another version of NumPy or Pillow draws or reads otherwise",
    "plot": "another version of Matplotlib draws otherwise",
}
"""Why a stage may write other bytes from the same inputs; of the other stages, `ROUNDING` is."""
ROUNDING = "another processor or another version of PyTorch rounds otherwise"


@dataclass(frozen=True)
class Found:
    """How a job's result compares with the record.

    Attributes:
        kind: SAME or one of KINDS.
        detail: what differs, or why, in words.
        paths: the outputs with other bytes.
    """

    kind: str
    detail: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """The recorded mIoU of a run and the one here; `sd` and `seeds` are the recorded ones."""

    run: str
    recorded: float
    here: float
    sd: float | None
    seeds: int

    @property
    def difference(self) -> float:
        return self.here - self.recorded


@dataclass(frozen=True)
class Verdict:
    """The comparison of all results with the record.

    Attributes:
        found: how each job's result compares, in the order of the pipeline.
        metrics: of the runs whose metrics have other bytes.
        notes: further sentences, for example on settings that differ.
    """

    found: dict[Job, Found]
    metrics: list[Metric] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return all(one.kind == SAME for one in self.found.values())

    def of(self, kind: str) -> list[Job]:
        """Return the jobs whose result is of a kind."""
        return [job for job, one in self.found.items() if one.kind == kind]

    @property
    def first(self) -> list[Job]:
        """Return the jobs with other bytes although all their inputs have the recorded ones."""
        return [
            job
            for job in self.of(BYTES)
            if all(self.found[i].kind == SAME for i in job.inputs.values() if i in self.found)
        ]


def verify(plan: Plan, *, copy: bool = True) -> Verdict:
    """Compare every result with the record in git's last commit.

    copy: copy those with the recorded bytes into DVC's cache. DVC then takes them for recorded.
        Nothing else changes.
    Raises ReclipError: no git or DVC, dvc.yaml does not match the settings, or nothing recorded.
    """
    dvc.require_project()
    jobs = named(jobs_of_pipeline(plan))
    recorded = recorded_stages()
    found = {job: _apart_from_bytes(name, job, recorded) for name, job in jobs.items()}
    outputs = {
        job: {out["path"]: out["md5"] for out in recorded[name]["outs"]}
        for name, job in jobs.items()
        if found[job].kind == SAME
    }
    known = {path: md5 for own in outputs.values() for path, md5 in own.items()}
    equal = dvc.outputs_as_recorded(known, copy=copy) if known else {}
    for job, own in outputs.items():
        if paths := tuple(path for path in own if not equal[path]):
            found[job] = _with_other_bytes(job, paths)
    metrics = (_metric(job, known[path]) for job, path in _metrics_files(found))
    verdict = Verdict(found, [one for one in metrics if one])
    verdict.notes.extend(_notes(plan, verdict, recorded))
    if copy and verdict.same and _is_committed():
        plan.jobs[0].unrecorded_marker.unlink(missing_ok=True)
    return verdict


def recorded_stages() -> dict[str, Any]:
    """Return the stages of git's committed dvc.lock, by name.

    Raises ReclipError: there is no commit, or its dvc.lock is missing or damaged.
    """
    text = committed(LOCK)
    if text is None and git("rev-parse", "--verify", "HEAD").returncode:
        raise ReclipError(
            f"git has no commit here, so no results are recorded: run `reclip record`, then "
            f"commit {LOCK}"
        )
    if text is None:
        raise ReclipError(
            f"git's last commit has no {LOCK}, so no results are recorded: run `reclip record`, "
            f"then commit {LOCK}"
        )
    try:
        return yaml.safe_load(text)["stages"]
    except (TypeError, KeyError, yaml.YAMLError) as error:
        raise ReclipError(
            f"{LOCK} of git's last commit is damaged: run `reclip record`, then commit {LOCK}"
        ) from error


def _apart_from_bytes(name: str, job: Job, recorded: dict[str, Any]) -> Found:
    """Return how a result compares with the record as far as receipts say; else SAME."""
    if reason := why_stale(job):
        missing = read_receipt(job.receipt) is None
        return Found(MISSING) if missing else Found(STALE, reason)
    if name not in recorded:
        return Found(UNRECORDED)
    sums = {dep["path"]: dep.get("md5") for dep in recorded[name].get("deps", ())}
    same = sums.get(job.plan_file.as_posix()) == _md5(canonical_json(job.wanted))
    return Found(SAME if same else SETTINGS)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _with_other_bytes(job: Job, paths: tuple[str, ...]) -> Found:
    """Return whether outputs were made with other bytes, or changed since."""
    if changed := corrupted_outputs(job.receipt):
        return Found(DAMAGED, listed(changed), paths)
    return Found(BYTES, listed(list(paths)), paths)


def _metrics_files(found: dict[Job, Found]) -> Iterator[tuple[Job, str]]:
    """Yield the metrics files with other bytes, and their jobs."""
    for job, one in found.items():
        if job.stage == "gather" and (path := job.outputs[0].as_posix()) in one.paths:
            yield job, path


def _metric(job: Job, md5: str) -> Metric | None:
    """Return the mIoU of a run, recorded and here; None if git has not the recorded file."""
    path = job.outputs[0]
    text = committed(path)
    if text is None or _md5(text) != md5:
        return None
    recorded, here = json.loads(text)["miou"], read_json(path)["miou"]
    return Metric(job.id, recorded["mean"], here["mean"], recorded.get("sd"), recorded.get("n", 1))


def _notes(plan: Plan, verdict: Verdict, recorded: dict[str, Any]) -> Iterator[str]:
    """Yield what to do about results that differ, a sentence for each way in which they do."""
    option = config_option(plan.file)
    if verdict.of(BYTES) and (versions := _other_versions()):
        yield f"The environment is not that of {PINS}: {listed(versions, most=9)}."
    if verdict.of(DAMAGED):
        yield (
            "Files of some results changed after being made: run their stages again with --force, "
            "or `reclip restore`."
        )
    if verdict.of(STALE) or verdict.of(MISSING):
        yield f"Make what is stale or not made yet with `snakemake{option}`."
    if verdict.of(SETTINGS):
        changed = _changed_settings(plan, recorded)
        what = f"the settings ({listed(changed, '; ')})" if changed else "the code"
        yield (
            f"Since the record, {what} changed: undo that, or run `reclip record` and commit "
            f"{LOCK}."
        )
    if verdict.of(UNRECORDED):
        yield f"Add what is not in the record with `reclip record`, and commit {LOCK}."
    if not _is_committed():
        yield (
            f"{LOCK} here is not the committed one, which was compared: commit it, or undo it with "
            f"`git checkout {LOCK}`."
        )


def _is_committed() -> bool:
    """Return whether dvc.lock is the one of git's last commit."""
    return LOCK.is_file() and LOCK.read_text(encoding="utf-8") == committed(LOCK)


def _changed_settings(plan: Plan, recorded: dict[str, Any]) -> list[str]:
    """Return the values of the settings file that differ from the recorded ones."""
    for file, settings in recorded.get("plan", {}).get("params", {}).items():
        if Path(file).resolve() == Path(plan.file).resolve():
            return differences(settings, yaml.safe_load(Path(file).read_text(encoding="utf-8")))
    return []


def _other_versions() -> list[str]:
    """Return the computing packages of another version than the committed pins have."""
    pins: dict[str, list[str]] = {}  # one name has several, for several versions of Python
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", committed(PINS) or "", re.M):
        pins.setdefault(name, []).append(version)
    found = []
    for name in COMPUTING:
        try:
            version = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
        if version not in pins.get(name, [version]):
            found.append(f"{name} {version} instead of {' or '.join(pins[name])}")
    return found


def report(verdict: Verdict, *, short: bool = False) -> Iterator[str]:
    """Yield the lines of the report: a summary, the cause, every stage, the metrics.

    short: leave out the lists of results and runs.
    """
    yield _summary(verdict)
    yield from _causes(verdict.first)
    yield from verdict.notes
    if verdict.same:
        return
    if not short:
        yield from _stage_lines(verdict)
        yield from _metric_lines(verdict.metrics)
    yield from _differences(verdict.metrics)


def _summary(verdict: Verdict) -> str:
    total = len(verdict.found)
    counts = Counter(one.kind for one in verdict.found.values())
    if verdict.same:
        return f"All {total} results are the same bytes as recorded."
    said = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
    differ = total - counts[SAME]
    return f"{differ} of {total} results differ from the record: {said}."


def _causes(first: list[Job]) -> Iterator[str]:
    """Yield in which stages the other bytes begin, and why they may."""
    for stage in dict.fromkeys(job.stage for job in first):
        names = listed([_name(job) for job in first if job.stage == stage])
        yield (
            f"Other bytes begin in {stage} ({names}), with the recorded settings, code and inputs. "
            f"The likely reason: {REASONS.get(stage, ROUNDING)}."
        )


def _stage_lines(verdict: Verdict) -> Iterator[str]:
    """Yield for each stage how many results are the same, and a line for each other one."""
    yield ""
    for stage in STAGES:
        own = {job: one for job, one in verdict.found.items() if job.stage == stage}
        if own:
            same = sum(one.kind == SAME for one in own.values())
            yield f"{stage}: {same} of {len(own)} the same"
        for job, one in own.items():
            if one.kind != SAME:
                yield f"  {_name(job)}: {one.kind}" + (f": {one.detail}" if one.detail else "")


def _name(job: Job) -> str:
    """Return a job's name within its stage."""
    return job.name.removeprefix(f"{job.stage} ")


def _metric_lines(metrics: list[Metric]) -> Iterator[str]:
    """Yield a table of the runs whose metrics have other bytes."""
    if not metrics:
        return
    width = max(len("mIoU, %"), *(len(one.run) for one in metrics))
    yield ""
    yield f"{'mIoU, %':{width}}  recorded    here  difference"
    for one in metrics:
        spread = "" if one.sd is None else f"  (sd over {one.seeds} seeds: {one.sd:.2f})"
        numbers = f"{one.recorded:8.2f}  {one.here:6.2f}  {one.difference:+10.3f}"
        yield f"{one.run:{width}}  {numbers}{spread}"


def _differences(metrics: list[Metric]) -> Iterator[str]:
    """Yield the largest difference in mIoU, and whether differences are within the recorded sd."""
    if not metrics:
        return
    largest = max(metrics, key=lambda one: abs(one.difference))
    yield (
        f"The mIoU of {len(metrics)} run{'s' * (len(metrics) > 1)} differs from the record by up "
        f"to {abs(largest.difference):.3f} points ({largest.run})."
    )
    sds = {one: one.sd for one in metrics if one.sd is not None}
    beyond = [one.run for one, sd in sds.items() if abs(one.difference) > sd]
    if beyond:
        yield f"More than the recorded sd over seeds: {listed(beyond)}."
    elif sds:
        yield f"No difference of a run with several seeds ({len(sds)}) exceeds the recorded sd."
