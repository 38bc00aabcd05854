"""dvc.yaml: the same jobs as the plan's, for any settings file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from reclip.common.errors import ReclipError
from reclip.common.files import write_text
from reclip.versioning.dvc_yaml import jobs_of_pipeline, named, pipeline_text
from support.stand_ins import SMALL, Project, make_project


def stages(text: str) -> dict[str, dict]:
    """Stage to its body, as DVC names them; templates are left as they are."""
    found = {}
    for name, body in yaml.safe_load(text)["stages"].items():
        for key in body.get("foreach", [None]):
            found[name if key is None else f"{name}@{key}"] = body.get("do", body)
    return found


def paths(outs: list) -> list[str]:
    return [next(iter(out)) if isinstance(out, dict) else out for out in outs]


def test_the_jobs_are_the_same_as_in_snakemake(project, tiny_plan):
    plan = tiny_plan()
    wanted = named(plan.default_jobs).keys() | {"plan"}
    assert stages(pipeline_text(plan)).keys() == wanted
    assert stages(pipeline_text(plan, check=True)).keys() == wanted | {
        "check", "package@distill", "package@ref-pe",
    }  # fmt: skip


def test_several_runs_and_a_run_named_as_its_stage(project, tiny_plan):
    """`distill` is both here: the id in a path is found by its place."""
    runs = {"other": {"dataset": "voc", "method": "distill", "teacher": "ref-pe"}}
    found = stages(pipeline_text(tiny_plan({"runs": runs, "check": None})))
    assert found["distill@distill"]["outs"] == ["results/tiny/runs/${key}/distill"]
    assert "distill@other" in found
    assert found["evaluate@distill"]["metrics"] == [
        {"results/tiny/runs/${key}/metrics.json": {"cache": True}}
    ]


def test_a_table_may_have_the_name_of_a_stage(project, tiny_params, tiny_plan):
    table = tiny_params()["tables"]["table4"]
    found = stages(pipeline_text(tiny_plan({"tables": {"embed-text": table, "plan": table}})))
    assert {"plan", "tabulate-plan", "tabulate-embed-text", "table4"} <= found.keys()
    assert found["plan"]["cmd"] == "reclip dvc --plan"


def test_nothing_that_dvc_caches_persists(project, tiny_plan):
    """DVC's run-cache leaves stages with such an output alone, and so no result would come back."""
    found = stages(pipeline_text(tiny_plan()))
    assert found.pop("plan")["outs"] == [{"results/tiny/plan": {"cache": False, "persist": True}}]
    assert "persist" not in str(found)


def test_the_commands_name_the_settings_file(project, tiny_plan):
    plan = tiny_plan()
    plan.file = str(project / "set tings" / "paper.yaml")
    found = stages(pipeline_text(plan))
    assert all(body["cmd"].endswith(" --params 'set tings/paper.yaml'") for body in found.values())
    assert found["plan"]["params"] == [{"set tings/paper.yaml": None}]
    with pytest.raises(ReclipError, match="outside the project's folder"):
        plan.file = str(project.parent / "paper.yaml")
        pipeline_text(plan)


def test_a_pipeline_of_other_runs_is_refused(project, tiny_plan):
    with pytest.raises(ReclipError, match="write it with `reclip dvc`"):
        jobs_of_pipeline(tiny_plan())
    write_text("dvc.yaml", pipeline_text(tiny_plan()))
    assert jobs_of_pipeline(tiny_plan({"seeds": {"rectify": [5, 0]}}))
    with pytest.raises(ReclipError, match="write it with `reclip dvc`"):
        jobs_of_pipeline(tiny_plan({"runs": {"probe": None}}))


@pytest.fixture(scope="module")
def other(tmp_path_factory, tiny_params) -> Project:
    """A project with a second settings file, whose pipeline is the one of dvc.yaml."""
    project = make_project(tmp_path_factory.mktemp("project"), tiny_params(SMALL))
    text = yaml.safe_dump(tiny_params({**SMALL, "experiment": "second", "rectify": {"lr": 0.5}}))
    (project.folder / "second.yaml").write_text(text, encoding="utf-8")
    ignore = project.folder / ".gitignore"
    ignore.write_text(ignore.read_text() + "/results/second/\n")
    project.run("reclip", "dvc", "--params", "second.yaml")
    return replace(project, forked=True)  # sooner, see forks.py


def test_a_second_settings_file_has_its_own_results(other):
    assert "results/second/runs/ref-pe/rectify" in other.run("dvc", "dag", "--outs")
    other.run("dvc", "repro")
    assert len(other.ran()) == 10
    assert "up to date" in other.run("dvc", "status")
    said = other.run("reclip", "record", "--params", "second.yaml")
    assert "git add dvc.lock dvc.yaml second.yaml, git commit" in said
    assert not (other.folder / "results/tiny").exists()
    # All of it is DVC's here, as git ignores the folder: tables and metrics too.
    (other.folder / "no-computing").touch()
    os.rename(other.folder / "results", other.folder / "before")
    other.run("reclip", "restore", "--params", "second.yaml")
    for path in Path(other.folder, "before").rglob("*"):
        if path.is_file() and path.name != "unrecorded":
            now = other.folder / "results" / path.relative_to(other.folder / "before")
            assert now.read_bytes() == path.read_bytes()
    assert "Nothing to be done" in other.run("snakemake", "-n", "--config", "params=second.yaml")
