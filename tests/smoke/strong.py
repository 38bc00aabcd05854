"""Inputs of `make smoke-strong`: sample photos, seeded weights, and the preset `strong` made small.

    python tests/smoke/strong.py --samples DIR --output DIR

DIR of the samples holds what `make smoke-paper` takes. Samples of Context, Cityscapes and
COCO-Stuff are made from VOC's photos, with its masks under their ids. No weights here are trained,
and the tables say so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from reclip.presets import preset_text
from smoke.inputs import (
    ADE,
    VOC,
    require_samples,
    write_backbone,
    write_cityscapes,
    write_clip,
    write_coco,
    write_context,
)
from support.tiny_experiment import merged

PHOTOS = 2  # of each split; the sample of ADE has 1 and 2

# All else is as in the preset: one prompt a class, smaller images, crops and windows, a few steps.
PROMPTS = {"templates": "single"}
READING = {"short_side": 128}
SLIDING = {"short_side": 128, "window": 96, "stride": 48}
VIEWS = {"count": 1, "crop": 96}
STEPS = {"rectify": {"epochs": 1}, "distill": {"epochs": 1}}
WINDOWS = {"window": 200, "stride": 100}  # of hypotheses: some a photo, instead of 160


@click.command()
@click.option("--samples", type=click.Path(path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(samples: Path, output: Path) -> None:
    """Write the inputs of the smoke run."""
    require_samples(samples, "smoke-strong")
    output.mkdir(parents=True, exist_ok=True)
    write_clip(output / "seeded-clip.safetensors")
    write_backbone("resnet50c", output / "seeded-resnet50c.safetensors")
    write_context(samples / VOC, output, PHOTOS)
    write_cityscapes(samples / VOC, output / "cityscapes", PHOTOS)
    write_coco(samples / VOC, output / "coco", PHOTOS)
    text = yaml.safe_dump(params(samples, output), sort_keys=False, allow_unicode=True)
    (output / "strong.yaml").write_text(text, encoding="utf-8")


def params(samples: Path, output: Path) -> dict[str, Any]:
    """The preset `strong` on the samples."""
    preset = yaml.safe_load(preset_text("strong"))
    sources = {
        "voc": {"archive": str(samples / VOC), "limit": PHOTOS},
        "context": {
            "archive": str(output / "VOCtrainval_03-May-2010.tar"),
            "labels": str(output / "trainval_merged.json"),
        },
        "ade": {"archive": str(samples / ADE)},
        "cityscapes": {"folder": str(output / "cityscapes")},
        "coco-stuff": {"folder": str(output / "coco")},
    }
    datasets: dict[str, Any] = {}
    for name, dataset in preset["datasets"].items():
        slides = dataset.get("image", {}).get("protocol") == "slide"
        image = SLIDING if slides else READING
        datasets[name] = {"prompts": PROMPTS, "image": image, "views": VIEWS}
        if name in sources:
            datasets[name] |= {"source": sources[name], "hypotheses": WINDOWS, **STEPS}
    changes = {
        "experiment": "smoke-strong",
        "clip": {"pretrained": None, "checkpoint": str(output / "seeded-clip.safetensors")},
        "distill": {
            "pretrained": False,
            "checkpoint": str(output / "seeded-resnet50c.safetensors"),
        },
        "datasets": datasets,
    }
    return merged(preset, changes)


if __name__ == "__main__":
    main()
