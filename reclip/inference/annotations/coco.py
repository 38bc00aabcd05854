"""COCO's JSON: https://cocodataset.org/#format-data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from reclip.inference.annotations.areas import Areas
from reclip.inference.annotations.files import MARK, json_line, json_lines
from reclip.inference.annotations.polygons import outline
from reclip.inference.annotations.results import Results

Shape = Literal["rle", "polygon"]


def content(results: Results, shape: Shape) -> Iterator[bytes]:
    """Return the file, in pieces: one annotation for each area.

    The id of a category is the number of its class plus 1, because 0 means "none" to some programs.
    iscrowd is 0 although crowds are run-length encoded too: programs leave crowds out.
    """
    info = {"description": f"{MARK}: masks of a model, to be corrected", "run": results.info.run}
    categories = [
        {"id": k + 1, "name": results.info.class_names[k], "supercategory": ""}
        for k in results.classes
    ]
    images = [
        {
            "id": number,
            "file_name": photo.file,
            "height": photo.record.height,
            "width": photo.record.width,
        }
        for number, photo in enumerate(results.photos, start=1)
    ]
    yield f'{{"info":{json_line(info)},\n"licenses":[],\n"categories":'.encode()
    yield from json_lines(categories)
    yield b',\n"images":'
    yield from json_lines(images)
    yield b',\n"annotations":'
    yield from json_lines(_annotations(results, shape))
    yield b"}\n"


def _annotations(results: Results, shape: Shape) -> Iterator[dict[str, Any]]:
    number = 0
    for image, photo in enumerate(results.photos, start=1):
        areas = results.areas(photo)
        encoded = rles(areas)
        shapes = encoded if shape == "rle" else _polygons(areas)
        for k, rle, segmentation in zip(areas.classes, encoded, shapes, strict=True):
            number += 1
            yield {
                "id": number,
                "image_id": image,
                "category_id": int(k) + 1,
                "iscrowd": 0,
                "area": int(coco_mask.area(rle)),
                "bbox": coco_mask.toBbox(rle).tolist(),
                "segmentation": segmentation,
            }


def rles(areas: Areas) -> list[dict[str, Any]]:
    """Return the compressed run-length code of each area."""
    height, width = areas.labels.shape
    codes = []
    for starts, lengths in areas.runs("F"):
        ends = starts + lengths
        gaps = starts - np.concatenate(([0], ends[:-1]))
        counts = np.stack([gaps, lengths], axis=1).ravel().tolist()
        if rest := height * width - int(ends[-1]):
            counts.append(rest)
        code = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        codes.append({"size": [height, width], "counts": code["counts"].decode("ascii")})
    return codes


def _polygons(areas: Areas) -> Iterator[list[list[int]]]:
    """Return the polygons of each area; all are outer ones, so their union is the area."""
    for number, box in enumerate(areas.boxes(), start=1):
        corner = [box[1].start, box[0].start]
        yield [
            (np.reshape(polygon, (-1, 2)) + corner).ravel().tolist()
            for polygon in outline(areas.labels[box] == number)
        ]
