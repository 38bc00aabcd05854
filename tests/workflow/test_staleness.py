"""Which jobs Snakemake would run after a change. Results are stood in for by receipts alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.paths import TESTS

FAKE = f"""
import sys
sys.path.append({str(TESTS)!r})
from support.fake_results import make
from reclip.pipeline.plan import Plan
make(Plan.load())
"""

DISTILL = {
    "distill:distill/seed-0", "probe:probe/seed-0", "evaluate:distill/seed-0",
    "evaluate:probe/seed-0", "gather:distill", "gather:probe", "package:distill", "plot", "all",
}  # fmt: skip
RECTIFY = DISTILL | {
    "rectify:ref-pe/seed-0", "rectify:ref-pe/seed-1", "pseudo_mask:ref-pe/seed-0",
    "evaluate:ref-pe/seed-0", "evaluate:ref-pe/seed-1", "gather:ref-pe", "tabulate:table4",
    "summarise",
}  # fmt: skip


@pytest.fixture
def fresh(checkout):
    """A checkout in which every output is up to date."""
    checkout.run("python", "-c", FAKE)
    assert checkout.planned() == set()
    return checkout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_everything_is_planned_in_an_empty_project(checkout):
    planned = checkout.planned()
    assert {
        "prepare:voc",
        "cache_features:voc",
        "evaluate:query/query",
        "tabulate:table4",
    } <= planned
    assert planned >= RECTIFY


def test_a_table_needs_its_own_runs_only(checkout):
    planned = checkout.planned("table4")
    assert "rectify:ref-pe/seed-1" in planned
    assert not DISTILL - {"all"} & planned


def test_a_run_is_a_target(checkout):
    planned = checkout.planned("results/tiny/runs/query/metrics.json")
    assert {job.split(":")[0] for job in planned} == {
        "prepare", "embed_text", "cache_features", "hypothesise", "evaluate", "gather",
    }  # fmt: skip


def test_a_changed_parameter_reruns_its_dependents_and_a_revert_nothing(fresh):
    params = fresh.params()
    params["rectify"]["lr"] = 0.02
    fresh.write_params(params)
    assert fresh.planned() == RECTIFY
    assert "rectify ref-pe seed 0: rectify.lr 0.01 → 0.02" in fresh.run("reclip", "status")
    del params["rectify"]["lr"]
    fresh.write_params(params)
    assert fresh.planned() == set()


def test_a_parameter_of_one_run_leaves_the_others_alone(fresh):
    params = fresh.params()
    params["runs"]["distill"]["distill"] = {"alpha": 0}
    fresh.write_params(params)
    assert fresh.planned() == DISTILL


def test_an_edited_module_reruns_the_stages_that_use_it(fresh):
    edit(fresh.folder / "reclip/rectify/loss.py", "per_pair = -log_p", "per_pair = -1 * log_p")
    assert fresh.planned() == RECTIFY
    assert "rectify ref-pe seed 0: reclip/rectify/loss.py changed" in fresh.run("reclip", "status")


def test_a_comment_or_docstring_reruns_nothing(fresh):
    module = fresh.folder / "reclip/rectify/loss.py"
    edit(module, '"""Candidate masks', '"""Still candidate masks')
    module.write_text(module.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")
    assert fresh.planned() == set()


def test_times_do_not_matter(fresh):
    for i, path in enumerate(sorted(fresh.folder.rglob("results/**/*"))):
        os.utime(path, (1_700_000_000 + i * 7919 % 1000,) * 2)
    assert fresh.planned() == set()


def test_snakemakes_own_records_do_not_matter(fresh):
    subprocess.run(["rm", "-rf", str(fresh.folder / ".snakemake")], check=True)
    assert fresh.planned() == set()


def test_a_stage_refuses_stale_inputs(fresh):
    params = fresh.params()
    params["views"]["count"] = 3
    fresh.write_params(params)
    said = fresh.run("reclip", "rectify", "--run", "ref-pe", "--seed", "1", check=False)
    assert "needs cache-features voc, which is stale (views.count 2 → 3)" in said
    assert "Traceback" not in said


def test_a_wrong_params_file_is_one_sentence(checkout):
    params = checkout.params()
    params["rectify"]["epoch"] = 3
    checkout.write_params(params)
    said = checkout.run("snakemake", "-n", check=False)
    assert "unknown key 'rectify.epoch'; did you mean 'epochs'?" in said
    assert "Traceback" not in said


def test_a_run_that_is_not_there_names_the_nearest(checkout):
    said = checkout.run("reclip", "rectify", "--run", "ref-p", check=False)
    assert "no run 'ref-p' for rectify; did you mean 'ref-pe'?" in said
