"""The tiny experiment for real: same bytes after a kill, no label in training, both front ends."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from reclip.common.files import read_json
from reclip.data.images import read_label, write_label
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from support.project_copy import Checkout, make_checkout
from support.stand_ins import Project, use_dvc

RESULTS = Path("results/tiny")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_params) -> Checkout:
    """The tiny experiment after a plain `snakemake`."""
    checkout = make_checkout(tmp_path_factory.mktemp("finished"), tiny_params())
    checkout.run("snakemake", "--cores", "2", "all", "tiny_check")
    return checkout


def tables(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / RESULTS / "tables").glob("*.*"))}


def weights(folder: Path) -> dict[str, str]:
    """Checksums of all trained weights."""
    found = sorted((folder / RESULTS / "runs").rglob(WEIGHTS_FILE))
    return {
        str(p.relative_to(folder / RESULTS)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in found
    }


def test_it_ends_with_tables_figures_and_metrics(finished):
    assert {"table4.csv", "table4.md"} <= set(tables(finished.folder))
    for path in Plan.load(finished.folder / "params.yaml").job("plot", "tiny").outputs:
        assert (finished.folder / path).stat().st_size > (1000 if path.suffix == ".png" else 0)
    metrics = read_json(finished.folder / RESULTS / "runs/ref-pe/metrics.json")
    assert [r["seed"] for r in metrics["seeds"]] == [0, 1]
    assert metrics["checkpoint"] == "last"
    assert metrics["protocol"] == "whole, own size"
    assert all(0 <= r["miou"] < 100 for r in metrics["seeds"])
    assert all(0 < r["pixel_accuracy"] < 100 for r in metrics["seeds"])


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.run("snakemake", "--cores", "2")
    assert "everything is fresh" in finished.run("reclip", "status", "--verify")


def test_moved_and_without_records_it_still_has_nothing_to_do(finished, tmp_path):
    """What a clone with pulled results looks like: new times, no `.snakemake`."""
    moved = Checkout(tmp_path / "moved")
    ignored = shutil.ignore_patterns(".snakemake")
    shutil.copytree(finished.folder, moved.folder, ignore=ignored, copy_function=shutil.copyfile)
    assert moved.planned() == set()


def test_every_seed_and_loss_differ(finished):
    """Seeds are real: no two weights files are the same."""
    sums = weights(finished.folder)
    assert len(sums) == 4
    assert len(set(sums.values())) == 4


def kill_in_the_middle(checkout: Checkout, command: list[str], checkpoint: Path) -> None:
    """Start a stage with a checkpoint after every step; SIGKILL it once one is there."""
    process = subprocess.Popen(
        command,
        cwd=checkout.folder,
        env={**checkout.env, "RECLIP_CHECKPOINT_SECONDS": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (checkout.folder / checkpoint).is_file():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ("stage", "run", "seed"), [("rectify", "ref-pe", 1), ("distill", "distill", 0)]
)
def test_killed_and_started_again_it_ends_with_the_same_bytes(finished, tmp_path, stage, run, seed):
    before, before_tables = weights(finished.folder), tables(finished.folder)
    again = Checkout(tmp_path / "again")
    shutil.copytree(finished.folder, again.folder)
    folder = RESULTS / "runs" / run / stage / f"seed-{seed}"
    shutil.rmtree(again.folder / folder)
    command = ["reclip", stage, "--run", run, "--seed", str(seed)]
    kill_in_the_middle(again, command, folder / ".weights.checkpoint")
    assert not (again.folder / folder / "receipt.json").exists()
    again.run("snakemake", "--cores", "2")
    assert weights(again.folder) == before
    assert tables(again.folder) == before_tables


def run_here(plan: Plan, after_prepare=lambda job: None) -> None:
    """All stages in this process, without a front end."""
    import importlib

    for job in plan.jobs:
        if job.stage in ("plot", "check", "tabulate"):
            continue
        job.folder.mkdir(parents=True, exist_ok=True)
        importlib.import_module(job.module).main(job)
        if job.stage == "prepare":
            after_prepare(job)


def poison(job: Job) -> None:
    """Replace every training label by noise."""
    rng = np.random.default_rng(0)
    for path in sorted((job.folder / "labels").glob("train-*.png")):
        label = read_label(path)
        write_label(path, rng.integers(0, 20, label.shape), 20)


def test_training_labels_reach_the_linear_probe_alone(project, tiny_plan, monkeypatch):
    sums = []
    for name, spoil in (("clean", lambda job: None), ("poisoned", poison)):
        folder = project / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        run_here(tiny_plan(), spoil)
        sums.append(weights(folder))
    clean, poisoned = sums
    differing = {name for name in clean if clean[name] != poisoned[name]}
    assert differing == {"runs/probe/probe/seed-0/weights.safetensors"}


def test_dvc_reaches_the_same_bytes(finished, tmp_path):
    """`dvc repro` in a new repository; a clone with Snakemake's results has the recorded ones."""
    own = Project(tmp_path / "dvc", forked=True, computes=True)
    shutil.copytree(
        finished.folder, own.folder, ignore=shutil.ignore_patterns("results", ".snakemake")
    )
    use_dvc(own.folder)
    own.run("dvc", "repro", "--quiet")
    assert tables(own.folder) == tables(finished.folder)
    assert "up to date" in own.run("dvc", "repro")
    assert own.planned() == set()
    own.commit()
    clone = own.clone(tmp_path / "clone")
    shutil.copytree(finished.folder / "results", clone.folder / "results", dirs_exist_ok=True)
    assert "All 22 results are the same bytes as recorded." in clone.run("reclip", "verify")
    assert "Data and pipelines are up to date." in clone.run("dvc", "status")
    assert clone.run("git", "status", "--short", "--untracked-files=no") == ""
