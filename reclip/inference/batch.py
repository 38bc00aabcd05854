"""Segment many photos into a folder, as `reclip predict` does. The folder's files:

model.json               description of the model that made the masks
masks/NAME.png           palette PNG: the class number of every pixel of the photo
overlays/NAME.jpg        the photo with the colours of its classes and a legend
areas.csv                one row a photo: height, width, share of each class
contact-sheet-1.jpg ...  thumbnails of all overlays
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.common.files import atomic, canonical_json, write_text
from reclip.common.tables import write_table
from reclip.data.images import image_size, read_image, read_label
from reclip.inference.drawing import A_PAGE, contact_sheet, thumbnail
from reclip.inference.inputs import Input, find_photos
from reclip.inference.model_info import INFO, ModelInfo
from reclip.inference.segmentation import OVERLAY_SIDE, Segmentation, by_size, shown_size
from reclip.inference.segmenter import Segmenter, as_pixels


def predict(
    segmenter: Segmenter, arguments: Sequence[str], out: Path, *, overwrite: bool = False
) -> tuple[int, int, list[str]]:
    """Segment photos into the folder `out`; photos that cannot be read do not stop the rest.

    arguments: photos, and folders of photos.
    overwrite: segment all again. By default, results of the same model are kept if the photo has
    not changed since.
    Returns the number of segmented photos, how many of them earlier, and an error for each failure.
    Raises ReclipError: there are no photos, or `out` cannot be written.
    """
    photos = find_photos(arguments, out)
    output = Output(out, segmenter.info, overwrite=overwrite)
    done, kept, failed = 0, 0, []
    try:
        for photo in tqdm(photos, desc="segmenting", unit="photo", disable=None):
            if output.has(photo):
                kept += 1
            else:
                try:
                    pixels = as_pixels(photo.path)
                except ReclipError as error:
                    failed.append(str(error))
                    continue
                output.write(photo, segmenter(pixels))
            done += 1
    finally:
        output.finish()
    return done, kept, failed


class Output:
    """The results of one model. Results of earlier calls are kept.

    overwrite: segment all photos again, and replace the results of another model.
    Raises ReclipError: the folder cannot be written, or holds other files or the results of another
    model.
    """

    def __init__(self, folder: Path, info: ModelInfo, *, overwrite: bool) -> None:
        self.folder, self.info, self.overwrite = folder, info, overwrite
        self._masks: dict[Input, tuple[tuple[int, int], np.ndarray]] = {}  # size, pixels by class
        description = canonical_json(info.model_dump(mode="json"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files = sorted(os.listdir(folder))
        except OSError as error:
            raise ReclipError(
                f"--out: Cannot use '{folder}' as a folder: {error.strerror}. Name another folder."
            ) from error
        if not os.access(folder, os.W_OK):
            raise ReclipError(
                f"--out: Cannot write into '{folder}': permission denied. Name another folder."
            )
        if files and INFO not in files:
            raise ReclipError(
                f"--out: '{folder}' holds other files, such as '{files[0]}': name a new folder"
            )
        if files and not overwrite and (folder / INFO).read_bytes() != description.encode():
            raise ReclipError(
                f"--out: '{folder}' holds the results of another model: name another folder, "
                f"or replace the results with --overwrite"
            )
        write_text(folder / INFO, description)

    def _files(self, photo: Input) -> tuple[Path, Path]:
        folder, name = self.folder, photo.name
        return folder / "masks" / f"{name}.png", folder / "overlays" / f"{name}.jpg"

    def has(self, photo: Input) -> bool:
        """Return whether the photo has a complete result that is newer than the photo."""
        mask, overlay = self._files(photo)
        if self.overwrite or not (mask.is_file() and overlay.is_file()):
            return False
        if photo.path.stat().st_mtime_ns > mask.stat().st_mtime_ns:
            return False
        with suppress(ReclipError):
            label = read_label(mask)
            read_image(overlay)
            if image_size(photo.path) == label.shape and label.max() < len(self.info.classes):
                self._count(photo, label)
                return True
        return False

    def write(self, photo: Input, found: Segmentation) -> None:
        """Write overlay and mask. The mask comes last: a photo with a mask is done."""
        mask, overlay = self._files(photo)
        _write_jpeg(overlay, found.overlay())
        with atomic(mask) as partial:
            found.palette_image().save(partial, "PNG")
        self._count(photo, found.mask)

    def _count(self, photo: Input, mask: np.ndarray) -> None:
        pixels = np.bincount(mask.ravel(), minlength=len(self.info.classes))
        self._masks[photo] = mask.shape, pixels

    def finish(self) -> None:
        """Write areas.csv and the contact sheets of the photos that are done."""
        rows = [
            (photo.path, *size, *(f"{share:.6f}" for share in pixels / pixels.sum()))
            for photo, (size, pixels) in self._masks.items()
        ]
        columns = ("photo", "height", "width", *self.info.class_names)
        write_table(self.folder / "areas.csv", columns, rows)
        for old in self.folder.glob("contact-sheet-*.jpg"):
            old.unlink()
        done = list(self._masks)
        for number, start in enumerate(range(0, len(done), A_PAGE), start=1):
            photos = done[start : start + A_PAGE]
            cells = [(photo.name, self._thumbnail(photo)) for photo in photos]
            classes = by_size(sum(self._masks[photo][1] for photo in photos))
            legend = [(self.info.palette[k], self.info.class_names[k]) for k in classes]
            _write_jpeg(self.folder / f"contact-sheet-{number}.jpg", contact_sheet(cells, legend))

    def _thumbnail(self, photo: Input) -> Image.Image:
        (height, width), _ = self._masks[photo]
        with Image.open(self._files(photo)[1], formats=("JPEG",)) as overlay:
            return thumbnail(overlay.crop((0, 0, *shown_size(width, height, OVERLAY_SIDE))))


def _write_jpeg(path: Path, picture: Image.Image) -> None:
    """Write a JPEG. Pillow itself does not notice that a full disk cut a file short."""
    with atomic(path) as partial:
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=90)
        partial.write_bytes(content.getvalue())
