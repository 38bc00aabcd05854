"""PASCAL Context's labels in the file of its detail API, `trainval_merged.json`.

Beside much else it holds the photos with their phase (`images`), names (`categories`) and regions
as run-length masks (`annos_segmentation`). A label map is painted region after region in the file's
order: where two overlap the later one counts, as in the API.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pycocotools import mask as run_lengths
from pydantic import BaseModel, Field, ValidationError

from reclip.common.errors import ReclipError
from reclip.data.images import image_size
from reclip.data.layouts.class_names import CONTEXT_ALL
from reclip.data.layouts.layout import SPLITS, IdTable, Photo, checked_id, listed_photo


class Image(BaseModel):
    image_id: int
    file_name: str
    phase: str  # train, val or test


class Category(BaseModel):
    category_id: int
    name: str


class RunLengths(BaseModel):
    """A mask in the compressed form of the COCO and detail APIs.

    pycocotools trusts what it decodes: a string that ends within a number would make it read
    foreign memory. The characters `0` to `O` end a number.
    """

    size: tuple[int, int]  # height, width
    counts: Annotated[str, Field(pattern="^[0-o]*[0-O]$")]


class Region(BaseModel):
    image_id: int
    category_id: Annotated[int, Field(ge=0, le=CONTEXT_ALL)]
    segmentation: RunLengths


class Annotations(BaseModel):
    images: list[Image]
    categories: list[Category]
    annos_segmentation: list[Region]


KEPT = {
    name
    for model in (Annotations, Image, Category, Region, RunLengths)
    for name in model.model_fields
}


def load(path: Path) -> Annotations:
    """Parse the file; its masks stay compressed.

    It has several hundred MB. What we do not need is dropped while it is parsed, so that the peak
    is at twice the file's size instead of five times.
    Raises ReclipError: cut short, or of another structure.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream, object_hook=lambda o: {k: o[k] for k in KEPT & o.keys()})
        return Annotations.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ReclipError(
            f"'{path}' has not the structure of trainval_merged.json ({where}: {first['msg']}): "
            f"get it again"
        ) from error
    except ValueError as error:
        raise ReclipError(f"'{path}' is cut short or no JSON ({error}): get it again") from error


def read_photos(
    annotations: Annotations, path: Path, root: Path, table: IdTable
) -> dict[str, list[Photo]]:
    """The photos of each phase, sorted by id. A photo without a region has no class anywhere.

    Raises ReclipError: a photo is missing under `root`, or a region is of no photo.
    """
    regions: dict[int, list[Region]] = defaultdict(list)
    for region in annotations.annos_segmentation:
        regions[region.image_id].append(region)
    stray = regions.keys() - {image.image_id for image in annotations.images}
    if stray:
        raise ReclipError(f"'{path}' has regions of image {min(stray)}, not the image: repair it")

    photos: dict[str, list[Photo]] = {split: [] for split in SPLITS}
    for image in annotations.images:
        if image.phase in photos:
            id = checked_id(image.file_name.removesuffix(".jpg"), path)
            photo = listed_photo(root / "JPEGImages", id, path)
            read = partial(read_label, regions[image.image_id], photo, path, table)
            photos[image.phase].append(Photo(id, photo, path, read))
    return {split: sorted(listed, key=lambda photo: photo.id) for split, listed in photos.items()}


def read_label(regions: Sequence[Region], photo: Path, path: Path, table: IdTable) -> np.ndarray:
    """Class indices, uint8 (H, W), painted from a photo's regions.

    Raises ReclipError: a region is not of the photo's size, or its mask is damaged.
    """
    ids = np.zeros(image_size(photo), np.uint16)
    for region in regions:
        if region.segmentation.size != ids.shape:
            height, width = region.segmentation.size
            raise ReclipError(
                f"'{path}' has a mask of {width}×{height} for '{photo}', which is "
                f"{ids.shape[1]}×{ids.shape[0]}: restore the pair"
            )
        ids[_decode(region, path)] = region.category_id
    return table.convert(ids, path)


def _decode(region: Region, path: Path) -> np.ndarray:
    """bool (H, W)."""
    compressed = region.segmentation.model_dump()
    try:
        mask = run_lengths.decode(compressed)
    except ValueError:
        mask = None
    # A mask that is too short leaves the rest as it was in memory.
    if mask is None or int(mask.sum(dtype=np.int64)) != run_lengths.area(compressed):
        raise ReclipError(
            f"'{path}' has a damaged mask of image {region.image_id}: get the file again"
        )
    return mask.astype(bool)
