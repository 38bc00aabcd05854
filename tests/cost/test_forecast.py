"""Time before it starts: both recipes of the paper's updates, and a forecast for own photos."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reclip.config.load import validate
from reclip.config.params import Params
from reclip.cost import forecast as module
from reclip.cost import machines
from reclip.cost.forecast import SLOW_GPU, Forecast
from reclip.cost.machines import GPUS
from reclip.cost.report import cost_markdown, cost_text, recipes_table
from reclip.pipeline.plan import Plan
from reclip.presets import preset_text

OWN = """
experiment: own
compute: {device: cpu, threads: 2}
clip: {model: mini-clip}
views: {count: 1, crop: 64}
rectify: {epochs: 10}
distill: {backbone: resnet10t, pretrained: false, epochs: 5, feature_resolution: grid}
seeds: {rectify: [0], distill: [0]}
datasets: {photos: {source: {kind: folder, images: nowhere, classes: [cat, dog]}}}
runs:
  rectified: {dataset: photos, method: rectify}
  distilled: {dataset: photos, method: distill, teacher: rectified}
"""


def sizes(photos: int) -> dict:
    return {"train": {(48, 64): photos}, "val": {}}


# ---------------------------------------------------------------- own photos


def test_more_photos_take_longer_and_none_is_read() -> None:
    """The folder does not exist: the sizes of a sample are enough."""
    forecast = Forecast(measure=False)
    few, many = (forecast.hours(OWN, sizes(number)) for number in (64, 640))
    assert 0 < few < many < 10 * few
    assert forecast.basis == "if this machine is a slow one"


def test_the_machine_is_measured_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    times = []

    def measure(facts, dataset):
        times.append(dataset)
        return machines.cpu(1000)

    monkeypatch.setattr(module, "calibrate", measure)
    forecast = Forecast(measure=True)
    slow = Forecast(measure=False).hours(OWN, sizes(640))
    assert forecast.hours(OWN, sizes(640)) < slow / 2
    forecast.hours(OWN.replace("epochs: 10", "epochs: 20"), sizes(64))
    assert times == ["photos"]


def test_without_measuring_a_slow_gpu_is_assumed(monkeypatch) -> None:
    given = OWN.replace("device: cpu", "device: auto")
    on_a_cpu = Forecast(measure=False).hours(given, sizes(6400))
    monkeypatch.setattr(module, "uses_gpu", lambda compute: True)
    on_a_gpu = Forecast(measure=False).hours(given, sizes(6400))
    assert on_a_gpu < on_a_cpu and SLOW_GPU in GPUS


# ---------------------------------------------------------------- the paper's two recipes


@pytest.fixture(scope="module")
def paper() -> Plan:
    return Plan(validate(Params, yaml.safe_load(preset_text("paper"))))


def test_both_recipes_have_their_updates(paper: Plan) -> None:
    table = recipes_table(paper, "h100", None).set_index("recipe")
    rows = ["faithful (chosen)", "faithful, compiled", "batched", "batched, compiled"]
    assert table.index.tolist() == rows
    # VOC 1464 photos and 4 runs, Context 4996 and 4, ADE20K 20210 and 3; three seeds of each.
    faithful = 3 * (4 * 200 * 1464 + 4 * 150 * 4996 + 3 * 150 * 20210)
    batched = 3 * (4 * 200 * 92 + 4 * 150 * 313 + 3 * 150 * 1264)
    assert table["updates"].tolist() == [f"{n:,}" for n in (faithful, faithful, batched, batched)]
    assert table["rectify jobs"].tolist() == ["33"] * 4
    hours = table.filter(like="hours").map(lambda text: float(text.replace(",", "")))
    assert (hours.loc["faithful (chosen)"] > hours.loc["batched"]).all()
    for name in ("faithful (chosen)", "batched"):  # a launch in place of 1,500
        assert (hours.loc[name] > hours.loc[f"{name.removesuffix(' (chosen)')}, compiled"]).all()


def test_the_cost_of_the_paper_shows_them(paper: Plan) -> None:
    text = cost_text(paper, measure=False)
    assert "faithful (chosen)" in text and "batched" in text
    markdown = cost_markdown(paper, use_index=False)
    assert "| faithful (chosen) | 1 | 0.01 | 33 |" in markdown
    assert "| batched | 16 | 0.16 | 33 |" in markdown


def test_settings_without_a_recipe_show_none(tiny_plan) -> None:
    assert recipes_table(tiny_plan(), "h100", None).empty
    assert "recipe" not in cost_markdown(tiny_plan())
