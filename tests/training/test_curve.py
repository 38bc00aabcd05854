"""The curve of a training: every step of a short one, a bounded number of rows of a long one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reclip.training.curve import ROWS, SINGLE, Curve


def written(path: Path, steps: int, stop: int | None = None) -> np.ndarray:
    """Write the curve of losses 0, 1, 2, ...; at step `stop` go on with a saved state."""
    curve = Curve(steps)
    for step in range(steps):
        if step == stop:
            curve = Curve(steps, curve.state())
        curve.add(step, step // 10, 0.5, {"loss": float(step), "term": 2.0 * step})
    curve.write(path)
    return np.genfromtxt(path, delimiter=",", names=True)


def test_a_short_training_has_a_row_for_each_step(tmp_path: Path) -> None:
    rows = written(tmp_path / "curve.csv", SINGLE + ROWS)
    assert rows["step"].tolist() == list(range(SINGLE + ROWS))
    assert (rows["term"] == 2 * rows["loss"]).all() and rows["epoch"][-1] == (len(rows) - 1) // 10


def test_a_long_one_has_means(tmp_path: Path) -> None:
    steps = SINGLE + 3 * ROWS - 1
    rows = written(tmp_path / "curve.csv", steps)
    assert len(rows) == SINGLE + ROWS
    assert rows["step"][:SINGLE].tolist() == list(range(SINGLE))
    first = rows[SINGLE]  # of steps SINGLE to SINGLE + 2
    assert (first["step"], first["loss"]) == (SINGLE + 2, SINGLE + 1)
    assert rows["step"][-1] == steps - 1  # the rest of two steps is there, too
    assert rows["loss"][-1] == steps - 1.5


def test_an_interrupted_training_writes_the_same_curve(tmp_path: Path) -> None:
    steps = SINGLE + 2 * ROWS
    whole, resumed = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    written(whole, steps)
    written(resumed, steps, stop=SINGLE + 1)  # within a mean of two steps
    assert whole.read_bytes() == resumed.read_bytes()
