"""The times that Snakemake is shown, and the files that DVC compares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.pipeline.plan import Plan
from reclip.pipeline.staleness import settle, write_plan_files
from support.fake_results import make, make_one


def told(plan: Plan) -> dict[str, bool]:
    """Job to whether Snakemake would find all its outputs newer than what it reads."""
    fresh = {}
    for job in plan.jobs:
        read = [job.plan_file, *(i.receipt for i in job.inputs.values())]
        newest = max((path.stat().st_mtime_ns for path in read if path.exists()), default=0)
        times = [
            path.stat(follow_symlinks=False).st_mtime_ns for path in job.declared if path.exists()
        ]
        fresh[job.name] = bool(times) and newest <= min(times)
    return fresh


def test_fresh_jobs_are_newer_than_what_they_read_and_stale_ones_older(project, tiny_plan) -> None:
    make(tiny_plan())
    assert settle(tiny_plan()) == set()
    assert all(told(tiny_plan()).values())
    for i, path in enumerate(sorted(Path("results").rglob("*"))):
        os.utime(path, (1_700_000_000 + i * 7919 % 1000,) * 2)
    assert settle(tiny_plan()) == set()
    assert all(told(tiny_plan()).values())
    changed = tiny_plan({"rectify": {"lr": 0.02}})
    stale = {job.name for job in settle(changed)}
    assert stale == {name for name, fresh in told(changed).items() if not fresh}
    assert len(stale) == 12
    assert settle(tiny_plan()) == set()
    assert all(told(tiny_plan()).values())


def test_links_have_times_of_their_own(project, tiny_plan) -> None:
    """DVC can be told to link results to its cache."""
    make(tiny_plan())
    for i, path in enumerate(sorted(Path("results").rglob("*receipt.json"))):
        kept = project / f"{i}.cached"
        path.rename(kept)
        path.symlink_to(kept)
    assert settle(tiny_plan()) == set()
    assert all(told(tiny_plan()).values())
    changed = tiny_plan({"rectify": {"lr": 0.02}})
    assert {job.name for job in settle(changed)} == {k for k, v in told(changed).items() if not v}


def test_two_contents_of_one_size_never_have_one_time(project, tiny_plan) -> None:
    """DVC hashes a file again only if its inode, time or size is another than it was.

    A file that is written anew gets the inode of the last but one, and numbers are often as long.
    """
    seen = []
    for lr in (0.021, 0.032, 0.043):
        plan = tiny_plan({"rectify": {"lr": lr}})
        make(plan)
        assert settle(plan) == set()
        job = plan.job("rectify", "ref-pe")
        evaluation = plan.job("evaluate", "ref-pe")
        paths = [job.plan_file, job.receipt, evaluation.receipt, *evaluation.outputs]
        seen.append([(path.stat().st_mtime, path.stat().st_size) for path in paths])
    for states in zip(*seen, strict=True):
        assert len({size for _, size in states}) == 1
        assert len({time for time, _ in states}) == 3
    before = [path.stat().st_mtime for path in paths]
    settle(tiny_plan({"rectify": {"lr": 0.043}}))
    assert [path.stat().st_mtime for path in paths] == before  # and nothing is hashed in vain


def test_plan_files_of_jobs_that_are_no_more_are_removed(project, tiny_plan) -> None:
    write_plan_files(tiny_plan())
    gone = tiny_plan().job("probe", "probe").plan_file
    note = tiny_plan().jobs[0].unrecorded_marker
    note.touch()
    assert gone.is_file()
    write_plan_files(tiny_plan({"runs": {"probe": None}}))
    assert not gone.exists()
    assert note.exists()


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

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(ReclipError, match="belongs to someone else"):
        settle(tiny_plan())
