"""DVC's own commands on real changes of a real, tiny experiment."""

from __future__ import annotations

import csv
import io

import pytest

from reclip.common.files import file_sha256
from support.project_copy import make_checkout
from support.stand_ins import SMALL, Project, use_dvc

METRICS = "results/tiny/runs/ref-pe/metrics.json"
WEIGHTS = "results/tiny/runs/ref-pe/rectify/seed-0/weights.safetensors"


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_params) -> Project:
    """Results that are recorded and committed."""
    folder = tmp_path_factory.mktemp("project")
    params = tiny_params({**SMALL, "seeds": {"rectify": [0]}, "rectify": {"lr": 0.01}})
    make_checkout(folder, params)
    use_dvc(folder)
    project = Project(folder, forked=True, computes=True)  # sooner, see forks.py
    project.make_all()
    project.run("reclip", "record")
    project.commit()
    return project


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_an_experiment_is_run_compared_and_reverted_without_training(project):
    first, weights = project.bytes(), file_sha256(project.folder / WEIGHTS)
    said = project.run("dvc", "exp", "run", "--name", "faster", "-S", "rectify.lr=0.02")
    assert "Running stage 'rectify@ref-pe.seed-0'" in said
    assert "Stage 'cache-features@voc' didn't change" in said
    assert "Stage 'evaluate@query.query' didn't change" in said
    assert file_sha256(project.folder / WEIGHTS) != weights
    miou = project.miou("ref-pe")
    assert project.planned() == set()

    rows = table(project.run("dvc", "exp", "show", "--csv"))
    old = next(row for row in rows if row["typ"] == "baseline" and row["rev"] != "workspace")
    new = next(row for row in rows if row["Experiment"] == "faster")
    assert (old["rectify.lr"], new["rectify.lr"]) == ("0.01", "0.02")
    assert float(new[f"{METRICS}:miou.mean"]) == pytest.approx(miou)
    diff = project.run("dvc", "metrics", "diff", "--md")
    assert METRICS in diff and "query/metrics.json" not in diff
    assert "rectify.lr" in project.run("dvc", "params", "diff", "--md")
    project.run("dvc", "plots", "show", "--out", "now")
    assert "loss-rectify" in (project.folder / "now/index.html").read_text(encoding="utf-8")
    project.run("dvc", "plots", "diff", "HEAD", "--out", "shown")
    page = (project.folder / "shown/index.html").read_text(encoding="utf-8")
    assert "loss-rectify" in page and "curves.png" in page
    assert '"rev": "HEAD"' in page and '"rev": "workspace"' in page

    # Back again, with no torch to train with.
    project.set("rectify.lr", 0.01)
    (project.folder / "torch.py").write_text("raise SystemExit('it trains')")
    said = project.run("dvc", "repro")
    assert "Stage 'rectify@ref-pe.seed-0' is cached - skipping run" in said
    assert "Running stage 'rectify" not in said and "Running stage 'evaluate" not in said
    assert project.bytes() == first
    assert project.planned() == set()
    assert "everything is fresh" in project.run("reclip", "status", "--verify")
