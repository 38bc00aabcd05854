"""Plan files: their times tell Snakemake which jobs are stale, their content tells DVC."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.pipeline.plan import Plan
from reclip.pipeline.staleness import settle, write_plan_files
from support.fake_results import make, make_one


def looks_stale(plan: Plan) -> set[str]:
    """Return the jobs with a plan file newer than an output, or without outputs."""
    found = set()
    for job in plan.jobs:
        made = [path.stat().st_mtime_ns for path in job.declared if path.exists()]
        if not made or job.plan_file.stat().st_mtime_ns > min(made):
            found.add(job.name)
    return found


def test_plan_files_of_stale_jobs_are_newer_than_their_outputs(project, tiny_plan) -> None:
    make(tiny_plan())
    assert settle(tiny_plan()) == set()
    far = 4_000_000_000  # in 2096
    for i, path in enumerate(sorted(Path("results").rglob("*"))):
        os.utime(path, (far + i * 7919 % 1000,) * 2)
    assert settle(tiny_plan()) == set()
    changed = tiny_plan({"rectify": {"lr": 0.02}})
    stale = {job.name for job in settle(changed)}
    assert len(stale) == 18 and stale <= looks_stale(changed)
    # Snakemake refuses an output that is older than an input.
    made_now = time.time() + 5
    for job in (job for job in changed.jobs if job.name in stale):
        for path in (job.plan_file, *(other.receipt for other in job.inputs.values())):
            assert path.stat().st_mtime < made_now
    assert settle(tiny_plan()) == set()


def test_results_keep_their_times(project, tiny_plan) -> None:
    make(tiny_plan())
    plan = tiny_plan({"rectify": {"lr": 0.02}})
    paths = [path for job in plan.jobs for path in job.declared]
    before = [path.stat().st_mtime_ns for path in paths]
    settle(plan)
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_plan_files_of_jobs_that_are_no_more_are_removed(project, tiny_plan) -> None:
    write_plan_files(tiny_plan())
    gone = tiny_plan().job("probe", "probe", 0).plan_file
    note = tiny_plan().jobs[0].unrecorded_marker
    note.touch()
    assert gone.is_file()
    write_plan_files(tiny_plan({"runs": {"probe": None}}))
    assert not gone.exists()
    assert note.exists()


def test_plan_files_of_seeds_that_are_no_more_are_removed(project, tiny_plan) -> None:
    write_plan_files(tiny_plan({"seeds": {"rectify": [0, 3]}}))
    gone = tiny_plan({"seeds": {"rectify": [0, 3]}}).job("rectify", "ref-pe", 3).plan_file
    mine = gone.with_name("notes.json")
    mine.write_text('{"digest": "of a person", "stage": "rectify", "id": "ref-pe", "seed": 3}')
    assert gone.is_file()
    write_plan_files(tiny_plan())
    assert not gone.exists() and mine.is_file()
    assert tiny_plan().job("rectify", "ref-pe", 1).plan_file.is_file()


def test_dvc_is_told_of_results_made_without_it(project, tiny_plan, monkeypatch) -> None:
    job = tiny_plan().jobs[0]
    monkeypatch.setenv("DVC_STAGE", "prepare@voc")
    make_one(job)
    assert not job.unrecorded_marker.exists()
    monkeypatch.delenv("DVC_STAGE")
    make_one(job)
    assert job.unrecorded_marker.exists()


def test_anothers_files_are_said_in_a_sentence(project, tiny_plan, monkeypatch) -> None:
    make(tiny_plan())
    changed = tiny_plan({"rectify": {"lr": 0.02}})
    os.utime(changed.job("rectify", "ref-pe", 0).receipt, (4_000_000_000,) * 2)

    def refuse(path: Path, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(ReclipError, match="Cannot use .*: Operation not permitted"):
        settle(changed)
