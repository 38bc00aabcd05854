"""Inputs of `make smoke-paper`: sample photos, seeded weights, and the preset `paper` made small.

There are two settings files, one for each recipe of the updates.

    python tests/smoke/paper.py --samples DIR --output DIR

DIR of the samples holds VOCtrainval-subset.tar and ADEChallengeData2016-subset.zip: some photos of
VOC 2012 and ADE20K with their masks, in the layouts of the official archives. A sample of PASCAL
Context is made from VOC's: its photos, with labels that are VOC's masks on made stuff. No weights
here are trained, and the tables say so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from reclip.config.update_recipes import UPDATE_RECIPES
from reclip.presets import preset_text
from smoke.inputs import ADE, VOC, require_samples, write_backbone, write_clip, write_context
from support.tiny_experiment import merged

PHOTOS = 4  # of each split of VOC and Context; the sample of ADE has 1 and 2

# All else is as in the preset: smaller images and crops, a few steps.
SMALL = {
    "image": {"short_side": 224},
    "views": {"count": 2, "crop": 112},
    "rectify": {"epochs": 3},
    "distill": {"epochs": 2},
    "probe": {"epochs": 2},
}
FEWER = {"rectify": SMALL["rectify"], "distill": SMALL["distill"]}


@click.command()
@click.option("--samples", type=click.Path(path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(samples: Path, output: Path) -> None:
    """Write the inputs of the smoke run."""
    require_samples(samples, "smoke-paper")
    output.mkdir(parents=True, exist_ok=True)
    write_clip(output / "seeded-clip.safetensors")
    for backbone in ("resnet50c", "resnet101c"):
        write_backbone(backbone, output / f"seeded-{backbone}.safetensors")
    write_context(samples / VOC, output, PHOTOS)
    for recipe in UPDATE_RECIPES:
        given = params(samples, output, recipe)
        text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
        (output / f"{recipe}.yaml").write_text(text, encoding="utf-8")


def params(samples: Path, output: Path, recipe: str) -> dict[str, Any]:
    """The preset `paper` on the samples."""
    preset = yaml.safe_load(preset_text("paper"))
    networks = ("clip", "resnet50c", "resnet101c")
    weights = {name: str(output / f"seeded-{name}.safetensors") for name in networks}
    plus = {"distill": {"checkpoint": weights["resnet101c"], "epochs": SMALL["distill"]["epochs"]}}
    changes = {
        "experiment": f"smoke-paper-{recipe}",
        "recipe": recipe,
        **SMALL,
        "clip": {"pretrained": None, "checkpoint": weights["clip"]},
        "distill": {**SMALL["distill"], "pretrained": False, "checkpoint": weights["resnet50c"]},
        "datasets": {
            "voc": {"source": {"archive": str(samples / VOC), "limit": PHOTOS}},
            "context": {
                "source": {
                    "archive": str(output / "VOCtrainval_03-May-2010.tar"),
                    "labels": str(output / "trainval_merged.json"),
                },
                "image": {"short_side": 224, "long_side": 224},
                "views": {"crop": 96},
                **FEWER,
            },
            "ade": {"source": {"archive": str(samples / ADE)}, **FEWER},
        },
        "runs": {f"{dataset}-maskclip-plus": plus for dataset in ("voc", "context", "ade")},
    }
    return merged(preset, changes)


if __name__ == "__main__":
    main()
