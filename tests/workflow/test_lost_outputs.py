"""A result that is lost is made again alone; what was made from it still is what it was."""

from __future__ import annotations

import base64
import os
import shutil

import pytest

from support.stand_ins import Project, make_project

RECTIFY = "results/tiny/runs/ref-pe/rectify/seed-1"
TEACHER = "results/tiny/runs/ref-pe/rectify/seed-0"
STUDENT = "results/tiny/runs/distill/distill/seed-0/receipt.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_params) -> Project:
    """A project in which all is fresh."""
    project = make_project(tmp_path_factory.mktemp("whole"), tiny_params())
    project.make_all()
    return project


@pytest.fixture
def project(whole, tmp_path) -> Project:
    return whole.copy(tmp_path / "copy")


def stale(project: Project) -> set[str]:
    """What `reclip status` calls stale, as Snakemake's dry run names jobs."""
    lines = (line.split(": ")[0].split() for line in project.run("reclip", "status").splitlines())
    found = {(line[1].replace("-", "_"), *line[2:]) for line in lines if line[0] == "stale"}
    keys = {(stage, "/seed-".join([id, *seed[1:]])) for stage, id, *seed in found}
    whole = ("plot", "summarise")
    return {stage if stage in whole else f"{stage}:{key}" for stage, key in keys}


@pytest.mark.parametrize(
    "lost",
    [f"{RECTIFY}/ref-pe.bin", f"{RECTIFY}/receipt.json", RECTIFY, "results/tiny/data/voc"],
)
def test_a_lost_output_is_planned_alone(project, lost):
    path = project.folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    job = "prepare:voc" if "data" in lost else "rectify:ref-pe/seed-1"
    assert stale(project) == {job}
    assert project.planned() == {job, "all"}, "Snakefile: `rule all` must name STALE_BY_DEFAULT"


def test_it_is_made_again_alone_and_then_there_is_nothing_to_do(project):
    before = project.bytes()
    shutil.rmtree(project.folder / RECTIFY)
    (project.folder / "results/tiny/runs/ref-pe/metrics.json").unlink()
    project.run("snakemake")
    assert project.ran() == {"rectify ref-pe seed 1", "gather ref-pe"}
    assert project.bytes() == before
    assert project.planned() == set()
    assert stale(project) == set()


def test_a_lost_output_and_a_changed_setting_together(project):
    shutil.rmtree(project.folder / TEACHER)
    project.set("runs.distill.distill", {"alpha": 0})
    downstream = {f"{stage}/seed-0" for stage in (
        "distill:distill", "probe:probe", "evaluate:distill", "evaluate:probe")}  # fmt: skip
    downstream |= {"gather:distill", "gather:probe", "package:distill", "plot"}
    assert stale(project) == {"rectify:ref-pe/seed-0", *downstream}
    assert project.planned() == {"rectify:ref-pe/seed-0", *downstream, "all"}
    project.run("snakemake", STUDENT)
    # In this order, or it refuses:
    assert project.ran() == {"rectify ref-pe seed 0", "distill distill seed 0"}


def test_a_target_that_is_whole_needs_nothing_of_what_it_was_made_from(project):
    shutil.rmtree(project.folder / RECTIFY)
    assert project.planned("table4") == set()


def test_what_snakemake_saw_interrupted_and_another_finished_is_left_alone(project):
    """Snakemake marks outputs as incomplete while it makes them; a kill leaves the marks."""
    marks = project.folder / ".snakemake/incomplete"
    marks.mkdir(parents=True, exist_ok=True)
    for path in (f"{RECTIFY}/receipt.json", STUDENT):
        (marks / base64.urlsafe_b64encode(path.encode()).decode()).write_text("{}")
    shutil.rmtree(project.folder / RECTIFY)
    project.run("reclip", "rectify", "--run", "ref-pe", "--seed", "1")
    assert project.planned() == set()
    project.ran()
    project.run("snakemake")
    assert project.ran() == set()


def test_outputs_of_a_clock_that_is_ahead_are_as_stale_as_others(project):
    for path in project.folder.glob("results/tiny/runs/**/receipt.json"):
        os.utime(path, (4_000_000_000, 4_000_000_000))
    project.set("rectify.lr", 0.02)
    planned = project.planned()
    assert "rectify:ref-pe/seed-1" in planned
    assert planned - {"all"} == stale(project)
