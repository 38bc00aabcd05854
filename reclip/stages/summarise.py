"""Stage `summarise`: which trainings are healthy, and what was found in unlabelled photos.

No label is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from reclip.clip.feature_cache import FeatureCache
from reclip.common.files import read_json, write_json, write_text
from reclip.common.markdown import md
from reclip.common.tables import read_table
from reclip.common.templates import fill
from reclip.config.models import HypothesisSettings
from reclip.data.folder import LEFT_OUT, LEFT_OUT_COLUMNS, WARNINGS, WARNINGS_COLUMNS
from reclip.data.images import palette, read_label
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.evaluate.advice import Found, advise, in_number
from reclip.evaluate.findings import count_cells, count_pixels, pairs
from reclip.inference.gallery import Shown, write_gallery
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.hypotheses import read_hypotheses, rises, scores_of, usual_scores
from reclip.rectify.model import Rectifier

SHOWN_FILES = 10  # the file left-out.csv lists all photos that were left out

TEMPLATE = Path(__file__).with_suffix(".md.j2")
TRAININGS_TEMPLATE = Path(__file__).with_name("summarise.trainings.md.j2")

TRAININGS = "_trainings"
"""Key in summary.json beside the datasets, whose names begin with a letter or digit."""


def main(job: Job) -> None:
    """Write summary.md and gallery.html for people and summary.json for programs."""
    device = setup(job.settings["compute"])
    summaries = {
        dataset: summarise(job, dataset, settings, device)
        for dataset, settings in job.settings["datasets"].items()
    }
    trained = trainings(job)
    markdown, data, *pages = job.outputs
    texts = [_page(dataset, summary) for dataset, summary in summaries.items()]
    texts.append(fill(TRAININGS_TEMPLATE, **trained))
    write_text(markdown, "\n".join(texts))
    write_json(data, {TRAININGS: trained, **summaries})
    for page, dataset in zip(pages, job.settings["datasets"], strict=True):
        show(job, dataset, page)
    finish(job, list(job.outputs))


def _page(dataset: str, summary: dict[str, Any]) -> str:
    """Return one dataset's summary as Markdown."""
    names = [found["name"] for found in summary["classes"]]
    given = {**summary, "advice": [_in_markdown(said, names) for said in summary["advice"]]}
    ((setting, limit),) = summary["hypotheses"].items()
    return fill(
        TEMPLATE,
        **given,
        dataset=dataset,
        setting=setting,
        limit=limit,
        shown_files=SHOWN_FILES,
        in_number=in_number,
    )


def _in_markdown(sentence: str, names: list[str]) -> str:
    """Return a sentence of the advice with its names escaped; other marks in it are meant."""
    for name in names:
        sentence = sentence.replace(f"'{name}'", f"'{md(name)}'")
    return sentence


def trainings(job: Job) -> dict[str, Any]:
    """Return what the receipts of the rectified runs say of each seed, and their warnings."""
    runs: dict[str, dict[str, Any]] = {}
    said = []
    for role, other in job.inputs.items():
        if role.startswith("training of "):
            receipt = read_json(other.receipt)
            runs.setdefault(other.id, {})[str(other.seed)] = receipt["health"]
            said += receipt["warnings"]
    return {"runs": runs, "warnings": said}


def summarise(
    job: Job, dataset: str, settings: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """Return one dataset's summary, the value in summary.json."""
    folders = {
        other.stage: other.folder
        for name, other in job.inputs.items()
        if name == f"{other.stage} {dataset}"
    }
    data, features = DataSet(folders["prepare"]), FeatureCache(folders["cache-features"])
    items = data.items("train")
    query, rectified = (
        Rectifier.load(folders[stage] / WEIGHTS_FILE, device) for stage in ("embed-text", "rectify")
    )
    supposed = read_hypotheses(
        folders["hypothesise"] / "train.csv", [item.id for item in items], data.num_classes
    ).numpy()
    masks = folders["pseudo-mask"]
    pixels, shown = count_pixels(
        (read_label(masks / f"{item.id}.png") for item in items), data.num_classes
    )
    cells = count_cells(_logits(features, rectified, query, len(items)), data.num_classes)
    found = Found(
        [names[0] for names in data.class_names],
        *_compared(settings["hypotheses"], features, query.w_query.cpu()),
        supposed,
        pixels,
        shown,
        cells,
        list(pairs(query.w_query.cpu().numpy(), supposed, cells)),
    )
    left_out = [row["image"] for row in read_table(folders["prepare"] / LEFT_OUT, LEFT_OUT_COLUMNS)]
    doubts = read_table(folders["prepare"] / WARNINGS, WARNINGS_COLUMNS)
    return {
        "photos": found.photos,
        "doubtful": [row["warning"] for row in doubts],
        "left_out": left_out,
        "left_out_why": (folders["prepare"] / LEFT_OUT).as_posix(),
        "masks": masks.as_posix(),
        "hypotheses": {found.setting: found.limit},
        "classes_a_photo": {
            "mean": round(float(found.classes_a_photo.mean()), 2),
            "least": int(found.classes_a_photo.min()),
            "most": int(found.classes_a_photo.max()),
        },
        "classes": [
            {
                "name": name,
                "supposed_in_photos": int(found.in_photos[k]),
                "in_masks_of_photos": int(shown[k]),
                "percent_of_pixels": round(100 * int(pixels[k]) / max(1, int(pixels.sum())), 2),
            }
            for k, name in enumerate(found.names)
        ],
        "never_found": [found.names[k] for k in found.never],
        "competing": [
            {
                "classes": [found.names[pair.a], found.names[pair.b]],
                "text_cosine": round(pair.text, 3),
                "nearest_texts": pair.nearest,
                "percent_supposed_together": round(100 * pair.together, 1),
                "percent_of_pixels_nearly_a_tie": round(100 * pair.contested, 1),
                "percent_of_pixels_moved_by_rectification": round(100 * pair.turned, 1),
            }
            for pair in found.competing
        ],
        "advice": advise(found),
    }


def _compared(
    settings: HypothesisSettings, features: FeatureCache, w_query: torch.Tensor
) -> tuple[np.ndarray | None, str, float]:
    """Return what the hypotheses compared: `scores`, `setting` and `limit` of `Found`."""
    if settings.image == "windows":
        return None, "window", settings.window
    scores = scores_of(features, "train", w_query)
    if settings.relative:
        scores = rises(scores, usual_scores(features, w_query))
        return scores.numpy(), "relative", settings.relative
    return scores.numpy(), "threshold", settings.threshold


def show(job: Job, dataset: str, page: Path) -> None:
    """Write one dataset's gallery: its photos with the masks that teach the student.

    A photo's name is its path below the folder that holds all photos.
    """
    data = DataSet(job.inputs[f"prepare {dataset}"].folder)
    masks = job.inputs[f"pseudo-mask {dataset}"].folder
    items = data.items("train")
    folder = os.path.commonpath([item.image.parent for item in items])
    shown = [
        Shown(item.image.relative_to(folder).as_posix(), item.image, masks / f"{item.id}.png")
        for item in items
    ]
    names = [names[0] for names in data.class_names]
    colours = np.reshape(palette(len(names))[: 3 * len(names)], (-1, 3)).tolist()
    title = f"{dataset}: masks of {in_number(len(shown), 'photo')}"
    write_gallery(page, shown, names, colours, title=title)


def _logits(
    features: FeatureCache, rectified: Rectifier, query: Rectifier, photos: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each window's rectified logits and Query logits, both (cells, C)."""
    for i in tqdm(range(photos), desc="counting", disable=None):
        for _, z in features.pieces("train", i):
            with torch.inference_mode():
                z = z.to(query.w_query.device)[None]
                yield tuple(model(z)[0].flatten(0, 1) for model in (rectified, query))
