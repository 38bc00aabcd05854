"""Index drawn scenes, and photos in official layouts (see `reclip.data.index`)."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.common.files import atomic, result, write_json
from reclip.config.models import NamesOfProtocol
from reclip.config.sources import WorldSource
from reclip.data.images import image_size, write_image, write_label
from reclip.data.index import INDEX_FILES, DataSet, Item, write_dataset
from reclip.data.layouts import ade, cityscapes, coco_stuff, context, voc
from reclip.data.layouts.layout import SPLITS, Layout
from reclip.data.layouts.protocol_names import names_of
from reclip.data.world.scenes import WORLDS, draw_scene, scene_rng, scene_size

log = logging.getLogger(__name__)

# kind of source -> the function that reads its layout
LAYOUTS: dict[str, Callable[..., Layout]] = {
    "voc": voc.read,
    "context": context.read,
    "ade": ade.read,
    "cityscapes": cityscapes.read,
    **{kind: partial(coco_stuff.read, kind) for kind in coco_stuff.KINDS},
}


def prepare_world(source: WorldSource, folder: Path) -> list[Path]:
    """Draw the scenes of a mini world and index them; return all files written."""
    world = WORLDS[source.world]
    items: dict[str, list[Item]] = {}
    for split, count in (("train", source.train), ("val", source.val)):
        items[split] = []
        for i in tqdm(range(count), desc=f"drawing {world.name} {split}", disable=None):
            rng = scene_rng(source.seed, split, i)
            image, label = draw_scene(world, rng, scene_size(rng))
            id = f"{split}-{i:05d}"
            paths = folder / "images" / f"{id}.png", folder / "labels" / f"{id}.png"
            write_image(paths[0], image)
            write_label(paths[1], label, len(world.class_names))
            items[split].append(Item(id, paths[0], *label.shape, paths[1]))
    facts = {
        "names": [[name] for name in world.class_names],
        "kind": "world",
        "world": world.name,
        "lists": f"drawn with seed {source.seed}",
    }
    images = [item.image for split in items.values() for item in split]
    return images + write_dataset(folder, facts, **items)


def read_layout(kind: str, raw: dict[str, str]) -> Layout:
    """Read the official layout that stage `fetch` found: `root`, and `labels` of a second place."""
    return LAYOUTS[kind](**{role: Path(path) for role, path in raw.items()})


def prepare_photos(layout: Layout, limit: int | None, folder: Path) -> list[Path]:
    """Index photos in place, and write their label maps at the photos' own sizes.

    Training needs no labels. If no training photo has a map, `train-labels.csv` is empty, and only
    the linear probe cannot run.

    limit: take the first `limit` photos of each split.
    Raises ReclipError: an id is listed twice, some photos of a split or all of val lack a map.
    """
    photos = {split: layout.photos[split][:limit] for split in SPLITS}
    ids = Counter(photo.id for listed in photos.values() for photo in listed)
    for id, count in ids.most_common(1):
        if count > 1:  # a photo of both splits would be trained on and evaluated on
            raise ReclipError(
                f"photo '{id}' is listed {count} times ({layout.lists}): list it once"
            )
    counts = {split: len(listed) for split, listed in photos.items()}
    if limit is None and counts != layout.official:
        found, official = (
            " and ".join(f"{count:,} {split}" for split, count in numbers.items())
            for numbers in (counts, layout.official)
        )
        log.warning(
            f"{layout.kind} has {found} photos, officially {official} ({layout.lists}): scores are "
            f"not comparable with published ones"
        )
    items: dict[str, list[Item]] = {}
    for split, listed in photos.items():
        labelled = split == "val" or any(photo.labelled for photo in listed)
        items[split] = []
        for photo in tqdm(listed, desc=f"indexing {split}", disable=None):
            item = Item(photo.id, photo.path, *image_size(photo.path))
            if labelled:
                item = replace(item, label=folder / "labels" / f"{photo.id}.png")
                write_label(item.label, photo.label(), len(layout.class_names))
            items[split].append(item)
    facts = {
        "names": [list(names) for names in layout.class_names],
        "kind": layout.kind,
        "lists": layout.lists,
    }
    return write_dataset(folder, facts, **items)


def read_again(index: Path, folder: Path) -> list[Path]:
    """Copy the index of a dataset, to read its photos in another way; return the files written."""
    copies = [folder / name for name in INDEX_FILES]
    for copy in copies:
        with result(index / copy.name), atomic(copy) as partial:
            shutil.copyfile(index / copy.name, partial)
    return copies


def rename_classes(folder: Path, protocol: NamesOfProtocol) -> None:
    """Give the classes of the dataset in `folder` the names of a published protocol.

    Only the prompts and what shows names change. Numbers of classes stay, and so do label maps.
    Raises ReclipError: the protocol has no names for this kind of dataset, or for other classes.
    """
    data = DataSet(folder)
    names = names_of(protocol, data.facts["kind"])
    if len(names) != data.num_classes:
        raise ReclipError(
            f"params: 'names: {protocol}': this protocol names {len(names)} classes, but the "
            f"dataset in '{folder}' has {data.num_classes}: remove `names`"
        )
    write_json(folder / "classes.json", {**data.facts, "names": [list(own) for own in names]})
