"""Segment many photos; photos that cannot be read do not stop the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.inference.inputs import find_photos
from reclip.inference.output import Output
from reclip.inference.segmenter import Segmenter, as_pixels


class Outcome(NamedTuple):
    """Number of photos segmented now, number segmented earlier, and an error for each failure."""

    made: int
    kept: int
    failed: list[str]


def predict(
    segmenter: Segmenter, arguments: Sequence[str], out: Path, *, overwrite: bool = False
) -> Outcome:
    """Segment photos into the folder `out` (files: see `reclip.inference.output`).

    arguments: photos, and folders of photos.
    overwrite: segment all again. By default, results of the same model are kept if the photo has
    not changed since.
    Raises ReclipError: there are no photos, or `out` cannot be written.
    """
    photos = find_photos(arguments, out)
    output = Output(out, segmenter.info, overwrite=overwrite)
    made, kept, failed = 0, 0, []
    try:
        for photo in tqdm(photos, desc="segmenting", unit="photo", disable=None):
            if output.has(photo):
                kept += 1
                continue
            try:
                pixels = as_pixels(photo.path)
            except ReclipError as error:
                failed.append(str(error))
            else:
                output.write(photo, segmenter(pixels))
                made += 1
    finally:
        output.finish()
    return Outcome(made, kept, failed)
