"""The layout that CVAT imports as "Segmentation mask 1.1": PASCAL VOC's, with labelmap.txt.

labelmap.txt                              name, colour of each class
SegmentationClass/NAME.png                RGB: the colour of each pixel's class
SegmentationObject/NAME.png               RGB: VOC's colour of each pixel's area
ImageSets/Segmentation/default.txt        NAME of each photo

CVAT takes black as "no annotation".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.inference.annotations.areas import Areas
from reclip.inference.annotations.files import Files
from reclip.inference.annotations.results import Photo, Results
from reclip.inference.drawing import png

BACKGROUND, BLACK = "background", (0, 0, 0)
MOST = 255  # areas of a photo: VOC has as many colours


class Label(NamedTuple):
    """How a class is written: its name and its RGB. Black is not annotated."""

    name: str
    colour: tuple[int, int, int]


def files(results: Results, notes: list[str]) -> Files:
    """Return the files. What cannot be handed on as it is gets a sentence in `notes`.

    Raises ReclipError: two classes would get the same name, or default.txt cannot hold a photo's
    name.
    """
    for photo in results.photos:
        name = photo.name
        if name != name.strip() or name[0] == "#" or len(name.splitlines()) != 1:
            raise ReclipError(
                f"CVAT's layout cannot hold the name of {photo.record.photo!r}: rename the photo "
                f"and run `reclip predict` again"
            )
    labels = _labels(results, notes)
    found: Files = {"labelmap.txt": partial(_labelmap, labels.values())}
    for photo in results.photos:
        found[f"SegmentationClass/{photo.name}.png"] = partial(_classes, results, photo, labels)
        found[f"SegmentationObject/{photo.name}.png"] = partial(
            _objects, results, photo, labels, notes
        )
    listed = "".join(f"{photo.name}\n" for photo in results.photos)
    found["ImageSets/Segmentation/default.txt"] = lambda: [listed.encode()]
    return found


def _labels(results: Results, notes: list[str]) -> dict[int, Label]:
    """Return the label of each class. Each has a colour of its own: near the palette's, if in use.

    In labelmap.txt, ":" divides and "#" begins a comment.
    """
    labels: dict[int, Label] = {}
    for k in results.classes:
        known = results.info.class_names[k]
        name = re.sub(r"^#", "_", re.sub(r"[:\r\n]", "_", known).strip())
        if name in (label.name for label in labels.values()):
            raise ReclipError(
                f"CVAT's labelmap.txt would hold the class '{name}' twice: leave out one of them "
                f"with --skip, or rename it"
            )
        if name != known:
            notes.append(f"CVAT's labelmap.txt cannot hold '{known}': the class is '{name}' there")
        if name == BACKGROUND:
            notes.append(f"CVAT takes the pixels of '{name}' as not annotated")
            labels[k] = Label(name, BLACK)
            continue
        number = int.from_bytes(bytes(results.info.palette[k]), "big")
        used = {BLACK, *(label.colour for label in labels.values())}
        while (colour := tuple(number.to_bytes(3, "big"))) in used:
            number = (number + 1) % 2**24
        labels[k] = Label(name, colour)
    return labels


def _labelmap(labels: Collection[Label]) -> Iterator[bytes]:
    yield b"# label:color_rgb:parts:actions\n"
    if BACKGROUND not in (label.name for label in labels):
        labels = [Label(BACKGROUND, BLACK), *labels]
    for name, colour in labels:
        yield f"{name}:{','.join(map(str, colour))}::\n".encode()


def _classes(results: Results, photo: Photo, labels: dict[int, Label]) -> Iterator[bytes]:
    areas = results.areas(photo)
    yield _png(areas, [labels[k].colour for k in areas.classes])


def _objects(
    results: Results, photo: Photo, labels: dict[int, Label], notes: list[str]
) -> Iterator[bytes]:
    areas = results.areas(photo)
    if len(areas.classes) > MOST:
        notes.append(
            f"'{photo.file}' has {len(areas.classes)} regions, and CVAT's layout holds {MOST}: it "
            f"has one area of each class"
        )
        areas = areas.by_class()
    drawn = np.array([labels[k].colour != BLACK for k in areas.classes], int)
    yield _png(areas, [voc_colour(number) for number in (np.cumsum(drawn) * drawn).tolist()])


def voc_colour(number: int) -> tuple[int, int, int]:
    """Return the RGB of a number in PASCAL VOC's colour map (VOClabelcolormap in its kit).

    Of each three bits of the number, one goes to each colour, into its highest bit that is free.
    """
    rgb = [0, 0, 0]
    for place in range(3):
        for channel in range(3):
            rgb[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return rgb[0], rgb[1], rgb[2]


def _png(areas: Areas, colours: list[tuple[int, int, int]]) -> bytes:
    """Return an RGB PNG with the colour of each area, and black where there is none."""
    return png(Image.fromarray(np.array([BLACK, *colours], np.uint8)[areas.labels]))
