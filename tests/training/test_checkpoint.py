"""An interrupted training resumes, and ends with the bytes of one without interruption."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reclip.common.errors import ReclipError
from reclip.config.models import RectifySettings
from reclip.pipeline.artifacts import curve_file, seed_file
from reclip.training.checkpoint import Checkpoint
from reclip.training.loop import batches, train
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
    path = seed_file(folder, seed)
    steps: list[int] = []

    def losses(batch, share: Share) -> dict[str, torch.Tensor]:
        epoch, rows = batch
        if len(steps) == stop_at:
            raise Stopped
        steps.append(epoch)
        z = model(data[rows] + 0.1 * share.exponential(data[rows]))
        return {"first": z.square().mean(), "second": 0.5 * z[:, 0].exp().mean()}

    train(
        Task(
            model,
            lambda epoch, rows: (epoch, rows),
            losses,
            lambda partial: save_file(model.state_dict(), partial),
            noise=noise,
        ),
        settings,
        count=COUNT,
        seed=seed,
        checkpoint=Checkpoint(path, digest, every_seconds=0),
        curve=curve_file(folder, seed),
        label="test",
        loaders=loaders,
    )
    return steps


def made(folder: Path) -> list[bytes]:
    return [seed_file(folder, 0).read_bytes(), curve_file(folder, 0).read_bytes()]


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
    assert not seed_file(broken, 0).exists()
    assert len(run(broken)) == STEPS - stop_at  # it resumed
    assert made(broken) == made(whole)


def test_a_run_depends_on_its_seed(tmp_path: Path) -> None:
    run(tmp_path / "a", seed=0)
    run(tmp_path / "b", seed=0)
    run(tmp_path / "b", seed=1)
    assert made(tmp_path / "a") == made(tmp_path / "b")
    one, other = (seed_file(tmp_path / "b", s).read_bytes() for s in (0, 1))
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
    often.save_if_due(lambda: {"step": 3})
    assert often.load() == {"step": 3}


def test_every_epoch_visits_every_image_once_in_a_new_order() -> None:
    steps = list(batches(7, 3, 2, seed=0))
    assert [epoch for epoch, _ in steps] == [0, 0, 0, 1, 1, 1]
    for epoch in (0, 1):
        rows = [int(i) for e, chunk in steps for i in chunk if e == epoch]
        assert sorted(rows) == list(range(7))
    assert [list(rows) for _, rows in steps[:3]] != [list(rows) for _, rows in steps[3:]]
    again = list(batches(7, 3, 2, seed=0))
    assert all((a[1] == b[1]).all() for a, b in zip(steps, again, strict=True))


def test_the_curve_has_a_line_a_step(tmp_path: Path) -> None:
    run(tmp_path)
    lines = curve_file(tmp_path, 0).read_text().splitlines()
    assert lines[0] == "step,epoch,lr,loss,first,second"
    assert len(lines) == STEPS + 1
    step, epoch, lr, loss, first, second = map(float, lines[1].split(","))
    assert (step, epoch, lr) == (0, 0, 0.05)
    assert loss == pytest.approx(first + second, rel=1e-4)
    assert float(lines[-1].split(",")[2]) < 0.05 / 4  # the rate has decayed
