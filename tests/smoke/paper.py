"""Inputs of `make smoke-paper`: sample photos, seeded weights, and the preset `paper` made small.

There are two settings files, one for each recipe of the updates.

    python tests/smoke/paper.py --samples DIR --output DIR

DIR of the samples holds VOCtrainval-subset.tar and ADEChallengeData2016-subset.zip: some photos of
VOC 2012 and ADE20K with their masks, in the layouts of the official archives. A sample of PASCAL
Context is made from VOC's: its photos, with labels that are VOC's masks on made stuff. No weights
here are trained, and the tables say so.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from reclip.config.update_recipes import UPDATE_RECIPES
from reclip.data.layouts.class_names import CONTEXT_IDS, CONTEXT_NAMES
from reclip.presets import preset_text
from support.seeded import clip_state
from support.tiny_context import OF_VOC, annotations_of
from support.tiny_experiment import merged

PHOTOS = 4  # of each split of VOC and Context; the sample of ADE has 1 and 2
ORIGIN = {"origin": "seeded random numbers, not trained"}
VOC, ADE = "VOCtrainval-subset.tar", "ADEChallengeData2016-subset.zip"

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
    for name in (VOC, ADE):
        if not (samples / name).is_file():
            raise click.ClickException(
                f"no '{samples / name}': name its folder, make smoke-paper SAMPLES=DIR"
            )
    output.mkdir(parents=True, exist_ok=True)
    write_clip(output / "seeded-clip.safetensors")
    for backbone in ("resnet50c", "resnet101c"):
        write_backbone(backbone, output / f"seeded-{backbone}.safetensors")
    write_context(samples / VOC, output)
    for recipe in UPDATE_RECIPES:
        given = params(samples, output, recipe)
        text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
        (output / f"{recipe}.yaml").write_text(text, encoding="utf-8")


def write_clip(path: Path) -> None:
    """ViT-B/16 CLIP of seeded random numbers, in half precision as OpenAI's file."""
    state = {name: torch.from_numpy(t).half() for name, t in clip_state().items()}
    save_file(state, path, metadata=ORIGIN)


def write_backbone(name: str, path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = timm.create_model(name).state_dict()
    save_file({key: t.contiguous() for key, t in state.items()}, path, metadata=ORIGIN)


def write_context(voc: Path, output: Path) -> None:
    """VOC 2010 as an archive, and `trainval_merged.json`, from photos of VOC 2012."""
    root = "VOCdevkit/VOC2012"
    labels: dict[str, dict[str, np.ndarray]] = {"train": {}, "val": {}}
    with (
        tarfile.open(voc) as source,
        tarfile.open(output / "VOCtrainval_03-May-2010.tar", "w") as target,
    ):
        for split, found in labels.items():
            listing = source.extractfile(f"{root}/ImageSets/Segmentation/{split}.txt").read()
            for id in listing.decode().split()[:PHOTOS]:
                photo = source.extractfile(f"{root}/JPEGImages/{id}.jpg").read()
                mask = source.extractfile(f"{root}/SegmentationClass/{id}.png").read()
                _add(target, f"VOCdevkit/VOC2010/JPEGImages/{id}.jpg", photo)
                _add(target, f"VOCdevkit/VOC2010/SegmentationClass/{id}.png", mask)
                found[id] = context_label(np.array(Image.open(io.BytesIO(mask))))
            lines = "".join(f"{id}\n" for id in found).encode()
            _add(target, f"VOCdevkit/VOC2010/ImageSets/Main/{split}.txt", lines)
    (output / "trainval_merged.json").write_text(
        json.dumps(annotations_of(labels)), encoding="utf-8"
    )


def context_label(mask: np.ndarray) -> np.ndarray:
    """VOC's objects under Context's ids; sky, wall and grass in place of the background."""
    stuff = np.array([CONTEXT_IDS[CONTEXT_NAMES.index(n)] for n in ("sky", "wall", "grass")])
    rows = np.arange(len(mask)) * len(stuff) // len(mask)
    label = np.broadcast_to(stuff[rows][:, None], mask.shape).copy()
    for k, index in enumerate(OF_VOC, start=1):
        label[mask == k] = CONTEXT_IDS[index]
    return label


def _add(target: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    target.addfile(member, io.BytesIO(data))


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
