"""Every stage runs with CLIP's other backbones: real widths, two layers a tower, seeded weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import read_label
from reclip.data.reading import MEAN_STD
from reclip.inference.onnx_export import export_onnx
from reclip.inference.segmenter import Segmenter
from support.at_the_shell import reclip
from support.short_clip import save_seeded, short
from support.tiny_experiment import TINY, merged

STAGES = (
    *[(stage, "--dataset", "voc") for stage in
      ("prepare", "embed-text", "cache-features", "hypothesise")],
    *[(stage, "--run", "ref-pe", "--seed", "0") for stage in ("rectify", "pseudo-mask")],
    ("distill", "--run", "distill", "--seed", "0"),
    *[("evaluate", "--run", run, "--seed", "0") for run in ("ref-pe", "distill")],
    *[(stage, "--run", run) for run in ("ref-pe", "distill") for stage in ("gather", "package")],
)  # fmt: skip

SLIDE = {"protocol": "slide", "window": 64, "stride": 40}


class Backbone(NamedTuple):
    """model: of open_clip. patch, width, dim: its. changes: of the settings."""

    model: str
    patch: int
    width: int
    dim: int
    changes: dict[str, Any]


BACKBONES = (
    Backbone("ViT-B-32", 32, 768, 512, {"image": SLIDE, "hypotheses": {"image": "centre_crop"}}),
    Backbone(
        "ViT-L-14", 14, 1024, 768,
        {"clip": {"norm": "inception"}, "distill": {"head": "query_reference_positional"}},
    ),
    Backbone(
        "ViT-L-14-336-quickgelu", 14, 1024, 768,
        {
            "image": SLIDE, "clip": {"attention": "naclip", "residual": False, "mlp": False},
            "rectify": {"model": "reclip++"},
            "distill": {"feature_resolution": "image", "head": "query"},
        },
    ),
)  # fmt: skip


EXPORTED = "ViT-L-14"  # as ONNX: one is enough, because an export takes ten seconds


class Done(NamedTuple):
    """A finished experiment: its results, its backbone, and `reclip plan --cost` of it."""

    results: Path
    backbone: Backbone
    cost: str


@pytest.fixture(scope="module", params=BACKBONES, ids=lambda b: b.model)
def done(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """The tiny experiment with one seed; 80 is no multiple of 14 or 32."""
    backbone, folder = request.param, tmp_path_factory.mktemp("backbone")
    with short(backbone.model), contextlib.chdir(folder):
        weights = save_seeded(folder / "weights.safetensors", backbone.model)
        own = {
            "clip": {"model": backbone.model, "checkpoint": weights},
            "views": {"crop": 80},
            "seeds": {"rectify": [0]},
            "runs": {"query": None, "probe": None},
            "probe": None, "tables": None, "check": None,
        }  # fmt: skip
        params = merged(merged(TINY, own), backbone.changes)
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        cost = reclip("plan", "--cost", "--no-calibrate")
        assert cost.code == 0, cost
        for command in STAGES:
            said = reclip(*command)
            assert said.code == 0, (command, said)
        yield Done(folder / "results/tiny", backbone, cost.out)


def test_features_have_the_patches_and_the_width_of_the_backbone(done: Done) -> None:
    features = FeatureCache(done.results / "features/voc")
    side = -(-80 // done.backbone.patch)
    assert (features.patch, features.view_side) == (done.backbone.patch, side)
    z, valid = features.view_batch(0, np.arange(2))
    assert z.shape == (2, side, side, done.backbone.dim) and valid.any()
    for window, tokens in features.pieces("val", 0):
        rows, columns = (-(-length // done.backbone.patch) for length in window[2:])
        assert tokens.shape == (rows, columns, done.backbone.dim)


def test_the_rectifier_and_the_student_have_its_width(done: Done) -> None:
    runs = done.results / "runs"
    teacher = load_file(runs / "ref-pe/model/model.safetensors")
    student = load_file(runs / "distill/model/model.safetensors")
    assert teacher["w_query"].shape[1] == done.backbone.dim
    assert any(done.backbone.dim in tensor.shape for tensor in student.values())
    net = next(t for name, t in teacher.items() if name.startswith("positional.") and t.dim() == 4)
    assert teacher["positional_embedding"].shape[1] == net.shape[1] == done.backbone.width


def test_packaged_models_segment_photos_as_the_stages_did(done: Done, tmp_path: Path) -> None:
    photo = next((done.results / "data/voc/images").glob("train-*.png"))
    norm = done.backbone.changes.get("clip", {}).get("norm", "clip")
    for run in ("ref-pe", "distill"):
        model = Segmenter.load(done.results / "runs" / run / "model", device="cpu")
        assert (model.info.norm, model.info.mean) == (norm, MEAN_STD[norm][0])
        mask = model(photo).mask
        if run == "ref-pe":
            pseudo = done.results / f"runs/ref-pe/pseudo-mask/seed-0/{photo.stem}.png"
            assert np.array_equal(mask, read_label(pseudo))
    if done.backbone.model == EXPORTED:
        found = export_onnx(done.results / "runs/distill/model", tmp_path / "student.onnx")
        assert found.same_class >= 0.999
        exported = Segmenter.load(tmp_path / "student.onnx")
        assert exported.info.norm == norm and (exported(photo).mask == mask).mean() > 0.999


def test_the_cost_is_forecast_for_each_stage(done: Done) -> None:
    for stage in ("cache-features", "rectify", "distill", "evaluate"):
        assert stage in done.cost
