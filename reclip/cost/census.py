"""How many photos of which sizes a dataset has: from its index, or before there is one.

Published sizes of the photos are means: enough for a cost, and known before any download.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from reclip.common.errors import ReclipError
from reclip.config.sources import ArchiveSource, ContextSource, FolderSource, WorldSource
from reclip.data.download import official
from reclip.data.images import image_size
from reclip.data.index import DataSet
from reclip.data.layouts import ade, class_names, context, voc
from reclip.data.layouts.layout import SPLITS
from reclip.data.photos import list_photos
from reclip.data.world.scenes import WORLDS, scene_rng, scene_size
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale

WORLD_SLOTS = 3  # "crimson stripes" and its like: at most two tokens, and the end token


class Published(NamedTuple):
    """Of a benchmark: number of photos by split, their usual size (H, W) in pixels.

    slots: tokens of the longest class name, and its end token. archive: bytes of the photos'
    archive, which unpacks to about as many.
    """

    photos: Mapping[str, int]
    size: tuple[int, int]
    classes: tuple[tuple[str, ...], ...]
    slots: int
    archive: float


# Most photos of VOC are 500×375; the photos of ADE's benchmark have a short side of 512 or more.
PUBLISHED = {
    "voc": Published(voc.OFFICIAL, (375, 500), class_names.VOC_CLASSES, 3, official.VOC2012.size),
    "context": Published(context.OFFICIAL_JSON, (375, 500), class_names.CONTEXT_CLASSES, 3, 1.3e9),
    "ade": Published(ade.OFFICIAL, (512, 683), class_names.ADE_CLASSES, 4, official.ADE.size),
}


@dataclass(frozen=True)
class Census:
    """A dataset in numbers.

    Attributes:
        sizes: split to {(H, W) of a photo: number of such photos}.
        classes, names: number of classes, and of all their names.
        slots: tokens that the longest class name and its end token take.
        fetched: bytes of archive and unpacked files on this disk.
        drawn: whether the photos are drawn rather than fetched.
        origin: where the numbers are from, in words.
    """

    sizes: Mapping[str, Mapping[tuple[int, int], int]]
    classes: int
    names: int
    slots: int
    fetched: float
    drawn: bool
    origin: str

    def photos(self, split: str) -> int:
        return sum(self.sizes[split].values())


def take_census(plan: Plan, dataset: str, use_index: bool = True) -> Census:
    """The index's numbers if `use_index` and it is up to date, else the source's."""
    expected = _expected(plan, dataset)
    prepared = plan.job("prepare", dataset)
    if not use_index or why_stale(prepared):
        return expected
    data = DataSet(prepared.folder)
    names = data.class_names
    return Census(
        {s: Counter((i.height, i.width) for i in data.items(s)) for s in SPLITS},
        classes=len(names),
        names=sum(map(len, names)),
        slots=expected.slots,
        fetched=expected.fetched,
        drawn=expected.drawn,
        origin="as indexed here",
    )


def _expected(plan: Plan, dataset: str) -> Census:
    source = plan.params.datasets[dataset].source
    if isinstance(source, FolderSource):
        return _of_folder(source)
    if isinstance(source, WorldSource):
        classes = len(WORLDS[source.world].class_names)
        sizes = {
            split: Counter(scene_size(scene_rng(source.seed, split, i)) for i in range(count))
            for split, count in (("train", source.train), ("val", source.val))
        }
        return Census(sizes, classes, classes, WORLD_SLOTS, 0.0, True, "as drawn")
    known = PUBLISHED[source.kind]
    height, width = known.size
    return Census(
        {
            split: {known.size: min(number, source.limit or number)}
            for split, number in _official(source).items()
        },
        classes=len(known.classes),
        names=sum(map(len, known.classes)),
        slots=known.slots,
        fetched=_copies(source) * known.archive,
        drawn=False,
        origin=f"published counts, photos taken as {width}×{height}",
    )


def _of_folder(source: FolderSource) -> Census:
    """Photos as their headers have them; one that cannot be read is left out."""
    folders = {"train": source.images, "val": source.val_images}
    sizes: dict[str, Counter] = {split: Counter() for split in SPLITS}
    for split, folder in folders.items():
        for path in list_photos(folder, split)[: source.limit] if folder else []:
            with suppress(ReclipError):
                sizes[split][image_size(path)] += 1
    words = max(len(names[0].split()) for names in source.classes)
    names = sum(map(len, source.classes))
    slots = words + 2  # a word is mostly a token, a rare one two; and the end token
    return Census(sizes, len(source.classes), names, slots, 0.0, False, "as in their headers")


def _official(source: ArchiveSource) -> Mapping[str, int]:
    maps = isinstance(source, ContextSource) and source.labels is not None
    if maps and not source.labels.endswith(".json"):
        return context.OFFICIAL_MAPS
    return PUBLISHED[source.kind].photos


def _copies(source: ArchiveSource) -> int:
    """How often the photos come to lie on this disk: unpacked, and as a downloaded archive."""
    if source.folder:
        return 0
    return 1 if source.archive and "://" not in source.archive else 2
