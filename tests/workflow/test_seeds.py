"""A seed that is added runs alone; one that is taken away leaves the others as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.project_copy import make_checkout
from support.stand_ins import Project, make_project

METHODS = ("rectify", "distill", "probe")
COSTS = "tiny/.costs.json"
ASKED = ("all", "tiny_check")
SEED_3 = {
    f"{job}/seed-3"
    for job in (
        "rectify:ref-pe", "pseudo_mask:ref-pe", "distill:distill", "probe:probe",
        "evaluate:ref-pe", "evaluate:distill", "evaluate:probe",
    )
}  # fmt: skip
SHOW_IT = {
    "gather:ref-pe", "gather:distill", "gather:probe", "tabulate:table4", "plot", "summarise",
    "package:distill",
}  # fmt: skip


def with_seeds(*seeds: int) -> dict:
    return {"seeds": {method: list(seeds) for method in METHODS}}


def give_seeds(project: Project, *seeds: int) -> None:
    for method in METHODS:
        project.set(f"seeds.{method}", list(seeds))


def names(jobs: set[str]) -> set[str]:
    """Jobs of a dry run by the names that the stages log."""
    said = (job if ":" in job else f"{job} tiny" for job in jobs - {"all", "tiny_check"})
    return {s.replace(":", " ").replace("/seed-", " seed ").replace("_", "-") for s in said}


def results(project: Project) -> dict[str, bytes]:
    """All results, without what was computed of jobs' costs and of files' times."""
    return {k: v for k, v in project.bytes().items() if k not in (".sha256.json", COSTS)}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, tiny_params) -> Project:
    """Three seeds of stand-ins, recorded."""
    folder = tmp_path_factory.mktemp("recorded")
    project = replace(
        make_project(folder / "project", tiny_params(with_seeds(0, 1, 2))), forked=True
    )
    project.make_all()
    project.run("reclip", "record")
    return project


def test_with_snakemake(recorded, tmp_path) -> None:
    """Nothing of the check runs again, which has seeds of its own."""
    project = recorded.copy(tmp_path / "project")
    project.run("snakemake", *ASKED)
    project.ran()
    first, gathers = results(project), SHOW_IT
    give_seeds(project, 0, 1, 2, 3)
    assert project.planned(*ASKED) == SEED_3 | gathers | {"all"}
    project.run("snakemake", "--cores", "2", *ASKED)
    assert project.ran() == names(SEED_3 | gathers)
    give_seeds(project, 0, 1, 2)
    assert project.planned(*ASKED) == gathers | {"all"}
    project.run("snakemake", *ASKED)
    assert project.ran() == names(gathers)
    assert first.items() <= results(project).items()
    give_seeds(project, 0, 1, 2, 3)
    assert project.planned(*ASKED) == gathers | {"all"}


def test_with_dvc(recorded, tmp_path) -> None:
    """DVC runs the seed alone, and brings back what it has made before."""
    project = recorded.copy(tmp_path / "project")
    first = results(project)
    for seeds, ran in (((0, 1, 2, 3), SEED_3 | SHOW_IT), ((0, 1, 2), set()), ((0, 1, 2, 3), set())):
        give_seeds(project, *seeds)
        project.run("reclip", "dvc")
        project.run("dvc", "repro")
        assert project.ran() == names(ran)
        project.run("reclip", "record")
        assert project.planned() == set()
        if len(seeds) == 3:
            assert first.items() <= results(project).items()


def test_of_one_run_alone(recorded, tmp_path) -> None:
    """Its student has the seeds that it had."""
    project = recorded.copy(tmp_path / "project")
    project.set("runs.ref-pe.seeds", [0, 1, 2, 3])
    seed = {"rectify:ref-pe/seed-3", "evaluate:ref-pe/seed-3"}
    assert project.planned() == seed | {
        "gather:ref-pe",
        "tabulate:table4",
        "plot",
        "summarise",
        "all",
    }


def test_the_check_runs_its_additional_seeds_alone(tmp_path_factory, tiny_params) -> None:
    """Those of the demo are neither trained nor evaluated again, and its tables stay fresh."""
    rows = [{"row": r, "cells": {"voc": {"paper": 1.0, "run": r}}} for r in ("query", "distill")]
    params = tiny_params({"check": {"seeds": [0, 1, 2]}, "tables": {"table4": {"rows": rows}}})
    folder = tmp_path_factory.mktemp("check") / "project"
    project = replace(make_project(folder, params), forked=True)
    project.make_all()
    added = {
        *(f"{job}/seed-{seed}" for job in ("distill:distill", "evaluate:distill",
                                           "pseudo_mask:ref-pe") for seed in (1, 2)),
        "rectify:ref-pe/seed-2", "evaluate:ref-pe/seed-2",
    }  # fmt: skip
    assert project.planned() == set()
    assert project.planned("tiny_check") == added | {"check", "tiny_check"}
    project.run("snakemake", "--cores", "2", "tiny_check")
    assert project.ran() == names(added | {"check"})
    assert project.planned("all", "tiny_check") == set()
    project.set("check.seeds", [0, 1])
    assert project.planned("all", "tiny_check") == {"check", "tiny_check"}
    project.set("check", None)
    assert project.planned() == set()


NUMBERS = (
    "table4", *(f"results/tiny/runs/{run}/metrics.json" for run in ("ref-pe", "distill", "probe"))
)  # fmt: skip
MAKE = """
from importlib import import_module
from reclip.pipeline.plan import Plan

for job in Plan.load().default_jobs:
    if job.stage not in ("plot", "summarise"):
        import_module(job.module).main(job)
"""


def test_for_real(tmp_path, tiny_params, monkeypatch) -> None:
    """The tables and metrics of three seeds, byte by byte, with a fourth seed in between."""
    monkeypatch.setenv("RECLIP_WARM", "1")
    make_checkout(tmp_path, tiny_params(with_seeds(0, 1, 2)))
    project = Project(tmp_path)
    project.run("python", "-c", MAKE)
    first, gathers = (
        results(project),
        SHOW_IT - {"plot", "summarise", "package:distill"} | {"table4"},
    )
    give_seeds(project, 0, 1, 2, 3)
    assert project.planned(*NUMBERS) == SEED_3 | gathers
    project.run("snakemake", "--cores", "2", *NUMBERS)
    four = results(project)
    changed = {name for name in first if first[name] != four[name]}
    assert {"tiny/tables/table4.csv", "tiny/runs/distill/metrics.json"} <= changed
    assert not [name for name in changed if "/seed-" in name]
    give_seeds(project, 0, 1, 2)
    assert project.planned(*NUMBERS) == gathers
    project.run("snakemake", "--cores", "2", *NUMBERS)
    assert first.items() <= results(project).items()
    give_seeds(project, 0, 1, 2, 3)
    assert project.planned(*NUMBERS) == gathers
