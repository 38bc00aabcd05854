"""Stage `package`: copy a trained model into a folder with its description and card."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open

from reclip.common.files import atomic, file_sha256, read_json, result, write_json, write_text
from reclip.data.images import palette
from reclip.data.index import DataSet
from reclip.data.reading import MEAN_STD
from reclip.distill import OUTPUT_STRIDE
from reclip.inference.card import model_card, sources_of
from reclip.inference.model_info import CARD, FORMAT, INFO, WEIGHTS, ClipWeights, ModelInfo
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.weights.releases import clip_release

DECODED_SCALE = 10.0
"""Of ReCLIP++'s logits before a softmax at inference (official code). They are no cosines."""


def main(job: Job) -> None:
    """Write model.safetensors, model.json and README.md. Needs no torch."""
    data = DataSet(job.inputs["data"].folder)
    weights, info_file, card = (job.folder / name for name in (WEIGHTS, INFO, CARD))
    with atomic(weights) as partial:
        shutil.copyfile(job.inputs["model"].folder / WEIGHTS_FILE, partial)
    info = describe(job, data, weights)
    write_json(info_file, info.model_dump(mode="json"))
    metrics = None
    if "metrics" in job.inputs:
        path = job.inputs["metrics"].outputs[0]
        with result(path):
            metrics = read_json(path)
    write_text(card, model_card(info, job, data.facts, metrics))
    finish(job, [weights, info_file, card])


def describe(job: Job, data: DataSet, weights: Path) -> ModelInfo:
    """Return the description of a run's weights, for model.json."""
    settings = job.settings
    clip, trained = settings["clip"], settings["trained"]
    student = settings["method"] == "distill"
    if student:
        clip_weights = None
        with safe_open(weights, framework="numpy") as file:  # the scale of the training
            scale = json.loads(file.metadata()["reclip_student"])["head"]["logit_scale"]
    else:
        scale = DECODED_SCALE if trained.model == "reclip++" else 1 / trained.tau
        clip_weights = ClipWeights(settings=clip, sha256=clip_sha256(settings))
    mean, std = MEAN_STD[clip.norm]
    flat = palette(data.num_classes)
    return ModelInfo(
        format=FORMAT,
        kind="student" if student else "rectified-clip",
        classes=data.class_names,
        palette=[flat[3 * k : 3 * k + 3] for k in range(data.num_classes)],
        image=settings["image"],
        norm=clip.norm,
        mean=mean,
        std=std,
        stride=OUTPUT_STRIDE if student else None,
        logit_scale=scale,
        denoising=settings["denoising"],
        clip=clip_weights,
        sources=sources_of(settings),
        run=job.id,
        experiment=settings["experiment"],
        seed=settings["seed"],
        sha256=file_sha256(weights),
        digest=job.inputs["model"].digest,
    )


def clip_sha256(settings: dict[str, Any]) -> str | None:
    """Return the sha256 of the CLIP weights' file; None if it is not known.

    For weights named by a tag, it is known only for OpenAI's.
    """
    if re.fullmatch(r"[0-9a-f]{64}", settings["weights"]):
        return settings["weights"]
    clip = settings["clip"]
    release = clip_release(clip.model) if clip.pretrained == "openai" else None
    return release.sha256 if release else None
