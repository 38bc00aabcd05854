"""Segment photos one by one; what cannot be read is named and does not stop the rest."""

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
    """Numbers of photos that were segmented now and earlier; sentences on those that were not."""

    made: int
    kept: int
    failed: list[str]


def predict(
    segmenter: Segmenter, arguments: Sequence[str], out: Path, *, overwrite: bool = False
) -> Outcome:
    """Write `out` as `reclip.inference.output` describes it.

    arguments: photos and folders of photos. Photos that this model has done already are left,
    unless they were changed since; `overwrite` makes all again.
    Raises ReclipError: no photo, or `out` cannot be written.
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
                continue
            output.write(photo, segmenter(pixels))
            made += 1
    finally:
        output.finish()
    return Outcome(made, kept, failed)
