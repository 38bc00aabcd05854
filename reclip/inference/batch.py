"""Segment many photos into a folder, as `reclip predict` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.common.text import is_utf8, printable
from reclip.data.images import reading
from reclip.inference.inputs import Input, find_photos
from reclip.inference.output import output
from reclip.inference.records import Record
from reclip.inference.segmenter import Segmenter, as_pixels


class Outcome(NamedTuple):
    """What became of the photos.

    Attributes:
        done: records of the photos that are segmented, the least certain first.
        kept: how many of them were segmented by an earlier call.
        failed: a sentence for each photo that was left out.
        damaged: a sentence for each record of another photo that cannot be read.
        replaced: where pictures went that a person had put in the place of a result.
        renamed: old and new names of results whose photo shares its name with another.
    """

    done: list[Record]
    kept: int
    failed: list[str]
    damaged: list[str]
    replaced: list[Path]
    renamed: list[tuple[str, str]]


def predict(
    segmenter: Segmenter, arguments: Sequence[str], out: Path, *, overwrite: bool = False
) -> Outcome:
    """Segment photos into the folder `out`; photos that cannot be read do not stop the rest.

    arguments: photos, and folders of photos.
    overwrite: segment all again. By default, a result of the same model is kept if photo, mask and
    overlay have the checksums of its record.
    Raises ReclipError: there are no photos, or `out` cannot be written.
    """
    photos = find_photos(arguments, out)
    done, kept, failed = [], 0, []
    with output(out, segmenter.info, overwrite=overwrite) as results:
        for photo in tqdm(photos, desc="segmenting", unit="photo", disable=None):
            try:
                photo_sha256 = _content(photo)
                if results.keeps(photo, photo_sha256):
                    done.append(results.record_of(photo))
                    kept += 1
                    continue
                found = segmenter(as_pixels(photo.path))
            except ReclipError as error:
                failed.append(str(error))
                continue
            done.append(results.write(photo, photo_sha256, found))
    damaged = [
        f"'{path}' is damaged, so its photo is missing in the tables: delete it, and run again "
        f"with that photo"
        for path in results.damaged()
    ]
    done.sort(key=lambda record: (-record.entropy, record.name))
    return Outcome(done, kept, failed, damaged, results.files.replaced, results.renamed)


def _content(photo: Input) -> str:
    """Return the checksum of a photo's file.

    Raises ReclipError: it cannot be read, or no text can hold its path.
    """
    if not is_utf8(os.path.abspath(photo.path)):
        raise ReclipError(
            f"'{printable(photo.path)}' has a path that is not UTF-8, which no table can hold: "
            f"rename the file or its folder"
        )
    with reading(photo.path):
        if os.path.exists(photo.path) and not os.path.isfile(photo.path):
            raise OSError("it is no file")
        return file_sha256(photo.path)
