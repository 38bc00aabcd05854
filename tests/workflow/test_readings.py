"""A dataset `of` another: the same photos and labels, read in another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from reclip.cli.stages import run_stage
from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.data.index import DataSet
from reclip.pipeline.plan import Plan
from reclip.tracking import records
from support.tiny_experiment import TINY, merged

READING = {
    "clip": {"residual": False, "mlp": False},
    "datasets": {
        "voc-naclip": {
            "of": "voc",
            "clip": {"attention": "naclip"},
            "image": {"protocol": "slide", "window": 32, "stride": 16},
            "views": {"crop": 32},
        }
    },
    "runs": {
        "naclip": {"dataset": "voc-naclip", "method": "query"},
        "naclip-ref-pe": {"dataset": "voc-naclip", "method": "rectify"},
        "naclip-distill": {
            "dataset": "voc-naclip",
            "method": "distill",
            "teacher": "naclip-ref-pe",
        },
    },
}


def plan_of(changes: dict) -> Plan:
    return Plan(validate(Params, merged(merged(TINY, READING), changes)))


def test_photos_and_hypotheses_are_shared() -> None:
    plan = plan_of({})
    assert plan.ids("prepare") == plan.ids("cache-features") == ["voc", "voc-naclip"]
    assert plan.ids("hypothesise") == ["voc"]
    for stage in ("rectify", "evaluate"):
        own = plan.job(stage, "naclip-ref-pe", 0)
        assert own.inputs["hypotheses"] is plan.job("hypothesise", "voc")
        assert own.inputs["features"] is plan.job("cache-features", "voc-naclip")


def test_only_the_reading_differs() -> None:
    plan = plan_of({})
    own, other = (plan.experiment.clip_of(dataset) for dataset in ("voc", "voc-naclip"))
    assert (own.attention, other.attention) == ("value", "naclip")
    assert own.model_copy(update={"attention": "naclip"}) == other
    changed = plan_of({"datasets": {"voc-naclip": {"clip": {"attention": "kk"}}}})
    stale = {
        job.id for job in plan.jobs if job.digest != changed.job(job.stage, job.id, job.seed).digest
    }
    assert stale == {"voc-naclip", "naclip", "naclip-ref-pe", "naclip-distill", "tiny"}


def test_it_is_trained_as_the_dataset_that_it_is_of() -> None:
    """Its reading is its own."""
    own = {"rectify": {"epochs": 7, "batch": 3}, "views": {"crop": 40}}
    plan = plan_of({"datasets": {"voc": own, "voc-naclip": {"rectify": {"batch": 2}}}})
    rectify = plan.experiment.rectify("naclip-ref-pe")
    assert (rectify.epochs, rectify.batch) == (7, 2)
    assert plan.experiment.section("voc-naclip", "views").crop == 32


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"of": "vocc"}, "'datasets.other.of': no dataset 'vocc' with a source; did you mean"),
        ({"of": "voc-naclip"}, "no dataset 'voc-naclip' with a source"),
        ({}, "give `source`, or `of`"),
        ({"of": "voc", "hypotheses": {"threshold": 1}}, "all readings of the same photos share"),
        ({"of": "voc", "clip": {"model": "ViT-B-16"}}, "`clip.model` is the same for all"),
        ({"of": "voc", "clip": {"attention": "naclp"}}, "datasets.other.clip.attention"),
    ],
)
def test_a_wrong_reading_is_refused(dataset: dict, said: str) -> None:
    with pytest.raises(ReclipError, match=said):
        plan_of({"datasets": {"other": dataset}})


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Plan:
    """All jobs of the readings' runs, made in a project folder of their own."""
    folder = tmp_path_factory.mktemp("readings")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = merged(merged(TINY, READING), {"check": None})
        Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        plan = Plan(validate(Params, params))
        goals = [plan.job("gather", run) for run in READING["runs"]]
        needed = {job for goal in goals for job in goal.with_all_before}
        for job in plan.jobs:
            if job in needed:
                run_stage(plan, job.stage, job.id, job.seed)
        yield plan


def test_its_runs_are_trained_and_measured(made: Plan) -> None:
    own, other = (DataSet(made.job("prepare", d).folder) for d in ("voc", "voc-naclip"))
    assert list(own.items("val")) == list(other.items("val"))
    assert own.facts == other.facts
    assert made.job("prepare", "voc-naclip").receipt.is_file()
    for run in READING["runs"]:
        metrics = read_json(made.job("gather", run).outputs[0])
        assert metrics["protocol"].startswith("slide 32/16")
        assert 0 <= metrics["seeds"][0]["miou"] < 100


def test_windows_have_the_features_of_their_own_extractor(made: Plan) -> None:
    caches = [FeatureCache(made.job("cache-features", d).folder) for d in ("voc", "voc-naclip")]
    whole, windows = (cache.pieces("val", 0) for cache in caches)
    assert len(whole) == 1 < len(windows)
    assert all(z.shape[:2] == (4, 4) for _, z in windows)
    assert not np.allclose(whole[0][1][:4, :4], windows[0][1], atol=1e-2)


def test_a_reading_has_no_image_level_features(made: Plan) -> None:
    """The hypotheses are of its origin's."""
    own, other = (
        [np.load(path) for path in made.job("cache-features", d).folder.rglob("global.npy")]
        for d in ("voc", "voc-naclip")
    )
    assert sum(map(len, own)) == 10 and sum(map(len, other)) == 0


def test_mlflow_hears_whose_photos_they_are(made: Plan) -> None:
    found = [
        records.child(made, made.job("cache-features", dataset)).data
        for dataset in ("voc", "voc-naclip")
    ]
    assert [data["name"] for data in found] == ["voc", "voc-naclip"]
    assert found[0]["source"] == found[1]["source"]
