"""Jobs in bfloat16: what receipts say, what stays float32, and that a training resumes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from reclip.cli.stages import run_stage
from reclip.clip.feature_cache import FeatureCache
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.device import precision
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import read_receipt, why_stale
from reclip.stages import distill
from support.tiny_experiment import TINY, merged

SEEDS = {"rectify": [0], "distill": [0], "probe": [0]}


def plan_in(setting: str) -> Plan:
    """Return the plan of the tiny experiment in a precision; its settings file is written."""
    changes = {"compute": {"precision": setting}, "seeds": SEEDS, "tables": None, "check": None}
    params = merged(TINY, changes)
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return Plan(validate(Params, params))


def make(plan: Plan) -> None:
    for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
        run_stage(plan, stage, "voc")
    run_stage(plan, "rectify", "ref-pe", 0)
    run_stage(plan, "pseudo-mask", "ref-pe", 0)
    run_stage(plan, "distill", "distill", 0)
    run_stage(plan, "probe", "probe", 0)
    for run in ("ref-pe", "distill", "probe"):
        run_stage(plan, "evaluate", run, 0)


@pytest.fixture(scope="module", autouse=True)
def has_bfloat16():
    """A processor that has bfloat16, whichever this is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
        precision.resolve.cache_clear()
        yield
    precision.resolve.cache_clear()


@pytest.fixture(scope="module")
def plans(tmp_path_factory) -> dict[str, tuple[Plan, Path]]:
    """The plan and the folder of finished experiments in float32 and in `auto`."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for setting in ("float32", "auto"):
            folder = tmp_path_factory.mktemp(setting)
            patch.chdir(folder)
            found[setting] = plan_in(setting), folder
            make(found[setting][0])
    return found


def test_receipts_say_what_auto_was(plans, monkeypatch) -> None:
    """Of the stages whose networks it decides; of no other."""
    plan, folder = plans["auto"]
    monkeypatch.chdir(folder)
    jobs = [plan.job("cache-features", "voc"), plan.job("distill", "distill", 0)]
    jobs += [plan.job("probe", "probe", 0), plan.job("evaluate", "distill", 0)]
    assert [read_receipt(job.receipt).get("precision") for job in jobs] == ["bfloat16"] * 4
    assert all(why_stale(job) is None for job in jobs)
    others = [plan.job("embed-text", "voc"), plan.job("rectify", "ref-pe", 0)]
    others.append(plan.job("evaluate", "ref-pe", 0))
    assert not any("precision" in read_receipt(job.receipt) for job in others)


def test_float32_needs_no_note(plans, monkeypatch) -> None:
    plan, folder = plans["float32"]
    monkeypatch.chdir(folder)
    assert "precision" not in read_receipt(plan.job("distill", "distill", 0).receipt)


def test_the_features_differ_and_the_texts_do_not(plans) -> None:
    tokens, texts = [], []
    for plan, folder in plans.values():
        cache = FeatureCache(folder / plan.job("cache-features", "voc").folder)
        tokens.append(np.asarray(cache.view_batch(0, np.arange(6))[0]))
        texts.append(folder / plan.job("embed-text", "voc").folder / "weights.safetensors")
    assert texts[0].read_bytes() == texts[1].read_bytes()
    cosines = (tokens[0].astype(np.float32) * tokens[1].astype(np.float32)).sum(-1)
    assert not np.array_equal(*tokens) and cosines.max() > 0.99
    assert cosines[cosines != 0].min() > 0.99


def test_a_change_of_precision_makes_results_stale(plans, monkeypatch) -> None:
    _, folder = plans["float32"]
    monkeypatch.chdir(folder)
    plan = plan_in("bfloat16")
    for job in (plan.job("cache-features", "voc"), plan.job("distill", "distill", 0)):
        assert "precision float32 → bfloat16" in why_stale(job)
    plan_in("float32")


def test_a_stopped_training_in_bfloat16_ends_with_the_same_bytes(
    plans, tmp_path, monkeypatch
) -> None:
    plan, folder = plans["auto"]
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("RECLIP_CHECKPOINT_SECONDS", "0")
    job, plain, steps = plan.job("distill", "distill", 0), distill.losses, []
    wanted = (job.folder / "weights.safetensors").read_bytes()
    shutil.rmtree(job.folder)

    def stopping(*arguments):
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(distill, "losses", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_stage(plan, "distill", "distill", 0)
    assert not (job.folder / "weights.safetensors").exists()
    run_stage(plan, "distill", "distill", 0)
    assert len(steps) == 3 + 2  # of four, the third of which was stopped
    assert (job.folder / "weights.safetensors").read_bytes() == wanted
