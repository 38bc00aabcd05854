"""A rectification that diverges warns in the log, the receipt, the summary and MLflow."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml

from reclip.cli.stages import run_stage
from reclip.common.files import read_json
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.evaluate import results_table
from reclip.pipeline.plan import Plan
from reclip.pipeline.staleness import report
from reclip.tracking import records
from support.tiny_experiment import TINY, merged

BAD = {"batch": 1, "lr": 0.3, "epochs": 3}
HERE = {
    "datasets": {"voc": {"source": {"kind": "world", "world": "voc", "train": 12, "val": 2}}},
    "rectify": {"positional_init": 0.05, "gumbel_scale": 50, "batch": 1, "epochs": 3, "lr": 5e-4},
    "runs": {
        "bad": {"dataset": "voc", "method": "rectify", "rectify": BAD},
        "ref-pe": {"dataset": "voc", "method": "rectify"},
        "distill": None, "probe": None,
    },
    "check": None,
    "tables": {"table4": {"title": "t", "rows": [
        {"row": "Good", "cells": {"voc": {"run": "ref-pe"}}},
        {"row": "Bad", "cells": {"voc": {"run": "bad"}}},
    ]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Plan, Path, list[str]]:
    """Both runs and the summary; also what was logged as a warning."""
    folder = tmp_path_factory.mktemp("health")
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda entry: heard.append(entry.getMessage())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = merged(TINY, HERE)
        Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        plan = Plan(validate(Params, params))
        logging.getLogger("reclip.stages.rectify").addHandler(handler)
        for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
            run_stage(plan, stage, "voc")
        for run in ("ref-pe", "bad"):
            for seed in (0, 1):
                run_stage(plan, "rectify", run, seed)
        run_stage(plan, "summarise")
    logging.getLogger("reclip.stages.rectify").removeHandler(handler)
    return plan, folder, heard


def test_each_diverging_seed_logs_a_warning_and_a_healthy_one_none(made) -> None:
    _, _, warnings = made
    for seed, warning in zip((0, 1), warnings, strict=True):
        assert warning.startswith(f"rectify bad seed {seed} diverged")
        assert "Lower rectify.lr (0.3)" in warning


def test_the_receipt_has_the_warning_and_the_figures_and_no_other_digest(made, monkeypatch) -> None:
    plan, folder, warnings = made
    monkeypatch.chdir(folder)
    for seed, warning in enumerate(warnings):
        bad, good = (read_json(plan.job("rectify", r, seed).receipt) for r in ("bad", "ref-pe"))
        assert bad["warnings"] == [warning] and good["warnings"] == []
        assert (bad["health"]["verdict"] == "healthy", good["health"]["verdict"]) == (
            False,
            "healthy",
        )
        assert bad["digest"] == plan.job("rectify", "bad", seed).digest
        assert f"warning  {warning}" in list(report(plan))


def test_the_summary_has_every_training(made, monkeypatch) -> None:
    plan, folder, warnings = made
    monkeypatch.chdir(folder)
    markdown, data = plan.job("summarise", "tiny").outputs
    text, found = markdown.read_text(encoding="utf-8"), read_json(data)["_trainings"]
    assert found["warnings"] == warnings and text.count("**Warning**") == 2
    assert {run: set(seeds) for run, seeds in found["runs"].items()} == {
        "bad": {"0", "1"}, "ref-pe": {"0", "1"},
    }  # fmt: skip
    assert "| ref-pe | 0 | " in text and "| bad | 1 | " in text


def test_mlflow_gets_the_figures_of_each_seed_and_the_warning_of_the_run(made, monkeypatch) -> None:
    plan, folder, warnings = made
    monkeypatch.chdir(folder)
    for run, tag in (("bad", " ".join(warnings)), ("ref-pe", None)):
        for job in plan.trained(run):
            record = records.child(plan, job)
            assert {"health/loss_start", "health/positional", "health/share"} <= set(record.metrics)
            assert (record.tags["health"] == "healthy") == (tag is None)
            assert records.parent(plan, job).tags.get("warnings") == tag


def test_a_table_names_the_rows_that_rest_on_a_diverged_run(made, monkeypatch) -> None:
    plan, folder, warnings = made
    monkeypatch.chdir(folder)
    cells = [
        results_table.Cell(row, {}, "voc", None, run)
        for row, run in (("Good", "ref-pe"), ("Bad", "bad"))
    ]
    jobs = {run: plan.jobs_of("evaluate", run) for run in ("ref-pe", "bad")}
    said = results_table.doubts(cells, jobs)
    assert said == [f"Warning on Bad (voc): {warning}" for warning in warnings]
