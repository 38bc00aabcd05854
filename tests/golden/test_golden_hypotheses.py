"""Hypotheses of the untouched CLIP, and features of the changed one, under both sides of `compat`.

The stages read VOC's archive and a weights file as in preset `paper`. Dense features come from the
CLIP that the official code changed (GELU, ImageNet's mean, 512 pixels); image-level hypotheses from
the CLIP that was trained, on its own centre crop. The thresholds were set for the latter.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from golden.test_golden_maps import write_archive
from reclip.cli.stages import run_stage
from reclip.clip.feature_cache import FeatureCache
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish
from reclip.rectify.hypotheses import hypothesise, score_shards
from reclip.rectify.model import Rectifier
from support import seeded

PARAMS = """
experiment: golden
compat: SIDE
compute: {device: cpu, threads: 2}
clip: {model: ViT-B-16-quickgelu, checkpoint: seeded.pt}
views: {count: 1, crop: 64}
tracking: {enabled: false}
datasets:
  voc: {source: {kind: voc, archive: voc.tar}}
runs:
  query: {dataset: voc, method: query}
"""


@pytest.fixture(scope="module", params=["paper", "official"])
def plan(request, photo, expected, w_query, tmp_path_factory):
    """The plan, after hypothesise. The texts are the official code's, to save a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp(request.param))
        state = {name: torch.from_numpy(t) for name, t in seeded.clip_state().items()}
        torch.save(state, "seeded.pt")
        Path("params.yaml").write_text(PARAMS.replace("SIDE", request.param))
        write_archive(Path("voc.tar"), [expected["photo"]["id"]], ["2007_000032"])
        plan = Plan.load()
        text = plan.job("embed-text", "voc")
        text.folder.mkdir(parents=True)
        Rectifier(w_query).save(text.folder / WEIGHTS_FILE)
        for stage in ("fetch", "prepare"):
            run_stage(plan, stage, "voc")
        finish(text, [text.folder / WEIGHTS_FILE])
        for stage in ("cache-features", "hypothesise"):
            run_stage(plan, stage, "voc")
        yield plan


def test_the_image_level_features_are_the_untouched_clips(plan, arrays) -> None:
    (vectors,) = FeatureCache(plan.job("cache-features", "voc").folder).globals("val")
    wanted = arrays["head"]["pseudo_image_embedding"]
    np.testing.assert_allclose(vectors[0].numpy(), wanted, rtol=0, atol=1e-4)


def test_the_dense_features_are_the_changed_ones(plan, arrays, expected) -> None:
    features = FeatureCache(plan.job("cache-features", "voc").folder)
    ((_, z),) = features.pieces("val", 0)
    assert list(z.shape[:2]) == expected["r0"]["grid_hw"]
    index = arrays["r0"]["dense_features_l2__idx"]
    ours = z.permute(2, 0, 1).reshape(-1)[torch.from_numpy(index).long()].numpy()
    rounding = 5e-4 if plan.params.compat == "paper" else 1e-5  # float16 on disk
    theirs = arrays["r0"]["dense_features_l2__val"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=rounding)


def test_the_classes_are_the_official_codes(plan, expected) -> None:
    path = plan.job("hypothesise", "voc").folder / "val.csv"
    with open(path, newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["id"] == expected["photo"]["id"]
    assert [int(k) for k in row["classes"].split()] == expected["head"]["hypotheses"]


def test_the_scores_are_the_official_codes(plan, w_query, arrays) -> None:
    features = FeatureCache(plan.job("cache-features", "voc").folder)
    (scores,) = score_shards(features, "val", w_query)
    np.testing.assert_allclose(scores[0].numpy(), arrays["head"]["pseudo_logits"], atol=1e-4)
    found = hypothesise(scores, 4.1622, 2)[0]  # which exactly five classes pass
    assert found.nonzero().ravel().tolist() == [6, 8, 12, 14, 16]
