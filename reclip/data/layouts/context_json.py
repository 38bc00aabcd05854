"""PASCAL Context's labels in the file of its detail API, `trainval_merged.json`.

The parts read are the photos with their phase (`images`), names (`categories`) and regions as
run-length masks (`annos_segmentation`). A label map is painted region by region in the file's
order: where two overlap the later one counts, as in the API.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
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

    pycocotools does not check the string: one that ends within a number would make it read beyond
    its memory. The characters `0` to `O` end a number.
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


MODELS = (Annotations, Image, Category, Region, RunLengths)
KEPT = {name for model in MODELS for name in model.model_fields}


def load(path: Path) -> Annotations:
    """Parse the file; its masks stay compressed.

    The file has several hundred MB. Unused keys are dropped during parsing, so the peak memory is
    twice the file's size instead of five times.

    Raises ReclipError: the file is truncated or has another structure.
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
        raise ReclipError(f"'{path}' is truncated or no JSON ({error}): get it again") from error


def read_photos(
    annotations: Annotations, path: Path, root: Path, table: IdTable
) -> dict[str, list[Photo]]:
    """Return the photos of each phase, sorted by id. A photo without a region has no class.

    Raises ReclipError: a photo is missing under `root`, or a region belongs to no photo.
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
            photo = listed_photo(root, id, path)
            paint = partial(_paint_ids, regions[image.image_id], photo)
            photos[image.phase].append(Photo(id, photo, path, paint, table))
    return {split: sorted(listed, key=lambda photo: photo.id) for split, listed in photos.items()}


def _paint_ids(regions: Sequence[Region], photo: Path, path: Path) -> np.ndarray:
    """Return ids, uint16 (H, W), painted from a photo's regions; `path` is for errors.

    Raises ReclipError: a region has not the photo's size, or its mask is damaged.
    """
    ids = np.zeros(image_size(photo), np.uint16)
    for region in regions:
        packed = region.segmentation
        if packed.size != ids.shape:
            height, width = packed.size
            raise ReclipError(
                f"'{path}' has a mask of {width}×{height} for '{photo}', which is "
                f"{ids.shape[1]}×{ids.shape[0]}: restore the pair"
            )
        mask = None
        with suppress(ValueError):
            mask = run_lengths.decode(packed.model_dump())
        # pycocotools leaves the rest of a mask that is too short as it was in memory.
        if mask is None or mask.sum(dtype=np.int64) != run_lengths.area(packed.model_dump()):
            raise ReclipError(
                f"'{path}' has a damaged mask of image {region.image_id}: get the file again"
            )
        ids[mask.astype(bool)] = region.category_id
    return ids
