"""Photos kept out of a training say, without labels, when it is done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reclip.common.errors import ReclipError
from reclip.config.models import ComputeSettings, RectifySettings
from reclip.pipeline.artifacts import CURVE_FILE, HELD_OUT_FILE, WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.stages.train_seed import train_seed
from reclip.training import loop
from reclip.training.held_out import convergence, measure, split_off
from reclip.training.share import Share
from reclip.training.task import Task

COUNT = 20
SETTINGS = RectifySettings(epochs=12, batch=4, lr=0.05, held_out=5)


class Stopped(Exception):
    pass


def task_of(seen: list[int], stop_at: int | None = None, norm: bool = True) -> Task:
    """Return a task that fits noisy numbers; `seen` collects the photos of each training step."""
    norms = [torch.nn.BatchNorm1d(4)] if norm else []
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), *norms)
    data = torch.randn(COUNT, 5, generator=torch.Generator().manual_seed(9))
    steps = 0

    def losses(rows: np.ndarray, share: Share) -> dict[str, torch.Tensor]:
        nonlocal steps
        if model.training:
            if steps == stop_at:
                raise Stopped
            steps += 1
            seen.extend(rows.tolist())
        found = model(data[rows] + 0.1 * share.noise)
        return {"first": found.square().mean(), "second": 0.5 * found[:, 0].exp().mean()}

    return Task(
        model,
        lambda epoch, rows: rows,
        losses,
        lambda path: save_file(model.state_dict(), path),
        noise=torch.Generator().manual_seed(0),
        noise_of=lambda batch: (5,),
    )


def run(
    folder: Path,
    stop_at: int | None = None,
    settings: RectifySettings = SETTINGS,
    norm: bool = True,
) -> tuple[Job, list[int]]:
    job = Job(
        "rectify",
        "run",
        folder / "seed-0",
        folder / "plan",
        {"rectify": settings, "compute": ComputeSettings()},
        seed=0,
    )
    seen: list[int] = []
    train_seed(job, COUNT, lambda: task_of(seen, stop_at, norm))
    return job, seen


def test_held_out_photos_are_the_same_for_every_run_and_never_train(tmp_path: Path) -> None:
    kept, held = split_off(COUNT, 5)
    assert len(held) == 5
    assert sorted([*kept, *held]) == list(range(COUNT))
    _, seen = run(tmp_path)
    assert set(seen) == set(kept.tolist())


def test_without_held_out_photos_all_train(tmp_path: Path) -> None:
    job, seen = run(tmp_path, settings=SETTINGS.model_copy(update={"held_out": 0}))
    assert set(seen) == set(range(COUNT))
    assert not (job.folder / HELD_OUT_FILE).exists()


def test_the_loss_is_the_mean_over_held_out_photos_whatever_the_batch() -> None:
    task = task_of([])
    task.losses = lambda rows, share: {
        "loss": task.model(torch.ones(len(rows), 5)).sum() * 0 + rows.mean()
    }
    task.model.train()
    images = np.array([1.0, 2.0, 3.0, 10.0, 14.0])
    assert measure(task, images, 2) == pytest.approx({"loss": 6.0})
    assert measure(task, images, 5) == pytest.approx({"loss": 6.0})
    assert task.model.training


def test_measuring_changes_nothing_and_repeats() -> None:
    task, (_, held) = task_of([]), split_off(COUNT, 5)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    noise = task.noise.get_state()
    assert measure(task, held, 4) == measure(task, held, 4)
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    assert torch.equal(task.noise.get_state(), noise)


def test_the_file_has_the_loss_before_the_training_and_after_each_epoch(tmp_path: Path) -> None:
    job, _ = run(tmp_path)
    lines = (job.folder / HELD_OUT_FILE).read_text().splitlines()
    assert lines[0] == "epoch,loss,first,second"
    rows = [list(map(float, line.split(","))) for line in lines[1:]]
    assert [row[0] for row in rows] == list(range(13))
    assert all(row[1] == pytest.approx(row[2] + row[3], rel=1e-4) for row in rows)
    assert rows[-1][1] < rows[0][1]


@pytest.mark.parametrize("stop_at", [1, 4, 30])
def test_a_stopped_training_resumes_with_the_same_losses(
    tmp_path: Path, monkeypatch, stop_at: int
) -> None:
    monkeypatch.setenv("RECLIP_CHECKPOINT_SECONDS", "0")
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(Stopped):
        run(tmp_path / "broken", stop_at)
    broken, _ = run(tmp_path / "broken")
    for name in (HELD_OUT_FILE, CURVE_FILE, WEIGHTS_FILE):
        assert (broken.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_to_hold_out_all_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReclipError, match="held_out is 20, but there are only 20 training photos"):
        run(tmp_path, settings=SETTINGS.model_copy(update={"held_out": 20}))


def test_a_loss_that_still_falls_is_told_from_one_that_has_settled() -> None:
    epochs = np.arange(21)
    assert not convergence(3.0 - 0.1 * epochs).done
    assert convergence(1.0 + 2.0 * np.exp(-epochs / 3)).done
    straight = convergence(3.0 - 0.1 * epochs)
    assert straight.start == pytest.approx(3.0)
    assert straight.end == pytest.approx(1.15)  # the mean over epochs 17 to 20
    assert straight.left == pytest.approx(0.4 / 1.85)


def test_a_short_training_is_not_judged() -> None:
    assert convergence(np.array([3.0, 2.0, 1.0])) is None


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_a_loss_that_did_not_fall_is_not_done(slope: float) -> None:
    found = convergence(1.0 + slope * np.arange(21))
    assert found.left is None and not found.done
    assert found.end == pytest.approx(1.0 + slope * 18.5)


def test_the_receipt_says_that_a_training_has_not_converged(tmp_path: Path, caplog) -> None:
    slow = SETTINGS.model_copy(update={"lr": 1e-3, "power": 0.1, "momentum": 0})
    job, _ = run(tmp_path, settings=slow, norm=False)
    receipt = json.loads(job.receipt.read_text())
    assert not receipt["convergence"]["done"]
    (said,) = receipt["warnings"]
    assert said.startswith("rectify run seed 0 has not converged")
    assert "Raise rectify.epochs (12)" in said
    assert said in caplog.text


def test_the_receipt_says_that_a_training_ended_above_its_start(
    tmp_path: Path, monkeypatch, caplog
) -> None:
    rising = iter(np.linspace(1.0, 2.2, 13))
    monkeypatch.setattr(loop, "measure", lambda *_: {"first": float(next(rising))})
    job, _ = run(tmp_path, settings=SETTINGS.model_copy(update={"lr": 4e-3}))
    receipt = json.loads(job.receipt.read_text())
    assert receipt["convergence"] == {
        "start": 1.0, "end": pytest.approx(2.15), "left": None, "done": False
    }  # fmt: skip
    (said,) = receipt["warnings"]
    assert said == (
        "rectify run seed 0 has not learned: the loss on held-out photos did not fall "
        "(1 → 2.15). Lower rectify.lr (0.004), e.g. to 0.0002, or raise rectify.batch (4) to 16."
    )
    assert said in caplog.text


def test_the_receipt_of_a_healthy_training_has_no_warning(tmp_path: Path) -> None:
    job, _ = run(tmp_path, settings=SETTINGS.model_copy(update={"epochs": 40}))
    receipt = json.loads(job.receipt.read_text())
    assert set(receipt["convergence"]) == {"start", "end", "left", "done"}
    assert receipt["convergence"]["done"] and 0 <= receipt["convergence"]["left"] < 0.1
    assert "warnings" not in receipt
