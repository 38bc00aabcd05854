"""dvc.yaml: the same jobs as the plan's, for any settings file."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reclip.common.errors import ReclipError
from reclip.common.files import write_text
from reclip.versioning.dvc_yaml import jobs_of_pipeline, named, pipeline_text
from support.stand_ins import SMALL, Project, make_project


def stages(text: str) -> dict[str, dict]:
    """Stage to its body, as DVC names them and fills its templates."""
    found = {}
    for name, body in yaml.safe_load(text)["stages"].items():
        if "foreach" not in body:
            found[name] = body
        for key, item in body.get("foreach", {}).items():
            found[f"{name}@{key}"] = filled(body["do"], item)
    return found


def filled(body: Any, item: dict) -> Any:
    """The body with `${item.out}` and `${item.needs[0]}` replaced by their values."""
    if isinstance(body, dict):
        return {filled(key, item): filled(value, item) for key, value in body.items()}
    if isinstance(body, list):
        return [filled(one, item) for one in body]
    if not isinstance(body, str):
        return body
    said = re.sub(r"\$\{item\.needs\[(\d+)\]\}", lambda found: item["needs"][int(found[1])], body)
    return re.sub(r"\$\{item\.(\w+)\}", lambda found: item[found[1]], said)


def test_the_jobs_are_the_same_as_in_snakemake(project, tiny_plan):
    plan = tiny_plan()
    wanted = named(plan.default_jobs).keys() | {"plan"}
    assert stages(pipeline_text(plan)).keys() == wanted
    assert stages(pipeline_text(plan, check=True)).keys() == wanted | {"check", "package@ref-pe"}


def test_the_seeds_of_the_check_are_stages_if_asked_for(project, tiny_plan):
    plan = tiny_plan({"check": {"seeds": [0, 1, 2]}})
    without, with_check = (stages(pipeline_text(plan, check=check)) for check in (False, True))
    added = {"check", "package@ref-pe", "rectify@ref-pe.seed-2", "evaluate@ref-pe.seed-2"}
    assert with_check.keys() - without == added
    assert with_check["gather-of-2@ref-pe"] == without["gather-of-2@ref-pe"]
    files = {name for out in with_check["check"]["outs"] for name in out if isinstance(out, dict)}
    assert files == {
        f"results/tiny/check/{name}"
        for name in (
            "check.md",
            "check.json",
            "verdicts.csv",
            "tables.csv",
            "table4.md",
            "preference.csv",
            "preference-pairs.csv",
        )
    }


def test_several_runs_and_a_run_named_as_its_stage(project, tiny_plan):
    """`distill` is both here."""
    runs = {"other": {"dataset": "voc", "method": "distill", "teacher": "ref-pe"}}
    found = stages(pipeline_text(tiny_plan({"runs": runs, "check": None})))
    assert found["distill@distill.seed-0"]["outs"] == ["results/tiny/runs/distill/distill/seed-0"]
    assert found["distill@other.seed-0"]["outs"] == ["results/tiny/runs/other/distill/seed-0"]
    assert found["gather-of-1@distill"]["metrics"] == [
        {"results/tiny/runs/distill/metrics.json": {"cache": True}}
    ]


def test_a_seed_is_a_stage_of_its_own_and_a_run_gathers_its_own(project, tiny_plan):
    found = stages(pipeline_text(tiny_plan({"seeds": {"rectify": [0, 3]}})))
    seed, gather = found["rectify@ref-pe.seed-3"], found["gather-of-2@ref-pe"]
    assert seed["cmd"] == "reclip rectify --run ref-pe --seed 3"
    assert seed["deps"][0] == "results/tiny/plan/rectify/ref-pe/seed-3.json"
    assert seed["outs"] == ["results/tiny/runs/ref-pe/rectify/seed-3"]
    evaluations = [f"results/tiny/runs/ref-pe/evaluate/seed-{s}/receipt.json" for s in (0, 3)]
    assert gather["deps"] == ["results/tiny/plan/gather/ref-pe.json", *evaluations]
    query = found["evaluate@query.query"]
    assert query["cmd"] == "reclip evaluate --run query"
    assert query["outs"] == ["results/tiny/runs/query/evaluate/query"]


def test_more_seeds_change_no_stage_of_the_others(project, tiny_plan):
    """Else DVC would make them again."""
    few, more = (
        stages(pipeline_text(tiny_plan({"seeds": {"rectify": seeds}})))
        for seeds in ([0, 1], [0, 1, 3])
    )
    added = {"rectify@ref-pe.seed-3", "evaluate@ref-pe.seed-3", "gather-of-3@ref-pe"}
    assert (more.keys() - few, few.keys() - more) == (added, {"gather-of-2@ref-pe"})
    changed = {name for name in few.keys() & more if few[name] != more[name]}
    assert changed == {"plot", "summarise"}


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
    assert jobs_of_pipeline(tiny_plan({"rectify": {"lr": 0.5}}))
    with pytest.raises(ReclipError, match="write it with `reclip dvc`"):
        jobs_of_pipeline(tiny_plan({"runs": {"probe": None}}))
    with pytest.raises(ReclipError, match="write it with `reclip dvc`"):
        jobs_of_pipeline(tiny_plan({"seeds": {"rectify": [0, 1, 3]}}))


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
    assert len(other.ran()) == 14
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
