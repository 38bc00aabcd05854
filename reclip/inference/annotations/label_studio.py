"""Label Studio's JSON of brush labels, as predictions, and the labelling interface they need.

tasks.json    to import into a project: a photo's address and its areas
config.xml    to paste into the project's settings: classes and colours
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np

from reclip.inference.annotations.areas import Areas
from reclip.inference.annotations.files import MARK, Files, json_lines
from reclip.inference.annotations.results import Photo, Results

LOCAL_FILES = "/data/local-files/?d="  # photos on Label Studio's own machine
FROM, TO = "class", "image"
SIZES = np.array([3, 4, 8, 16])  # bits of a run's length


def files(results: Results, image_prefix: str) -> Files:
    """Return the files. image_prefix: stands before the path of each photo."""
    return {
        "config.xml": lambda: [_config(results).encode()],
        "tasks.json": lambda: _lines(
            _task(results, photo, image_prefix) for photo in results.photos
        ),
    }


def _lines(tasks: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield from json_lines(tasks)
    yield b"\n"


def _config(results: Results) -> str:
    labels = "".join(
        f'    <Label value="{escape(results.info.class_names[k])}" '
        f'background="#{bytes(results.info.palette[k]).hex()}"/>\n'
        for k in results.classes
    )
    return (
        f'<View>\n  <Image name="{TO}" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="{FROM}" toName="{TO}">\n{labels}  </BrushLabels>\n</View>\n'
    )


def _task(results: Results, photo: Photo, image_prefix: str) -> dict[str, Any]:
    areas = results.areas(photo)
    prediction = {
        "model_version": f"{MARK}: {results.info.run}",
        "score": photo.record.confidence,
        "result": [
            {
                "id": f"area-{number}",
                "type": "brushlabels",
                "from_name": FROM,
                "to_name": TO,
                "original_width": photo.record.width,
                "original_height": photo.record.height,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": rle,
                    "brushlabels": [results.info.class_names[k]],
                },
            }
            for number, (k, rle) in enumerate(zip(areas.classes, rles(areas), strict=True), start=1)
        ],
    }
    return {"data": {"image": image_prefix + quote(photo.file)}, "predictions": [prediction]}


def rles(areas: Areas) -> Iterator[list[int]]:
    """Return the code of each area, as bytes: 255 in its pixels, 0 elsewhere.

    The code is that of https://github.com/thi-ng/umbrella, package rle-pack, for the four channels
    of an RGBA picture, row by row. It begins with the number of values (32 bits), the bits of a
    value less 1 (5), and the four sizes of a run's length less 1 (4 each). A run is a bit 1, the
    index of its length's size (2), its length less 1, and its value (8).
    """
    total = 4 * areas.labels.size
    head = _bits(np.array([total, 7, *SIZES - 1]), np.array([32, 5, 4, 4, 4, 4]))
    for starts, lengths in areas.runs("C"):
        bounds = 4 * np.stack([starts, starts + lengths], axis=1).ravel()
        lengths = np.diff(bounds, prepend=0, append=total)
        values = np.arange(len(lengths)) % 2 * 255
        bits = np.concatenate([head, _bits(*_codes(lengths[lengths > 0], values[lengths > 0]))])
        yield np.packbits(bits).tolist()


def _codes(lengths: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the code of each run and its bits; a run too long for a code gets several."""
    longest = 2 ** SIZES[-1]
    parts = -(-lengths // longest)
    values, last = np.repeat(values, parts), np.cumsum(parts) - 1
    short = np.full(len(values), longest)
    short[last] = lengths - (parts - 1) * longest
    size = np.searchsorted(2**SIZES, short)
    bits = SIZES[size]
    return ((((1 << 2) | size) << bits) | (short - 1)) << 8 | values, 3 + bits + 8


def _bits(codes: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return the lowest bits of each code, highest first, as 0 and 1. widths: bits of each code."""
    ends = np.cumsum(widths)
    place = np.repeat(ends, widths) - np.arange(ends[-1]) - 1
    return (np.repeat(codes, widths) >> place & 1).astype(np.uint8)
