"""Stage hypothesise on windows: each photo's winners in both splits, under its own id."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from reclip.cli.stages import run_stage
from reclip.clip.extract import centre_crop_embedding
from reclip.clip.load import load_clip
from reclip.clip.shards import ShardFolder
from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.config.models import ClipSettings
from reclip.data.images import read_image
from reclip.data.index import DataSet
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.plan import Plan
from reclip.rectify.model import Rectifier

WINDOW, STRIDE = 20, 11


@pytest.fixture
def ran(project: Path, tiny_plan, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The tiny experiment after hypothesise, from features in shards of three photos."""
    monkeypatch.setattr("reclip.clip.shards.SHARD_PHOTOS", 3)
    on_windows = {"image": "windows", "window": WINDOW, "stride": STRIDE}
    plan = tiny_plan({"hypotheses": on_windows, "image": {"short_side": 32}})
    for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
        run_stage(plan, stage, "voc")
    return plan


def winners_of(photo: np.ndarray, plan: Plan) -> list[int]:
    """The classes that win a window, one window after the other."""
    clip = load_clip(ClipSettings(model="mini-clip"))
    text = plan.job("embed-text", "voc").folder / WEIGHTS_FILE
    height, width = photo.shape[:2]
    found = set()
    for top in range(0, height - WINDOW, STRIDE):
        for left in range(0, width - WINDOW, STRIDE):
            window = photo[top : top + WINDOW, left : left + WINDOW]
            vector = torch.nn.functional.normalize(centre_crop_embedding(clip, window), dim=0)
            found.add(int((Rectifier.load(text).w_query @ vector).argmax()))
    return sorted(found)


@pytest.mark.parametrize("split", ["train", "val"])
def test_each_photo_has_the_winners_of_its_windows(ran: Plan, split: str) -> None:
    items = DataSet(ran.job("prepare", "voc").folder).items(split)
    with open(ran.job("hypothesise", "voc").folder / f"{split}.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == list(items.ids)
    found = [[int(k) for k in row["classes"].split()] for row in rows]
    assert found == [winners_of(read_image(item.image), ran) for item in items]
    assert len({tuple(classes) for classes in found}) > 1  # the photos differ


def test_what_follows_takes_them_as_any_other(ran: Plan) -> None:
    run_stage(ran, "rectify", "ref-pe", 0)
    run_stage(ran, "evaluate", "query")
    hypotheses = read_json(ran.job("evaluate", "query").folder / "scores.json")["hypotheses"]
    assert hypotheses["mean_per_image"] >= 1


def test_the_manifest_says_what_the_windows_are(ran: Plan) -> None:
    manifest = read_json(ran.job("cache-features", "voc").folder / "manifest.json")
    assert manifest["hypothesis_windows"] == {"window": WINDOW, "stride": STRIDE}


def test_features_that_lost_their_bytes_are_one_sentence(ran: Plan) -> None:
    job = ran.job("cache-features", "voc")
    path = ShardFolder(job.folder, job.digest).path / "val-00001/global.npy"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ReclipError, match=r"val-00001/global.npy' is damaged: run its stage again"):
        run_stage(ran, "hypothesise", "voc", force=True)
