"""The README's numbers are those of the tracked results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reclip.cli.readme import BEGIN, END, with_tables
from reclip.common.errors import ReclipError
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from support.paths import ROOT


def test_the_tables_are_the_results(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(text, Plan.load()) == text, "run `reclip readme`"


def test_missing_markers_are_an_error():
    with pytest.raises(ReclipError, match="has no markers"):
        with_tables("# reclip", Plan.load(ROOT / "params.yaml"))


def test_dvc_yaml_is_generated_from_the_plan(monkeypatch):
    from reclip.versioning.dvc_yaml import pipeline_text

    monkeypatch.chdir(ROOT)
    assert (ROOT / "dvc.yaml").read_text(encoding="utf-8") == pipeline_text(Plan.load()), (
        "run `reclip dvc`"
    )


def at(folder: Path, path: Path, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")


def make_tables(project: Path, plan: Plan) -> Job:
    """The demo's table and the check's files, with little in them; return the check's job."""
    at(project, plan.job("tabulate", "table4").outputs[1], "demo's table\n")
    job = plan.job("check", "tiny")
    for path in job.outputs:
        at(project, path, f"{path.name}\n")
    at(project, job.folder / "check.json", json.dumps({"job": job.digest}))
    at(project, job.outputs[0], "Of 1 pair.\n\n| steps |\n\n### Every pair\n\n| pairs |\n")
    return job


EMPTY = f"before\n{BEGIN}\nold\n{END}\nafter\n"


def test_the_checks_tables_and_the_first_part_of_its_page(project, tiny_plan):
    plan = tiny_plan({"check": {"seeds": [0, 1, 2]}})
    make_tables(project, plan)
    said = "3 seeds: `snakemake tiny_check`.\n\ntable4.md\n\nOf 1 pair.\n\n| steps |"
    assert with_tables(EMPTY, plan) == f"before\n{BEGIN}\n\n{said}\n\n{END}\nafter\n"


@pytest.mark.parametrize("why", ["other settings", "a lost table", "not made", "no check"])
def test_without_a_fresh_check_the_demos_tables(project, tiny_plan, why):
    plan = tiny_plan()
    job = make_tables(project, plan)
    if why == "other settings":
        plan = tiny_plan({"rectify": {"lr": 0.5}})
    if why == "a lost table":
        (job.folder / "table4.md").unlink()
    if why == "not made":
        shutil.rmtree(job.folder)
    if why == "no check":
        plan = tiny_plan({"check": None})
    said = "2 seeds: `make demo`.\n\ndemo's table"
    assert with_tables(EMPTY, plan) == f"before\n{BEGIN}\n\n{said}\n\n{END}\nafter\n"


def test_a_missing_table_names_the_command_that_makes_it(project, tiny_plan):
    with pytest.raises(ReclipError, match=r"tables/table4\.md' is missing: run `snakemake`"):
        with_tables(EMPTY, tiny_plan())
