"""Stage `summarise`: what was found in a person's own photos, and what to change. No labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from tqdm import tqdm

from reclip.clip.feature_cache import FeatureCache
from reclip.common.files import write_json, write_text
from reclip.common.tables import read_table
from reclip.data.folder import LEFT_OUT, LEFT_OUT_COLUMNS
from reclip.data.images import read_label
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.evaluate.advice import Found, advise, in_number
from reclip.evaluate.findings import count_cells, count_pixels, pairs
from reclip.pipeline.artifacts import mask_folder, seed_file
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.hypotheses import read_hypotheses, scores_of
from reclip.rectify.model import Rectifier

SHOWN_FILES = 10  # of those left out; left-out.csv has all


def main(job: Job) -> None:
    """Write summary.md for people and summary.json for programs."""
    device = setup(job.settings["compute"])
    summaries = {
        dataset: summarise(job, dataset, settings, device)
        for dataset, settings in job.settings["datasets"].items()
    }
    markdown, data = job.outputs
    write_text(markdown, "\n".join(in_words(*item) for item in summaries.items()))
    write_json(data, summaries)
    finish(job, list(job.outputs))


def summarise(
    job: Job, dataset: str, settings: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """One dataset's summary as JSON has it."""
    folders = {
        stage: job.inputs[f"{stage} {dataset}"].folder
        for stage in ("prepare", "embed-text", "cache-features", "hypothesise", "pseudo-mask")
    }
    data, features = DataSet(folders["prepare"]), FeatureCache(folders["cache-features"])
    items = data.items("train")
    query = Rectifier.load(folders["embed-text"] / "query.safetensors").to(device)
    rectified = seed_file(job.inputs[f"rectify {dataset}"].folder, settings["seed"])
    supposed = read_hypotheses(
        folders["hypothesise"] / "train.csv", [item.id for item in items], data.num_classes
    ).numpy()
    masks = mask_folder(folders["pseudo-mask"], settings["seed"])
    pixels, shown = count_pixels(
        (read_label(masks / f"{item.id}.png") for item in items), data.num_classes
    )
    cells = count_cells(
        _logits(features, Rectifier.load(rectified).to(device), query, len(items)),
        data.num_classes,
    )
    found = Found(
        [names[0] for names in data.class_names],
        scores_of(features, "train", query.w_query.cpu()).numpy(),
        settings["hypotheses"].threshold,
        supposed,
        pixels,
        shown,
        cells,
        list(pairs(query.w_query.cpu().numpy(), supposed, cells)),
    )
    left_out = [row["image"] for row in read_table(folders["prepare"] / LEFT_OUT, LEFT_OUT_COLUMNS)]
    return {
        "photos": found.photos,
        "left_out": left_out,
        "left_out_why": (folders["prepare"] / LEFT_OUT).as_posix(),
        "masks": masks.as_posix(),
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


def _logits(
    features: FeatureCache, rectified: Rectifier, query: Rectifier, photos: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Each window's rectified logits and those of Query, both (cells, C)."""
    for i in tqdm(range(photos), desc="counting", disable=None):
        for _, z in features.pieces("train", i):
            with torch.inference_mode():
                z = z.to(query.w_query.device)[None]
                yield tuple(model.logits(z)[0].flatten(0, 1) for model in (rectified, query))


def in_words(dataset: str, summary: dict[str, Any]) -> str:
    """A dataset's summary as Markdown."""
    left_out = summary["left_out"]
    lines = [f"# What was found in {dataset}", ""]
    lines += [
        f"{in_number(summary['photos'], 'photo')} {'was' if summary['photos'] == 1 else 'were'} "
        f"read and {len(left_out):,} left out. The masks of what was read lie "
        f"in `{summary['masks']}`, each under its photo's name.",
        "",
    ]
    if left_out:
        more = ["..."] if len(left_out) > SHOWN_FILES else []
        shown = (" ".join(path.split()) for path in left_out[:SHOWN_FILES])  # a name may have lines
        lines += [*(f"- left out: `{path}`" for path in shown), *more, ""]
        lines += [f"Why each was left out stands in `{summary['left_out_why']}`.", ""]
    lines += [
        "## What to change",
        "",
        *(f"- {sentence}" for sentence in summary["advice"]),
        "",
        f"The classes are `datasets.{dataset}.source.classes` of the settings file; once it is "
        f"changed, `snakemake` makes again what depends on it.",
        "",
        "## Classes",
        "",
        "| class | photos supposed to hold it | photos whose mask shows it | pixels |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {c['name']} | {c['supposed_in_photos']} | {c['in_masks_of_photos']} "
        f"| {c['percent_of_pixels']:.1f}% |"
        for c in summary["classes"]
    ]
    if summary["competing"]:
        lines += [
            "",
            "## Classes that compete",
            "",
            "| classes | cosine of their texts | supposed together | nearly a tie | moved between "
            "them |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {' / '.join(p['classes'])} | {p['text_cosine']:.2f} "
            f"| {p['percent_supposed_together']:.0f}% "
            f"| {p['percent_of_pixels_nearly_a_tie']:.0f}% "
            f"| {p['percent_of_pixels_moved_by_rectification']:.0f}% |"
            for p in summary["competing"]
        ]
    words = "A photo is *supposed* to hold a class by CLIP's image-level score alone."
    if summary["competing"]:
        words += (
            " A pixel is *nearly a tie* where the other class of the pair is second best by less "
            "than 0.01 of cosine, and *moved* where CLIP by itself and CLIP rectified name "
            "different ones."
        )
    lines += ["", f"{words} No label was read.", ""]
    return "\n".join(lines)
