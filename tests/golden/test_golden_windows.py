"""Hypotheses on windows against those of ReCLIP++'s code, with the untouched CLIP."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reclip.cli.stages import run_stage
from reclip.clip.feature_cache import FeatureCache
from reclip.clip.window_vectors import cache_windows
from reclip.data.images import write_image
from reclip.data.index import Item
from reclip.data.layouts.class_names import VOC_CLASSES
from reclip.data.window_grid import WindowGrid
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish
from reclip.rectify.hypotheses import window_scores
from reclip.rectify.model import Rectifier
from support import seeded
from support.golden_files import DATA

# The dense features come from a changed CLIP, which the windows must not see.
PARAMS = {
    "experiment": "golden",
    "compute": {"device": "cpu", "threads": 2},
    "clip": {
        "model": "ViT-B-16-quickgelu",
        "checkpoint": "seeded.pt",
        "activation": "gelu",
        "block_ln_eps": 1e-6,
        "norm": "imagenet",
    },
    "image": {"short_side": 32},
    "views": {"count": 1, "crop": 32},
    "hypotheses": {"image": "windows", "window": 56, "stride": 28},
    "tracking": {"enabled": False},
    "datasets": {
        "voc": {
            "source": {
                "kind": "folder",
                "images": "photos",
                "classes": [list(names) for names in VOC_CLASSES],
            }
        }
    },
    "runs": {"query": {"dataset": "voc", "method": "query"}},
}


@pytest.fixture(scope="module")
def stored() -> dict:
    stored = json.loads((DATA / "strong.json").read_text())["2007_001594"]["windows"]
    assert (stored["window"], stored["stride"]) == (56, 28)
    return stored


def test_the_windows_are_the_official_codes(stored) -> None:
    found = WindowGrid(window=56, stride=28).windows(*stored["photo_hw"])
    assert len(found) == stored["windows"] == len(stored["argmax_per_window"])


def test_the_first_row_of_windows_has_the_official_winners(
    photo, stored, clips, w_query, tmp_path
) -> None:
    row = photo[: 56 + 28]
    write_image(tmp_path / "row.png", row)
    item = Item("row", tmp_path / "row.png", *row.shape[:2])
    grid = WindowGrid(window=56, stride=28)
    cache_windows(clips["clip"], [item], grid, 0, tmp_path / "global.npy")
    vectors = torch.from_numpy(np.load(tmp_path / "global.npy"))
    features = SimpleNamespace(window_globals=lambda split: iter([vectors]))
    (scores,) = window_scores(features, "train", w_query)
    assert len(scores) == 16
    assert scores.argmax(1).tolist() == stored["argmax_per_window"][:16]


@pytest.fixture(scope="module")
def ran(photo, w_query, tmp_path_factory):
    """The plan after hypothesise, of the photo and of one that is smaller than a window.

    The texts are the official code's, to save a minute.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("windows"))
        state = {name: torch.from_numpy(t) for name, t in seeded.clip_state().items()}
        torch.save(state, "seeded.pt")
        write_image(Path("photos/a-part.png"), photo[:40, :50])
        write_image(Path("photos/whole.png"), photo)
        Path("params.yaml").write_text(json.dumps(PARAMS))
        plan = Plan.load()
        text = plan.job("embed-text", "voc")
        text.folder.mkdir(parents=True)
        Rectifier(w_query).save(text.folder / WEIGHTS_FILE)
        run_stage(plan, "prepare", "voc")
        finish(text, [text.folder / WEIGHTS_FILE])
        for stage in ("cache-features", "hypothesise"):
            run_stage(plan, stage, "voc")
        yield plan


@pytest.mark.slow
def test_the_stages_give_the_official_codes_winners(ran, stored, w_query) -> None:
    features = FeatureCache(ran.job("cache-features", "voc").folder)
    part, whole = window_scores(features, "train", w_query)
    assert len(part) == 1
    best = whole.argmax(1).tolist()
    assert best == stored["argmax_per_window"]
    assert list(dict.fromkeys(best)) == stored["winners_in_order"]
    two = whole.topk(2).values
    margin = float((two[:, 0] - two[:, 1]).min())
    assert margin == pytest.approx(stored["smallest_margin"], abs=1e-4)
    path = ran.job("hypothesise", "voc").folder / "train.csv"
    with open(path, newline="") as stream:
        first, second = csv.DictReader(stream)
    assert [int(k) for k in first["classes"].split()] == part.argmax(1).tolist()
    assert [int(k) for k in second["classes"].split()] == sorted(stored["winners_in_order"])
