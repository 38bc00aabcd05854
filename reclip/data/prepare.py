"""Stage `prepare`: from a source to an indexed data set (see `reclip.data.index`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm import tqdm

from reclip.clip.prompts import VOC_CLASSES
from reclip.data import voc
from reclip.data.images import image_size, write_image, write_label
from reclip.data.index import Item, write_dataset
from reclip.data.world import WORLDS, draw_scene, scene_rng, scene_size
from reclip.files import read_json
from reclip.jobs import Job


def main(job: Job) -> None:
    source = job.settings["source"]
    if source.kind == "world":
        outputs = prepare_world(source, job.folder)
    else:
        root = Path(read_json(job.inputs["raw"].folder / "source.json")["root"])
        outputs = prepare_voc(root, source.limit, job.folder)
    job.done(outputs)


def prepare_world(source: Any, folder: Path) -> list[Path]:
    """Draw the scenes of a mini world."""
    world = WORLDS[source.world]
    outputs, items, train_labels = [], {"train": [], "val": []}, []
    for split, count in (("train", source.train), ("val", source.val)):
        for i in tqdm(range(count), desc=f"drawing {world.name} {split}", disable=None):
            rng = scene_rng(source.seed, split, i)
            image, label = draw_scene(world, rng, scene_size(rng))
            id = f"{split}-{i:05d}"
            paths = folder / "images" / f"{id}.png", folder / "labels" / f"{id}.png"
            write_image(paths[0], image)
            write_label(paths[1], label, len(world.class_names))
            outputs += paths
            items[split].append(Item(id, paths[0], *label.shape, paths[1]))
            if split == "train":
                train_labels.append((id, paths[1]))
    facts = {"names": [[name] for name in world.class_names], "world": world.name}
    return outputs + write_dataset(folder, facts, items["train"], items["val"], train_labels)


def prepare_voc(root: Path, limit: int | None, folder: Path) -> list[Path]:
    """Index the photos of VOC 2012 where they are; masks converted, at their own size."""
    outputs, items, train_labels = [], {"train": [], "val": []}, []
    for split in ("train", "val"):
        entries = voc.read_split(root, split)[:limit]
        for id, photo, mask in tqdm(entries, desc=f"indexing {split}", disable=None):
            label = folder / "labels" / f"{id}.png"
            write_label(label, voc.read_mask(mask, photo), len(VOC_CLASSES))
            outputs.append(label)
            items[split].append(Item(id, photo, *image_size(photo), label))
            if split == "train":
                train_labels.append((id, label))
    facts = {"names": [list(names) for names in VOC_CLASSES]}
    return outputs + write_dataset(folder, facts, items["train"], items["val"], train_labels)
