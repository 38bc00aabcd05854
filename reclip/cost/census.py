"""Count the photos of a dataset by size: from its index, or before any download from its source.

For a benchmark all photos are taken to have their usual size, which is enough for a cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
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

WORLD_SLOTS = 3  # names such as "crimson stripes": at most two tokens, and the end token


class Published(NamedTuple):
    """Facts about a benchmark.

    Attributes:
        photos: number of photos by split.
        size: their usual (H, W) in pixels.
        slots: tokens of the longest class name, with its end token.
        archive: bytes of the photos' archive. Unpacked, it takes about as many.
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
        slots: tokens of the longest class name, with its end token.
        origin: the source of the numbers, in words.
        fetched: bytes of archive and unpacked files on this disk.
        drawn: whether the photos are drawn, not fetched.
    """

    sizes: Mapping[str, Mapping[tuple[int, int], int]]
    classes: int
    names: int
    slots: int
    origin: str
    fetched: float = 0.0
    drawn: bool = False

    def photos(self, split: str) -> int:
        return sum(self.sizes[split].values())


def take_census(plan: Plan, dataset: str, use_index: bool = True) -> Census:
    """Return the numbers of the index if `use_index` and it is fresh, else of the source."""
    expected = _expected(plan.experiment.source(dataset))
    prepared = plan.job("prepare", dataset)
    if not use_index or why_stale(prepared):
        return expected
    data = DataSet(prepared.folder)
    return replace(
        expected,
        sizes={s: Counter((i.height, i.width) for i in data.items(s)) for s in SPLITS},
        classes=len(data.class_names),
        names=sum(map(len, data.class_names)),
        origin="as indexed here",
    )


def _expected(source: ArchiveSource | FolderSource | WorldSource) -> Census:
    if isinstance(source, FolderSource):
        return _of_folder(source)
    if isinstance(source, WorldSource):
        classes = len(WORLDS[source.world].class_names)
        sizes = {
            split: Counter(scene_size(scene_rng(source.seed, split, i)) for i in range(count))
            for split, count in (("train", source.train), ("val", source.val))
        }
        return Census(sizes, classes, classes, WORLD_SLOTS, "as drawn", drawn=True)
    published = PUBLISHED[source.kind]
    maps = isinstance(source, ContextSource) and source.labels is not None
    if maps and not source.labels.endswith(".json"):
        published = published._replace(photos=context.OFFICIAL_MAPS)
    height, width = published.size
    return Census(
        {s: {published.size: min(n, source.limit or n)} for s, n in published.photos.items()},
        classes=len(published.classes),
        names=sum(map(len, published.classes)),
        slots=published.slots,
        origin=f"published counts, photos taken as {width}×{height}",
        fetched=_copies(source) * published.archive,
    )


def _of_folder(source: FolderSource) -> Census:
    """Return the numbers of a user's folders, without the photos that cannot be read."""
    folders = {"train": source.images, "val": source.val_images}
    sizes: dict[str, Counter] = {split: Counter() for split in SPLITS}
    for split, folder in folders.items():
        for path in list_photos(folder, split)[: source.limit] if folder else []:
            with suppress(ReclipError):
                sizes[split][image_size(path)] += 1
    words = max(len(names[0].split()) for names in source.classes)
    names = sum(map(len, source.classes))
    # Most words are one token, rare ones two; and the end token.
    return Census(sizes, len(source.classes), names, words + 2, "as in their headers")


def _copies(source: ArchiveSource) -> int:
    """Return how many copies of the photos this disk gets: a download is kept beside its files."""
    if source.folder:
        return 0
    return 1 if source.archive and "://" not in source.archive else 2
