"""`reclip verify`: the results of a second clone beside those that the first one recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reclip.pipeline.job import Job
from reclip.versioning.verify import BYTES, Found, Metric, Verdict, report
from support.stand_ins import SMALL, Project, make_project

UP_TO_DATE = "Data and pipelines are up to date."
WEIGHTS = "results/tiny/runs/ref-pe/rectify/seed-0/ref-pe.bin"
OTHER = "other-processor"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, tiny_params) -> Project:
    """Results that are recorded and committed; no remote has them."""
    made = make_project(tmp_path_factory.mktemp("first") / "project", tiny_params(SMALL))
    project = replace(made, forked=True)
    project.make_all()
    project.run("reclip", "record")
    project.commit()
    return project


@pytest.fixture(scope="module")
def second(recorded, tmp_path_factory) -> Project:
    """A clone after a plain `snakemake`."""
    clone = recorded.clone(tmp_path_factory.mktemp("second") / "clone")
    clone.run("snakemake")
    assert len(clone.ran()) == 14
    return clone


@pytest.fixture
def clone(second, tmp_path) -> Project:
    return second.copy(tmp_path / "clone")


def verified(project: Project) -> str:
    """Return what `reclip verify` says of results that differ; it changes no file."""
    lock, made = project.folder / "dvc.lock", project.bytes()
    before = lock.read_bytes()
    said = project.run("bash", "-c", "reclip verify; echo status $?")
    assert said.endswith("status 1\n") and "Traceback" not in said
    assert (lock.read_bytes(), project.bytes()) == (before, made)
    return said


def refused(project: Project) -> str:
    (line,) = project.run("reclip", "verify", check=False).splitlines()
    assert line.startswith("error: ")
    return line


def test_the_same_bytes_in_a_second_clone_are_up_to_date(clone):
    made = clone.bytes()
    assert clone.run("reclip", "verify", "--no-copy").startswith("All 14 results are the same")
    assert not list(clone.folder.glob(".dvc/cache/files/md5/*/*"))
    assert clone.run("reclip", "verify") == ("All 14 results are the same bytes as recorded.\n")
    assert UP_TO_DATE in clone.run("dvc", "status")
    clone.run("dvc", "repro")
    assert clone.ran() == set()
    assert clone.bytes() == made
    assert clone.run("git", "status", "--short") == ""
    assert clone.planned() == set()


def test_other_bytes_are_named_with_their_origin_and_the_metrics(recorded, tmp_path):
    clone = recorded.clone(tmp_path / "clone")
    (clone.folder / "requirements.lock").write_text("torch==0.1 \\\n    --hash=sha256:0\n")
    clone.commit("pins")
    (clone.folder / OTHER).touch()
    clone.run("snakemake")
    said = verified(clone)
    first, cause, *_ = said.splitlines()
    assert first == "12 of 14 results differ from the record: 12 with other bytes."
    assert cause.startswith("Other bytes begin in cache-features (voc), with the recorded ")
    assert "another processor or another version of PyTorch" in cause
    assert "The environment is not that of requirements.lock: torch " in said
    assert " instead of 0.1.\n" in said
    assert "\nprepare: 1 of 1 the same\n" in said
    assert "\n  ref-pe seed 1: with other bytes: results/tiny/runs/ref-pe/rectify/seed-1\n" in said
    assert "results/tiny/runs/query/gather, results/tiny/runs/query/metrics.json\n" in said
    was, now = recorded.miou("ref-pe"), clone.miou("ref-pe")
    assert f"ref-pe   {was:8.2f}  {now:6.2f}      +0.250  (sd over 2 seeds: 0.50)\n" in said
    assert "The mIoU of 2 runs differs from the record by up to 0.250 points" in said
    assert "No difference of a run with several seeds (1) exceeds the recorded sd." in said
    # DVC names the same outputs, and keeps them apart from its record.
    status = clone.run("dvc", "status")
    assert "prepare@voc" not in status and "cache-features@voc" in status
    assert "no record of 12 fresh results" in clone.run("dvc", "repro", check=False)
    # The record of this machine hides nothing.
    clone.run("reclip", "record")
    assert UP_TO_DATE in clone.run("dvc", "status")
    said = verified(clone)
    assert said.startswith(first)
    assert "dvc.lock here is not the committed one, which was compared" in said


def test_one_byte_that_changed_after_being_made(clone):
    path = clone.folder / WEIGHTS
    path.write_bytes(path.read_bytes().swapcase())
    said = verified(clone)
    assert said.startswith("1 of 14 results differ from the record: 1 changed after being made.\n")
    assert "\n  ref-pe seed 0: changed after being made: ref-pe.bin\n" in said
    assert "again with --force" in said and "begin" not in said


def test_other_settings_are_no_other_bytes(recorded, clone):
    clone.set("rectify.lr", 0.02)
    said = verified(clone)
    assert said.startswith("8 of 14 results differ from the record: 8 stale.\n")
    assert "\n  ref-pe seed 0: stale: rectify.lr 0.01 → 0.02\n" in said
    clone.run("snakemake")
    said = verified(clone)
    assert said.startswith("8 of 14 results differ from the record: 8 recorded with other settings")
    assert "Since the record, the settings (rectify.lr absent → 0.02) changed: " in said
    assert "undo that, or run `reclip record` and commit dvc.lock" in said


def test_a_fresh_clone_has_everything_to_make(recorded, tmp_path):
    said = verified(recorded.clone(tmp_path / "clone"))
    assert said.startswith("14 of 14 results differ from the record: 14 not made yet.\n")
    assert "Make what is stale or not made yet with `snakemake`." in said


def test_nothing_is_recorded(clone):
    clone.run("git", "rm", "--quiet", "--cached", "dvc.lock")
    clone.run("git", "commit", "--quiet", "-m", "no record")
    assert "git's last commit has no dvc.lock" in refused(clone)
    clone.run("git", "checkout", "--quiet", "--orphan", "new")
    assert "git has no commit here" in refused(clone)
    clone.set("seeds.rectify", [0, 1, 2])
    assert "write it with `reclip dvc` first" in refused(clone)


def test_a_damaged_and_a_partial_record(clone):
    lock = clone.folder / "dvc.lock"
    text = lock.read_text(encoding="utf-8")
    lock.write_text(text.partition("  summarise:")[0], encoding="utf-8")
    clone.commit("partial")
    said = verified(clone)
    assert said.startswith("1 of 14 results differ from the record: 1 not in the record.\n")
    assert "Add what is not in the record with `reclip record`" in said
    lock.write_text("stages", encoding="utf-8")
    clone.commit("damaged")
    assert "dvc.lock of git's last commit is damaged" in refused(clone)


def test_differences_beyond_the_spread_are_named():
    plot = Job("plot", "tiny", Path("figures"), Path("plan"), {})
    metrics = [Metric("a", 50.0, 50.1, 0.5, 3), Metric("b", 40.0, 39.0, 0.5, 3)]
    metrics.append(Metric("one-seed", 40.0, 40.2, None, 1))
    verdict = Verdict({plot: Found(BYTES, "bias.png", ("bias.png",))}, metrics)
    lines = list(report(verdict, short=True))
    assert "another version of Matplotlib draws otherwise" in lines[1]
    assert lines[2:] == [
        "The mIoU of 3 runs differs from the record by up to 1.000 points (b).",
        "More than the recorded sd over seeds: b.",
    ]
    assert list(report(verdict))[2:5] == [
        "",
        "plot: 0 of 1 the same",
        "  tiny: with other bytes: bias.png",
    ]
