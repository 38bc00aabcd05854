from __future__ import annotations

import csv
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reclip.evaluate.figures import preference, style
from reclip.evaluate.figures.measured import COLUMNS, Measured
from reclip.evaluate.statistics import summarise

NAMES = ("cat", "dog", "bird")


def measured(dataset: str, role: str, seeds: int) -> preference.Preference:
    """A run whose masks take `seeds` random shares of cats for dogs."""
    rng = np.random.default_rng(seeds)
    confusion = np.tile(np.diag([50, 50, 50]), (seeds, 1, 1))
    taken = rng.integers(5, 30, seeds)
    confusion[:, 0, 0] -= taken
    confusion[:, 0, 1] += taken
    rings = np.full((seeds, 4, 3, 3), 10)
    rings[:, :, 0] = rng.integers(0, 10, (seeds, 4, 3))
    return preference.measure(dataset, role, f"{dataset}-{role}", confusion, rings, NAMES)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_measure_has_a_row_with_its_interval_and_seeds(tmp_path: Path) -> None:
    several, single = measured("voc", "rectified", 3), measured("voc", "query", 1)
    preference.write(tmp_path, [single, several])
    found = rows(tmp_path / preference.TABLE)
    assert tuple(found[0]) == COLUMNS
    edges = ("0.0000", "0.2500", "0.5000", "0.7500", "1.0000")
    measures = ["total variation", "asymmetry", "drop", "slope"]
    measures += [f"mIoU {low} to {high}" for low, high in pairwise(edges)]
    assert [row["measure"] for row in found] == 2 * measures
    assert all(row["low"] == row["high"] == "" for row in found[: len(measures)])
    row = found[len(measures)]
    values = several.values["total variation"]
    summary = summarise(values.tolist())
    assert (row["method"], row["run"], row["seeds"]) == ("rectified", "voc-rectified", "3")
    for key in ("mean", "low", "high"):
        assert float(row[key]) == pytest.approx(summary[key], abs=1e-4)
    assert [float(v) for v in row["values"].split()] == pytest.approx(values.tolist(), abs=1e-4)


def test_the_most_one_sided_pairs_are_named(tmp_path: Path) -> None:
    preference.write(tmp_path, [measured("voc", "query", 1)])
    (row,) = rows(tmp_path / preference.PAIR_TABLE)
    assert (row["rank"], row["class"], row["taken for"]) == ("1", "cat", "dog")
    assert float(row["percent"]) == float(row["difference"]) > float(row["reverse"]) == 0


def test_a_panel_a_measure_and_a_curve_a_run(tmp_path: Path) -> None:
    found = [measured(d, r, 1 if r == "query" else 3) for d in ("voc", "ade")
             for r in ("query", "reference", "rectified", "distilled")]  # fmt: skip
    found = [one for one in found if (one.dataset, one.role) != ("ade", "reference")]
    with style.applied():
        figure = preference.draw(found)
        style.save(figure, tmp_path / "p.png")
    bars, curves = figure.axes[:3], figure.axes[3:]
    assert [len(ax.patches) for ax in bars] == [7, 7, 7]
    assert [ax.get_title() for ax in curves] == [
        "voc: mIoU, centre to corner",
        "ade: mIoU, centre to corner",
    ]
    assert [len(ax.lines) for ax in curves] == [4, 3]
    assert [len(ax.collections) for ax in curves] == [3, 2]  # bands of the runs with seeds
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "Query", "+ Reference", "rectified (+ Reference + PE)", "distilled",
    ]  # fmt: skip


def test_a_measure_without_value_is_empty() -> None:
    row = Measured("voc", "drop", "query", "run", np.array([math.nan, 1.0])).row
    assert row[5:] == ("", "", "", "nan 1.0000")
