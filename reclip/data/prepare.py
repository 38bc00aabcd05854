"""Index drawn scenes and photos in official layouts (see `reclip.data.index`)."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.data.images import image_size, write_image, write_label
from reclip.data.index import Item, write_dataset
from reclip.data.layouts import ade, context, voc
from reclip.data.layouts.layout import SPLITS, Layout, Photo
from reclip.data.world.scenes import WORLDS, draw_scene, scene_rng, scene_size

log = logging.getLogger(__name__)


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
    facts = {
        "names": [[name] for name in world.class_names],
        "kind": "world",
        "world": world.name,
        "lists": f"drawn with seed {source.seed}",
        "counts": {"train": source.train, "val": source.val},
    }
    return outputs + write_dataset(folder, facts, items["train"], items["val"], train_labels)


def read_layout(kind: str, raw: dict[str, str]) -> Layout:
    """The official layout that stage `fetch` found: its `root`, and for Context its `labels`."""
    root = Path(raw["root"])
    if kind == "context":
        return context.read(root, Path(raw["labels"]))
    return {"voc": voc, "ade": ade}[kind].read(root)


def prepare_photos(layout: Layout, limit: int | None, folder: Path) -> list[Path]:
    """Index photos where they are, with label maps converted at the photos' own sizes.

    limit: take the first so many of each split. Training needs no labels: where no training photo
    has a map, `train-labels.csv` is empty, and only the linear probe misses them.
    Raises ReclipError: some photos of a split, or all of val, lack a map; an id is listed twice.
    """
    photos = {split: layout.photos[split][:limit] for split in SPLITS}
    counts = {split: len(listed) for split, listed in photos.items()}
    _refuse_repeated(layout, photos)
    if limit is None and counts != layout.official:
        log.warning(
            "%s has %s photos, officially %s (%s): scores are not comparable with published ones",
            layout.kind,
            _in_words(counts),
            _in_words(layout.official),
            layout.lists,
        )
    outputs, items, train_labels = [], {}, []
    for split in SPLITS:
        labelled = split == "val" or any(photo.labelled for photo in photos[split])
        items[split] = []
        for photo in tqdm(photos[split], desc=f"indexing {split}", disable=None):
            path = folder / "labels" / f"{photo.id}.png" if labelled else None
            if path:
                write_label(path, photo.label(), len(layout.class_names))
                outputs.append(path)
                if split == "train":
                    train_labels.append((photo.id, path))
            items[split].append(Item(photo.id, photo.path, *image_size(photo.path), path))
    facts = {
        "names": [list(names) for names in layout.class_names],
        "kind": layout.kind,
        "lists": layout.lists,
        "counts": counts,
    }
    return outputs + write_dataset(folder, facts, items["train"], items["val"], train_labels)


def _refuse_repeated(layout: Layout, photos: dict[str, list[Photo]]) -> None:
    """A photo of both splits would be trained on and evaluated on."""
    ids = Counter(photo.id for listed in photos.values() for photo in listed)
    id, count = ids.most_common(1)[0] if ids else ("", 0)
    if count > 1:
        raise ReclipError(f"photo '{id}' is listed {count} times ({layout.lists}): list it once")


def _in_words(counts: dict[str, int]) -> str:
    return " and ".join(f"{count:,} {split}" for split, count in counts.items())
