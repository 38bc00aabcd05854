"""An interrupted training resumes, and ends with the bytes of one without interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reclip.common.errors import ReclipError
from reclip.config.models import ComputeSettings, RectifySettings
from reclip.pipeline.artifacts import CURVE_FILE as CURVE
from reclip.pipeline.artifacts import HELD_OUT_FILE
from reclip.pipeline.artifacts import WEIGHTS_FILE as WEIGHTS
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import why_stale
from reclip.stages.train_seed import train_seed
from reclip.training.batches import batches
from reclip.training.checkpoint import Checkpoint
from reclip.training.loop import train
from reclip.training.share import Share
from reclip.training.task import Task

SETTINGS = RectifySettings(epochs=4, batch=3, lr=0.05)
COUNT = 8
STEPS = 4 * 3


class Stopped(Exception):
    pass


def run(
    folder: Path,
    digest: str = "digest",
    seed: int = 0,
    stop_at: int | None = None,
    settings: RectifySettings = SETTINGS,
    loaders: int = 0,
) -> list[int]:
    """Train a small noisy model with batch norm; return the epoch of each step."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4))
    data = torch.randn(COUNT, 5, generator=torch.Generator().manual_seed(9))
    noise = torch.Generator().manual_seed(seed)
    path = folder / f"{seed}" / WEIGHTS
    steps: list[int] = []

    def losses(batch, share: Share) -> dict[str, torch.Tensor]:
        epoch, rows = batch
        if len(steps) == stop_at:
            raise Stopped
        steps.append(epoch)
        z = model(data[rows] + 0.1 * share.noise)
        return {"first": z.square().mean(), "second": 0.5 * z[:, 0].exp().mean()}

    train(
        Task(
            model,
            lambda epoch, rows: (epoch, rows),
            losses,
            lambda partial: save_file(model.state_dict(), partial),
            noise=noise,
            noise_of=lambda batch: (5,),
        ),
        settings,
        count=COUNT,
        seed=seed,
        checkpoint=Checkpoint(path, digest, every_seconds=0),
        curve_file=(folder / f"{seed}" / CURVE),
        held_out=(folder / f"{seed}" / HELD_OUT_FILE),
        label="test",
        loaders=loaders,
    )
    return steps


def made(folder: Path) -> list[bytes]:
    return [(folder / f"{0}" / WEIGHTS).read_bytes(), (folder / f"{0}" / CURVE).read_bytes()]


def test_prefetching_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "inline")
    run(tmp_path / "ahead", loaders=3)
    assert made(tmp_path / "inline") == made(tmp_path / "ahead")


def test_an_infinite_loss_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(ReclipError, match=r"test: the loss is (nan|inf) at step \d+: lower the"):
        run(tmp_path, settings=SETTINGS.model_copy(update={"lr": 1e30}))


@pytest.mark.parametrize("stop_at", [1, 5, STEPS - 1])
def test_a_stopped_run_ends_with_the_same_bytes(tmp_path: Path, stop_at: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert len(run(whole)) == STEPS
    with pytest.raises(Stopped):
        run(broken, stop_at=stop_at)
    assert not (broken / f"{0}" / WEIGHTS).exists()
    assert len(run(broken)) == STEPS - stop_at  # it resumed
    assert made(broken) == made(whole)


def test_a_run_depends_on_its_seed(tmp_path: Path) -> None:
    run(tmp_path / "a", seed=0)
    run(tmp_path / "b", seed=0)
    run(tmp_path / "b", seed=1)
    assert made(tmp_path / "a") == made(tmp_path / "b")
    one, other = ((tmp_path / "b" / f"{s}" / WEIGHTS).read_bytes() for s in (0, 1))
    assert one != other


def test_a_checkpoint_of_other_settings_is_ignored(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(tmp_path / "a", digest="old", stop_at=5)
    assert len(run(tmp_path / "a", digest="new")) == STEPS
    run(tmp_path / "b")
    assert made(tmp_path / "a") == made(tmp_path / "b")


def test_a_checkpoint_is_saved_when_due(tmp_path: Path) -> None:
    rare = Checkpoint(tmp_path / "seed-0.safetensors", "digest", every_seconds=3600)
    rare.save_if_due(lambda: pytest.fail("saved too early"))
    assert rare.load() is None
    often = Checkpoint(tmp_path / "seed-0.safetensors", "digest", every_seconds=0)
    with often:
        often.save_if_due(lambda: {"step": 3})
    assert often.load() == {"step": 3}


def test_a_checkpoint_holds_the_state_of_its_moment(tmp_path: Path) -> None:
    """Training goes on while a thread writes."""
    weights, rows = torch.zeros(1000), [[0.0]]
    with Checkpoint(tmp_path / "w.safetensors", "digest", every_seconds=0) as checkpoint:
        checkpoint.save_if_due(lambda: {"weights": weights, "rows": rows})
        weights += 1
        rows.append([1.0])
    saved = checkpoint.load()
    assert not saved["weights"].any() and saved["rows"] == [[0.0]]


def test_a_save_that_fails_stops_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # where a folder should be
    checkpoint = Checkpoint(tmp_path / "file" / "w.safetensors", "digest", every_seconds=0)
    with pytest.raises(ReclipError, match="Cannot write"), checkpoint:
        checkpoint.save_if_due(lambda: {"step": 3})


def test_every_epoch_visits_every_image_once_in_a_new_order() -> None:
    steps = list(batches(np.arange(7), 3, 2, seed=0))
    assert [epoch for epoch, _ in steps] == [0, 0, 0, 1, 1, 1]
    for epoch in (0, 1):
        rows = [int(i) for e, chunk in steps for i in chunk if e == epoch]
        assert sorted(rows) == list(range(7))
    assert [list(rows) for _, rows in steps[:3]] != [list(rows) for _, rows in steps[3:]]
    again = list(batches(np.arange(7), 3, 2, seed=0))
    assert all((a[1] == b[1]).all() for a, b in zip(steps, again, strict=True))


def test_the_curve_has_a_line_a_step(tmp_path: Path) -> None:
    run(tmp_path)
    lines = (tmp_path / f"{0}" / CURVE).read_text().splitlines()
    assert lines[0] == "step,epoch,lr,loss,first,second"
    assert len(lines) == STEPS + 1
    step, epoch, lr, loss, first, second = map(float, lines[1].split(","))
    assert (step, epoch, lr) == (0, 0, 0.05)
    assert loss == pytest.approx(first + second, rel=1e-4)
    assert float(lines[-1].split(",")[2]) < 0.05 / 4  # the rate has decayed


# The job of a seed.


def seed_job(folder: Path, seed: int = 0) -> Job:
    settings = {"rectify": SETTINGS, "compute": ComputeSettings()}
    return Job(
        "rectify", "run", folder / f"seed-{seed}", folder.parent / "plan", settings, seed=seed
    )


def train_job(job: Job, stop_at: int | None = None) -> list[int]:
    """Train; return the number of images in each step."""
    steps: list[int] = []

    def start() -> Task:
        model = torch.nn.Linear(5, 1)

        def losses(batch: torch.Tensor, share: Share) -> dict[str, torch.Tensor]:
            if len(steps) == stop_at:
                raise Stopped
            steps.append(len(batch))
            return {"loss": model(batch).square().mean()}

        return Task(
            model,
            lambda epoch, rows: torch.ones(len(rows), 5),
            losses,
            lambda path: save_file(model.state_dict(), path),
        )

    train_seed(job, COUNT, start)
    return steps


def test_a_killed_seed_has_no_receipt_and_resumes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RECLIP_CHECKPOINT_SECONDS", "0")
    job, whole = seed_job(tmp_path / "a"), seed_job(tmp_path / "b")
    with pytest.raises(Stopped):
        train_job(job, stop_at=5)
    assert why_stale(job) == "not made yet"
    assert len(train_job(job)) == STEPS - 5
    assert why_stale(job) is None
    assert sorted(p.name for p in job.folder.iterdir()) == [CURVE, "receipt.json", WEIGHTS]
    assert len(train_job(whole)) == STEPS
    for name in (CURVE, WEIGHTS):
        assert (job.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_seed_does_not_depend_on_those_before_it(tmp_path: Path) -> None:
    """Initial weights come from the global generator, which each job seeds again."""
    for folder in (tmp_path / "a", tmp_path / "b"):
        torch.rand(5)
        train_job(seed_job(folder, 1))
    one, other = (tmp_path / name / "seed-1" / WEIGHTS for name in "ab")
    assert one.read_bytes() == other.read_bytes()
    train_job(seed_job(tmp_path / "a", 2))
    assert (tmp_path / "a/seed-2" / WEIGHTS).read_bytes() != one.read_bytes()
