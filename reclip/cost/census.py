"""Count the photos of a dataset by size: from its index, or before any download from its source.

For a benchmark all photos are taken to have their usual size, which is enough for a cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from reclip.common.errors import ReclipError
from reclip.config.sources import ArchiveSource, ContextSource, FolderSource, WorldSource
from reclip.data.download import official
from reclip.data.images import image_size
from reclip.data.index import DataSet
from reclip.data.layouts import ade, cityscapes, class_names, coco_stuff, context, voc
from reclip.data.layouts.layout import SPLITS
from reclip.data.photos import list_photos
from reclip.data.world.scenes import WORLDS, scene_rng, scene_size
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale


class Published(NamedTuple):
    """Facts about a benchmark."""

    photos: Mapping[str, int]  # number of photos by split
    size: tuple[int, int]  # their usual (H, W) in pixels
    classes: Sequence[Sequence[str]]  # the names of each
    archive: float  # bytes of the photos' archives; unpacked, they take about as many


# Most photos of VOC are 500×375, of COCO 640×480; those of ADE's benchmark have a short side of 512
# or more.
PUBLISHED = {
    "voc": Published(voc.OFFICIAL, (375, 500), class_names.VOC_CLASSES, official.VOC2012.size),
    "context": Published(context.OFFICIAL_JSON, (375, 500), class_names.CONTEXT_CLASSES, 1.3e9),
    "ade": Published(ade.OFFICIAL, (512, 683), class_names.ADE_CLASSES, official.ADE.size),
    "cityscapes": Published(
        cityscapes.OFFICIAL,
        (1024, 2048),
        cityscapes.CLASSES,
        official.CITYSCAPES_PHOTOS.size,
    ),
    **{
        kind: Published(
            coco_stuff.OFFICIAL,
            (480, 640),
            reading.classes,
            official.COCO_TRAIN.size + official.COCO_VAL.size,
        )
        for kind, reading in coco_stuff.KINDS.items()
    },
}


class Census(NamedTuple):
    """A dataset in numbers."""

    sizes: Mapping[str, Mapping[tuple[int, int], int]]  # split to {(H, W): number of photos}
    classes: Sequence[Sequence[str]]  # the names of each
    origin: str  # the source of the numbers, in words
    fetched: float = 0.0  # bytes of archive and unpacked files on this disk

    def photos(self, split: str) -> int:
        return sum(self.sizes[split].values())


def take_census(plan: Plan, dataset: str, use_index: bool = True) -> Census:
    """Return the numbers of the index if `use_index` and it is fresh, else of the source."""
    expected = _expected(plan.experiment.source(dataset))
    prepared = plan.job("prepare", dataset)
    if not use_index or why_stale(prepared):
        return expected
    data = DataSet(prepared.folder)
    sizes = {split: Counter((i.height, i.width) for i in data.items(split)) for split in SPLITS}
    return Census(sizes, data.class_names, "as indexed here", expected.fetched)


def _expected(source: ArchiveSource | FolderSource | WorldSource) -> Census:
    if isinstance(source, FolderSource):
        sizes: dict[str, Counter] = {split: Counter() for split in SPLITS}
        for split, folder in zip(SPLITS, (source.images, source.val_images), strict=True):
            for path in list_photos(folder, split)[: source.limit] if folder else []:
                with suppress(ReclipError):  # a photo that cannot be read
                    sizes[split][image_size(path)] += 1
        return Census(sizes, source.classes, "as in their headers")
    if isinstance(source, WorldSource):
        sizes = {
            split: Counter(
                scene_size(scene_rng(source.seed, split, number))
                for number in range(getattr(source, split))
            )
            for split in SPLITS
        }
        names = [[name] for name in WORLDS[source.world].class_names]
        return Census(sizes, names, "as drawn")
    photos, size, classes, archive = PUBLISHED[source.kind]
    if isinstance(source, ContextSource) and not source.has_json:
        photos = context.OFFICIAL_MAPS
    # A download is kept beside its files.
    copies = 0 if source.folder else 1 if source.archive and "://" not in source.archive else 2
    return Census(
        {split: {size: min(number, source.limit or number)} for split, number in photos.items()},
        classes,
        f"published counts, photos taken as {size[1]}×{size[0]}",
        copies * archive,
    )
