"""ReCLIP++ through the stages: masks, a student, metrics, a packaged model and its predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reclip.clip.feature_cache import FeatureCache
from reclip.data.index import DataSet
from reclip.evaluate.predictors import predictor
from reclip.inference.model_info import read_folder
from reclip.pipeline.plan import Plan
from support.at_the_shell import reclip
from support.finished import OF_DATASET, finish
from support.predicting import predict, written

CHANGES = {
    "rectify": {"model": "reclip++", "gumbel_scale": 100},
    "distill": {"head": "query"},
    "pseudo_mask": {"prompt_denoising": True},
    "evaluate": {"prompt_denoising": True, "denoising_scale": 10, "denoising_threshold": 0.3},
    "seeds": {"rectify": [0]},
    "probe": None,
    "runs": {"probe": None},
    "check": None,
}
STAGES = (
    *OF_DATASET,
    *[(stage, "--run", "ref-pe", "--seed", "0") for stage in
      ("rectify", "pseudo-mask", "evaluate")],
    *[(stage, "--run", "distill", "--seed", "0") for stage in ("distill", "evaluate")],
    *[(stage, "--run", run) for run in ("ref-pe", "distill") for stage in ("gather", "package")],
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plus")
    finish(folder, CHANGES, STAGES)
    return folder / "results/tiny"


def test_both_runs_have_metrics_and_the_training_its_health(trained: Path) -> None:
    for run in ("ref-pe", "distill"):
        metrics = json.loads((trained / f"runs/{run}/metrics.json").read_text())
        assert 0 < metrics["miou"]["mean"] < 100
    receipt = json.loads((trained / "runs/ref-pe/rectify/seed-0/receipt.json").read_text())
    assert receipt["health"]["positional"] > 0


def test_the_description_has_a_scale_of_its_own(trained: Path) -> None:
    """The logits are no cosines."""
    model = trained / "runs/ref-pe/model"
    info = read_folder(model)
    assert (info.kind, info.logit_scale, info.denoising.denoising_threshold) == (
        "rectified-clip", 10.0, 0.3
    )  # fmt: skip
    card = (model / "README.md").read_text()
    assert "(ReCLIP++, by the authors of ReCLIP" in card and "model reclip++" in card


def test_a_packaged_model_predicts_what_the_evaluation_does(
    trained: Path, here: Path, monkeypatch
) -> None:
    photo = trained / "data/voc/images/val-00000.png"
    said = predict(trained / "runs/ref-pe/model", photo, "--out", "predictions")
    assert said.code == 0, said
    (mask,) = [name for name in written() if name.startswith("masks/")]
    found = np.asarray(Image.open(Path("predictions", mask)))
    monkeypatch.chdir(trained.parents[1])
    job = Plan.load("params.yaml").job("evaluate", "ref-pe", 0)
    item = DataSet(job.inputs["data"].folder).items("val")[0]
    features = FeatureCache(job.inputs["features"].folder)
    wanted = predictor(job, features, torch.device("cpu"))(0, item).numpy()
    assert (found == wanted).mean() > 0.999  # cached features are rounded to float16
    assert len(np.unique(wanted)) > 1


def test_only_a_student_is_exported(trained: Path, here: Path) -> None:
    said = reclip("export", "--model", str(trained / "runs/ref-pe/model"), "--onnx", "a.onnx")
    assert said.code != 0 and "distil it into one" in said.err
    exported = reclip("export", "--model", str(trained / "runs/distill/model"), "--onnx", "a.onnx")
    assert exported.code == 0, exported


def test_heat_maps_show_the_bias_as_one(trained: Path, monkeypatch) -> None:
    monkeypatch.chdir(trained.parents[1])
    said = reclip("figure", "heatmaps", "ref-pe", "-o", "h.png")
    assert said.code == 0, said
    caption = Path("h.txt").read_text()
    assert "decoded from the features and Query − bias" in caption
    assert "has no" not in caption
