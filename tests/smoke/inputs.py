"""Inputs that the smoke runs share: seeded weights, and samples in official layouts."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from reclip.data.layouts.class_names import CONTEXT_IDS, CONTEXT_NAMES
from support.seeded import clip_state
from support.tiny_context import OF_VOC, annotations_of

ORIGIN = {"origin": "seeded random numbers, not trained"}
VOC, ADE = "VOCtrainval-subset.tar", "ADEChallengeData2016-subset.zip"
VOC_ROOT = "VOCdevkit/VOC2012"


def require_samples(samples: Path, target: str) -> None:
    """Raise ClickException if a sample archive is missing. target: of make."""
    for name in (VOC, ADE):
        if not (samples / name).is_file():
            raise click.ClickException(
                f"no '{samples / name}': name its folder, make {target} SAMPLES=DIR"
            )


def voc_photos(voc: Path, photos: int) -> Iterator[tuple[str, str, bytes, bytes]]:
    """Yield split, id, JPEG and mask (PNG) of the first photos of each split of VOC's sample."""
    with tarfile.open(voc) as source:
        for split in ("train", "val"):
            listing = source.extractfile(f"{VOC_ROOT}/ImageSets/Segmentation/{split}.txt").read()
            for id in listing.decode().split()[:photos]:
                photo = source.extractfile(f"{VOC_ROOT}/JPEGImages/{id}.jpg").read()
                mask = source.extractfile(f"{VOC_ROOT}/SegmentationClass/{id}.png").read()
                yield split, id, photo, mask


def write_clip(path: Path) -> None:
    """ViT-B/16 CLIP of seeded random numbers, in half precision as OpenAI's file."""
    state = {name: torch.from_numpy(t).half() for name, t in clip_state().items()}
    save_file(state, path, metadata=ORIGIN)


def write_backbone(name: str, path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = timm.create_model(name).state_dict()
    save_file({key: t.contiguous() for key, t in state.items()}, path, metadata=ORIGIN)


def write_context(voc: Path, output: Path, photos: int) -> None:
    """VOC 2010 as an archive, and `trainval_merged.json`, from photos of VOC 2012."""
    labels: dict[str, dict[str, np.ndarray]] = {"train": {}, "val": {}}
    root = "VOCdevkit/VOC2010"
    with tarfile.open(output / "VOCtrainval_03-May-2010.tar", "w") as target:
        for split, id, photo, mask in voc_photos(voc, photos):
            _add(target, f"{root}/JPEGImages/{id}.jpg", photo)
            _add(target, f"{root}/SegmentationClass/{id}.png", mask)
            labels[split][id] = context_label(np.array(Image.open(io.BytesIO(mask))))
        for split, found in labels.items():
            lines = "".join(f"{id}\n" for id in found).encode()
            _add(target, f"{root}/ImageSets/Main/{split}.txt", lines)
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


def write_cityscapes(voc: Path, root: Path, photos: int) -> None:
    """VOC's photos as an unpacked Cityscapes: things keep a place, the background is road."""
    for split, id, photo, mask in voc_photos(voc, photos):
        name = f"voc_{id.replace('_', '')[:6]}_{id[-6:]}"
        places = [
            root / kind / split / "voc" / f"{name}_{end}.png"
            for kind, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"))
        ]
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(io.BytesIO(photo)).convert("RGB").save(places[0])
        Image.fromarray(_moved(mask, first=24, last=33, background=7)).save(places[1])


def write_coco(voc: Path, root: Path, photos: int) -> None:
    """VOC's photos as an unpacked COCO-Stuff: things keep a place, the background is sky."""
    for split, id, photo, mask in voc_photos(voc, photos):
        name, folder = id.replace("_", "").zfill(12), f"{split}2017"
        for kind in ("images", "annotations"):
            (root / kind / folder).mkdir(parents=True, exist_ok=True)
        (root / "images" / folder / f"{name}.jpg").write_bytes(photo)
        label = _moved(mask, first=0, last=9, background=156)
        Image.fromarray(label).save(root / "annotations" / folder / f"{name}.png")


def _moved(mask: bytes, first: int, last: int, background: int) -> np.ndarray:
    """VOC's mask with its classes moved to ids `first` to `last`."""
    ids = np.array(Image.open(io.BytesIO(mask)))
    things = (first + (ids.astype(int) - 1) % (last - first + 1)).astype(np.uint8)
    label = np.where(ids == 0, background, things)
    return np.where(ids == 255, background, label).astype(np.uint8)
