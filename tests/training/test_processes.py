"""Trainings in two processes, or in micro-batches, end as in one process with whole batches.

The processes are forks with gloo on the CPU. Six photos in batches of five: the second batch of
each epoch has one photo, so one process has none.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from reclip.cli.stages import run_stage
from reclip.common.files import read_json
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.pipeline.artifacts import CURVE_FILE, WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.training.checkpoint import Checkpoint
from support.gloo import together
from support.tiny_experiment import TINY, merged

TOLERANCE = 1e-5
"""Largest difference of a weight or running statistic. Measured: 1e-6 (distillation), 2e-7
(rectification), 1e-8 (probe)."""

# The noise decides between classes, not the logits: else rounding could flip a class, and a hard
# mask would jump.
NOISY = {"gumbel_scale": 1.0, "batch": 5, "epochs": 3}
SHORT = {
    "seeds": {"rectify": [0]},
    "rectify": NOISY,
    "distill": NOISY,
    "probe": {"batch": 5, "epochs": 3},
    "runs": {
        # beta 0: without the text loss there are no hard masks. A low rate: at 0.01, fifty steps
        # amplify rounding a hundredfold.
        "long": {
            "dataset": "voc",
            "method": "distill",
            "teacher": "ref-pe",
            "distill": {"epochs": 25, "beta": 0, "lr": 0.001},
        },
        # Its logits are of about unit size, so the noise needs a smaller scale to decide.
        "plus": {
            "dataset": "voc",
            "method": "rectify",
            "rectify": {"model": "reclip++", "gumbel_scale": 0.1},
        },
    },
}
RUNS = {"rectify": "ref-pe", "distill": "distill", "probe": "probe"}


def plan_of(changes: dict | None = None) -> Plan:
    return Plan(validate(Params, merged(merged(TINY, SHORT), changes or {})))


def train(job: Job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    importlib.import_module(job.module).main(job)


def train_in(processes: int, job: Job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    together(processes, lambda rank: train(job))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project in which one process trained everything."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = yaml.safe_dump(merged(TINY, SHORT), sort_keys=False)
        Path("params.yaml").write_text(text, encoding="utf-8")
        plan = plan_of()
        for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
            run_stage(plan, stage, "voc")
        for stage in ("rectify", "pseudo-mask"):
            run_stage(plan, stage, "ref-pe", 0)
        run_stage(plan, "rectify", "plus", 0)
        for stage, run in (("distill", "distill"), ("distill", "long"), ("probe", "probe")):
            run_stage(plan, stage, run, 0)
    return folder


@pytest.fixture
def again(trained: Path, tmp_path: Path, monkeypatch) -> Callable[..., Job]:
    """`again(stage)`: its job, in a copy of the project without what the job made."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)

    def job_of(stage: str, run: str | None = None, changes: dict | None = None) -> Job:
        job = plan_of(changes).job(stage, run or RUNS[stage], 0)
        shutil.rmtree(job.folder)
        return job

    return job_of


def difference(job: Job, other: Path) -> float:
    """Return the largest difference of a weight or running statistic."""
    one, two = (load_file(f / WEIGHTS_FILE) for f in (other / job.folder, job.folder))
    assert one.keys() == two.keys()
    return max(
        float((one[name] - two[name]).abs().max())
        for name in one
        if not name.endswith("num_batches_tracked")  # counts micro-batches; unused
    )


def assert_same_curve(job: Job, other: Path) -> None:
    one, two = (
        [list(map(float, line.split(","))) for line in (f / CURVE_FILE).read_text().split()[1:]]
        for f in (other / job.folder, job.folder)
    )
    torch.testing.assert_close(torch.tensor(two), torch.tensor(one), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("stage", "run"), [*RUNS.items(), ("rectify", "plus")])
def test_two_processes_train_as_one(again, trained: Path, stage: str, run: str) -> None:
    job = again(stage, run)
    train_in(2, job)
    assert difference(job, trained) < TOLERANCE
    assert_same_curve(job, trained)
    assert read_json(job.receipt)["processes"] == [2]


@pytest.mark.parametrize("stage", ["rectify", "probe"])
def test_micro_batches_train_as_the_batch(again, trained: Path, stage: str) -> None:
    job = again(stage, changes={stage: {"micro_batch": 2}})
    train(job)
    assert difference(job, trained) < TOLERANCE
    assert_same_curve(job, trained)


def test_micro_batches_of_a_student_do_not_depend_on_the_processes(again, tmp_path: Path) -> None:
    """Its batch norms see one micro-batch at a time, so it differs from whole batches."""
    job = again("distill", changes={"distill": {"micro_batch": 2}})
    train(job)
    shutil.copytree(job.folder, tmp_path / "alone" / job.folder)
    shutil.rmtree(job.folder)
    train_in(2, job)
    assert difference(job, tmp_path / "alone") < TOLERANCE
    assert_same_curve(job, tmp_path / "alone")


class Stopped(Exception):
    pass


def test_two_processes_resume_what_one_began(again, trained: Path, monkeypatch) -> None:
    job = again("distill")
    save = Checkpoint.save_if_due

    def save_and_stop(self, make_state) -> None:
        save(self, make_state)
        if make_state()["step"] == 3:
            raise Stopped

    monkeypatch.setenv("RECLIP_CHECKPOINT_SECONDS", "0")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Checkpoint, "save_if_due", save_and_stop)
        train(job)
    train_in(2, job)
    assert difference(job, trained) < TOLERANCE
    assert_same_curve(job, trained)
    assert read_json(job.receipt)["processes"] == [1, 2]


def test_one_process_resumes_what_two_began_and_one_was_killed(again, trained: Path) -> None:
    job = again("distill", "long")
    command = [
        sys.executable,
        "-m",
        "reclip",
        "distill",
        "--run",
        "long",
        "--seed",
        "0",
        "--gpus",
        "2",
    ]
    environment = os.environ | {"RECLIP_CHECKPOINT_SECONDS": "0"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as torchrun:
        checkpoint = Checkpoint(job.folder / WEIGHTS_FILE, job.digest)
        while not checkpoint.path.exists() and torchrun.poll() is None:
            time.sleep(0.01)
        children = psutil.Process(torchrun.pid).children()
        second = next(child for child in children if child.environ()["RANK"] == "1")
        second.send_signal(signal.SIGKILL)
        said = torchrun.stderr.read()
    assert torchrun.returncode == 1
    assert not [child for child in children if child.is_running()]
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith(
        "error: distill long seed 0: process 2 of 2 was killed (SIGKILL), and the "
    )
    assert 0 < checkpoint.load()["step"] < 50
    train(job)
    assert difference(job, trained) < TOLERANCE
    assert_same_curve(job, trained)
    assert read_json(job.receipt)["processes"] == [2, 1]
