"""`reclip status`: every stale output with its reason, down to the cause upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclip.pipeline import code_digest, receipts
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.pipeline.staleness import report
from support.fake_results import make, make_one

RECTIFY = "tiny/runs/ref-pe/rectify/seed-0"


def said(plan: Plan, **how: bool) -> dict[str, str]:
    """Job to what is said of it."""
    *lines, _ = report(plan, **how)
    return {name: text for name, _, text in (line.partition(": ") for line in lines)}


@pytest.fixture
def made(project, tiny_plan):
    """A project in which all is fresh, and `tiny_plan`."""
    make(tiny_plan())
    return tiny_plan


def test_fresh_outputs_are_counted(made) -> None:
    lines = list(report(made()))
    assert lines[-1] == "everything is fresh: 24 outputs"
    assert [line.split()[1] for line in lines[:4]] == [
        "prepare", "embed-text", "cache-features", "hypothesise",
    ]  # fmt: skip


def test_what_is_made_on_demand_is_aside(project, tiny_plan) -> None:
    """The card of a rectified CLIP, and the check with its additional seeds."""
    plan = tiny_plan({"check": {"seeds": [0, 1, 2]}})
    aside = {job.name for job in plan.jobs} - {job.name for job in plan.default_jobs}
    assert aside == {
        "package ref-pe", "check tiny", "rectify ref-pe seed 2", "evaluate ref-pe seed 2",
    }  # fmt: skip
    assert list(report(plan))[-1] == "22 stale, 4 aside"
    for job in plan.default_jobs:
        make_one(job)
    assert list(report(plan))[-1] == "everything is fresh: 22 outputs, 4 aside"


def test_a_setting_is_named_where_it_is_read_and_as_the_cause_downstream(made) -> None:
    lines = said(made({"rectify": {"lr": 0.02}}))
    because = "because rectify.lr 0.01 → 0.02"
    far = "because of rectify ref-pe seed 0: rectify.lr 0.01 → 0.02"
    assert lines["stale  rectify ref-pe seed 1"] == "rectify.lr 0.01 → 0.02"
    changed = f"its input rectify ref-pe seed 1 changed, {because}"
    assert lines["stale  evaluate ref-pe seed 1"] == changed
    assert lines["stale  tabulate table4"] == f"its input gather ref-pe changed, {far}"
    assert lines["stale  probe probe seed 0"] == f"its input distill distill seed 0 changed, {far}"
    assert "fresh  hypothesise voc" in lines


def test_several_inputs_with_one_cause(made) -> None:
    lines = said(made({"views": {"count": 3}}))
    text = lines["stale  distill distill seed 0"]
    assert text.startswith(
        "its inputs cache-features voc, hypothesise voc, pseudo-mask ref-pe seed 0"
    )
    assert text.endswith("changed, because of cache-features voc: views.count 2 → 3")


def test_a_source_file_is_named(made, monkeypatch) -> None:
    real = code_digest.modules_used

    def edited(module: str) -> dict[str, str]:
        used = real(module)
        return used | dict.fromkeys(used.keys() & {"reclip.rectify.loss"}, "other")

    monkeypatch.setattr(code_digest, "modules_used", edited)
    lines = said(made())
    assert lines["stale  rectify ref-pe seed 0"] == "reclip/rectify/loss.py changed"
    assert lines["stale  evaluate ref-pe seed 0"].endswith("because reclip/rectify/loss.py changed")


def test_a_module_that_came_or_went_is_named(made, monkeypatch) -> None:
    real = code_digest.modules_used("reclip.stages.rectify")
    changed = {k: v for k, v in real.items() if k != "reclip.rectify.loss"}
    changed["reclip.rectify.gone"] = "new"
    monkeypatch.setattr(
        code_digest, "modules_used", lambda m: changed if m == "reclip.stages.rectify" else {}
    )
    reason = why_stale(made().job("rectify", "ref-pe", 0))
    assert reason == "reclip/rectify/gone.py is used now; reclip/rectify/loss.py is no longer used"


def test_made_again_since_and_the_cause_is_forgotten(made) -> None:
    plan = made({"rectify": {"lr": 0.02}})
    make(plan, "rectify")
    assert said(plan)["stale  evaluate ref-pe seed 1"] == "its input rectify ref-pe seed 1 changed"


def test_an_input_that_it_reads_no_more(made) -> None:
    row = {"row": "Query", "cells": {"voc": {"paper": 49.5, "run": "query"}}}
    plan = made({"tables": {"table4": {"rows": [row]}}})
    assert "rows" in why_stale(plan.job("tabulate", "table4"))  # its own setting comes first
    job = made().job("evaluate", "ref-pe", 0)
    less = Job(**{**vars_of(job), "inputs": {k: v for k, v in job.inputs.items() if k != "data"}})
    assert why_stale(less) == "it no longer reads data"


def vars_of(job: Job) -> dict:
    return {name: getattr(job, name) for name in job.__dataclass_fields__}


def test_lost_and_changed_files(made) -> None:
    folder = Path("results") / RECTIFY
    (folder / "ref-pe.fake").write_text("RECTIFY REF-PE SEED 0")
    assert "fresh  rectify ref-pe seed 0" in said(made())
    checked = said(made(), verify=True)
    assert checked["stale  rectify ref-pe seed 0"] == "changed on disk: ref-pe.fake"
    (folder / "ref-pe.fake").write_text("short")
    assert said(made())["stale  rectify ref-pe seed 0"] == "output changed in size: ref-pe.fake"
    (folder / "ref-pe.fake").unlink()
    assert said(made())["stale  rectify ref-pe seed 0"] == "output missing: ref-pe.fake"
    assert list(report(made()))[-1] == "1 stale, 23 fresh"


def test_long_reasons_are_shortened(made) -> None:
    many = {"epochs": 3, "batch": 2, "gumbel_scale": 7, "lr": 0.5, "prompt_length": 5}
    reason = why_stale(made({"rectify": many}).job("rectify", "ref-pe", 0))
    assert reason.endswith("; and 2 more")
    long = receipts.differences({"a": "x" * 500}, {"a": None})
    assert long == [f"a {'x' * 60}… → None"]
