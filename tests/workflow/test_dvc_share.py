"""`reclip record` and `reclip restore`: results to DVC's remote and back, and their errors."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from support.project_copy import ROOT
from support.stand_ins import SMALL, Project, make_recorded

TRAINED = {"rectify ref-pe seed 0", "rectify ref-pe seed 1"}
LR = TRAINED | {
    "evaluate ref-pe seed 0", "evaluate ref-pe seed 1", "gather ref-pe", "tabulate table4",
    "plot tiny", "summarise tiny",
}  # fmt: skip
WEIGHTS = "results/tiny/runs/ref-pe/rectify/seed-0"
RECTIFY = ("reclip", "rectify", "--run", "ref-pe", "--seed", "0")
UP_TO_DATE = "Data and pipelines are up to date."


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, tiny_params) -> Project:
    """Results that are recorded, committed and in the remote; from there on commands are forks."""
    folder = tmp_path_factory.mktemp("recorded")
    made = make_recorded(folder / "project", tiny_params(SMALL), folder / "remote")
    return replace(made, forked=True)


@pytest.fixture
def project(recorded, tmp_path) -> Project:
    """A copy of it, cache and all."""
    return recorded.copy(tmp_path / "project")


@pytest.fixture
def clone(recorded, tmp_path) -> Project:
    return recorded.clone(tmp_path / "clone")


def sentence(said: str) -> str:
    """Return the one error line of a failed command."""
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return line


def refused(project: Project, *command: str) -> str:
    return sentence(project.run("reclip", *command, check=False))


def nothing_to_do(project: Project) -> bool:
    """Return whether both tools have nothing to do."""
    status = project.run("dvc", "status")
    return project.planned() == set() and UP_TO_DATE in status


def test_recorded_results_are_nothing_to_do_for_either_tool(project):
    # What a killed job leaves:
    for name in (".weights.checkpoint", ".metrics.1.partial.json"):
        (project.folder / WEIGHTS / name).touch()
    assert nothing_to_do(project)
    project.run("dvc", "repro")
    assert project.ran() == set()
    assert project.run("git", "status", "--short") == ""


def test_a_clone_gets_every_byte_back_and_one_rate_reruns_its_dependents(recorded, clone, tmp_path):
    assert "not made yet" in clone.run("reclip", "status")
    assert "Every result is complete" in clone.run("reclip", "restore")
    assert clone.bytes() == recorded.bytes()
    assert nothing_to_do(clone)
    assert clone.run("git", "status", "--short") == ""
    before = clone.miou("ref-pe"), clone.miou("query")
    other = clone.copy(tmp_path / "other")
    for one, command in ((clone, ["dvc", "repro"]), (other, ["snakemake"])):
        one.set("rectify.lr", 0.02)
        one.run(*command)
        assert one.ran() == LR
    assert clone.miou("ref-pe") == other.miou("ref-pe") != before[0]
    assert clone.miou("query") == other.miou("query") == before[1]
    assert clone.bytes() == other.bytes()
    assert nothing_to_do(clone)
    # And back, from what was restored.
    clone.set("rectify.lr", None)
    (clone.folder / "no-computing").touch()
    clone.run("dvc", "repro")
    assert clone.bytes() == recorded.bytes()


def test_a_reverted_setting_comes_back_without_computing(project):
    """Results of two settings are recorded; `dvc repro` or an earlier commit restores them."""
    first = project.bytes()
    project.set("rectify.lr", 0.02)
    project.make_all()
    project.run("reclip", "record")
    second = project.bytes()
    project.commit("second")
    (project.folder / "no-computing").touch()
    project.set("rectify.lr", None)
    project.run("dvc", "repro")
    assert project.bytes() == first
    assert nothing_to_do(project)
    project.run("git", "checkout", "--quiet", ".")
    project.run("reclip", "restore")
    assert project.bytes() == second
    assert project.planned() == set()


def test_record_refuses_what_is_stale_and_says_what(project):
    project.set("rectify.lr", 0.02)
    said = refused(project, "record")
    assert "8 of 14 results are stale (rectify ref-pe seed 0: rectify.lr 0.01 → 0.02; " in said
    assert "run `snakemake` first" in said


def test_record_refuses_a_file_that_changed_after_being_made(project):
    path = project.folder / WEIGHTS / "ref-pe.bin"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().swapcase())
    assert "rectify/seed-0/ref-pe.bin changed after" in sentence(
        project.run("reclip", "record", check=False)
    )
    project.run("reclip", "restore")
    assert nothing_to_do(project)


def test_dvc_never_deletes_unrecorded_results(project):
    """`dvc repro` stops before it deletes any."""
    project.set("rectify.lr", 0.02)
    project.run(*RECTIFY)
    made, _ = project.bytes(), project.ran()
    said = project.run("dvc", "repro", check=False)
    assert "no record of 1 fresh results and would delete them (rectify ref-pe seed 0)" in said
    assert "run `reclip record --partial` first" in said
    assert project.bytes() == made
    assert "Recorded 7 of 14" in project.run("reclip", "record", "--partial")
    status = project.run("dvc", "status")
    assert "rectify@ref-pe.seed-0" not in status
    assert {"rectify@ref-pe.seed-1", "evaluate@ref-pe.seed-0"} <= set(re.split("[:\\s]+", status))
    project.run("dvc", "repro")
    assert project.ran() == LR - {"rectify ref-pe seed 0"}


def test_restore_keeps_unrecorded_results(project):
    project.set("rectify.lr", 0.02)
    project.run(*RECTIFY)
    project.set("rectify.lr", None)
    made = project.bytes()
    said = project.run("reclip", "restore", check=False)
    assert "rectify ref-pe seed 0: rectify.lr 0.02 → 0.01" in said
    assert "DVC has no record of some files here" in sentence(said)
    assert project.bytes() == made


def test_results_made_after_a_broken_repro_are_not_deleted_either(project):
    """The settings equal those of dvc.lock: only the marker file tells DVC to look."""
    project.set("rectify.lr", 0.02)
    (project.folder / "no-computing").touch()
    project.run("dvc", "repro", check=False)
    (project.folder / "no-computing").unlink()
    project.make_all()
    made = project.bytes()
    said = project.run("dvc", "repro", check=False)
    assert "no record of 8 fresh results" in said and "run `reclip record` first" in said
    assert project.bytes() == made


def test_missing_setups(project):
    project.set("tables.table4.title", "Another")
    project.run("reclip", "prepare", "--dataset", "voc")
    yaml = project.folder / "dvc.yaml"
    yaml.write_text(yaml.read_text().replace("reclip tabulate", "echo"))
    assert "write it with `reclip dvc`" in refused(project, "record")
    project.run("git", "checkout", "--quiet", "dvc.yaml")
    (project.folder / "dvc.lock").unlink()
    assert "nothing was recorded" in refused(project, "restore")
    shutil.rmtree(project.folder / ".dvc")
    assert "run `dvc init`" in refused(project, "record")
    assert "run `dvc init`" in refused(project, "restore")
    shutil.rmtree(project.folder / ".git")
    assert "no git repository" in refused(project, "record")


def test_missing_remotes(clone):
    clone.use_remote("webdav://127.0.0.1:9/x")
    assert "does not answer" in refused(clone, "restore")
    shutil.copy(ROOT / ".dvc/config", clone.folder / ".dvc/config")
    said = clone.run("reclip", "restore", check=False)
    assert "prepare voc: not made yet" in said
    assert "14 of 14 results are not complete" in sentence(said)
    assert "no DVC remote is set" in sentence(said)


def test_results_that_nobody_pushed(clone, tmp_path):
    clone.use_remote(str(tmp_path / "empty"))
    assert "run `dvc push` on the machine that made them" in refused(clone, "restore")


def test_a_missing_and_a_damaged_file_are_reported(recorded, clone, tmp_path):
    copy = tmp_path / "remote"
    shutil.copytree(recorded.folder.parent / "remote", copy)
    clone.use_remote(str(copy))
    stored = {path.read_bytes(): path for path in copy.glob("files/md5/*/*")}
    lost, spoilt = (
        f"results/tiny/runs/{name}"
        for name in ("ref-pe/rectify/seed-0/ref-pe.bin", "query/evaluate/query/query.bin")
    )
    stored[(recorded.folder / lost).read_bytes()].unlink()
    damaged = stored[(recorded.folder / spoilt).read_bytes()]
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes().swapcase())
    said = clone.run("reclip", "restore", check=False)
    assert "rectify ref-pe seed 0: " in said
    assert "2 of 14 results are not complete" in sentence(said)
    (line,) = [line for line in said.splitlines() if line.startswith("evaluate query")]
    assert "damaged: query.bin; DVC's copy is damaged: delete .dvc/cache/files/md5/" in line


def test_a_lost_file_that_git_tracks_comes_from_git(project):
    (project.folder / "results/tiny/runs/query/metrics.json").unlink()
    said = project.run("reclip", "restore", check=False)
    assert "git has it: git checkout -- results/tiny/runs/query/metrics.json" in said


def test_a_password_in_the_tracked_config_is_refused(project, tmp_path):
    project.use_remote("webdav://me:hush@host/x")
    said = refused(project, "record")
    assert ".dvc/config.local" in said and "hush" not in said
