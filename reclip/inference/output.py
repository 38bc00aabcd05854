"""The folder that `reclip predict` writes.

model.json               what made the masks
masks/NAME.png           palette PNG: a class's number for every pixel of the photo
overlays/NAME.jpg        the photo with the classes' colours and a legend
areas.csv                a row a photo: height, width, share of each class
contact-sheet-1.jpg ...  all overlays at a glance
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.common.files import atomic, read_json, write_json
from reclip.common.tables import write_table
from reclip.data.images import image_size, read_image, read_label
from reclip.inference.contact_sheet import A_PAGE, page, thumbnail
from reclip.inference.drawing import Entry
from reclip.inference.inputs import Input
from reclip.inference.model_info import INFO, ModelInfo
from reclip.inference.segmentation import OVERLAY_SIDE, Segmentation, shown_size


class Output:
    """Results of one model, of which some may be there from an earlier call.

    overwrite: make them again, also where they are another model's.
    Raises ReclipError: the folder cannot be written, holds something else or another model's
    results.
    """

    def __init__(self, folder: Path, info: ModelInfo, *, overwrite: bool) -> None:
        self.folder, self.info, self.overwrite = folder, info, overwrite
        self._pixels: dict[Input, np.ndarray] = {}
        self._sizes: dict[Input, tuple[int, int]] = {}
        described = info.model_dump(mode="json")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            there = sorted(os.listdir(folder))
        except OSError as error:
            raise ReclipError(
                f"--out: '{folder}' cannot be used as a folder ({error.strerror}): name another"
            ) from error
        if not os.access(folder, os.W_OK):
            raise ReclipError(f"--out: '{folder}' may not be written: name another folder")
        if there and INFO not in there:
            raise ReclipError(
                f"--out: '{folder}' holds other files, such as '{there[0]}': name a new folder"
            )
        if there and not overwrite and _read(folder / INFO) != described:
            raise ReclipError(
                f"--out: '{folder}' holds the results of another model: name another folder, or "
                f"replace them by --overwrite"
            )
        write_json(folder / INFO, described)

    def mask(self, photo: Input) -> Path:
        return self.folder / "masks" / f"{photo.name}.png"

    def overlay(self, photo: Input) -> Path:
        return self.folder / "overlays" / f"{photo.name}.jpg"

    def has(self, photo: Input) -> bool:
        """Whether the photo is done, and was not changed since."""
        mask, overlay = self.mask(photo), self.overlay(photo)
        if self.overwrite or not (mask.is_file() and overlay.is_file()):
            return False
        if photo.path.stat().st_mtime_ns > mask.stat().st_mtime_ns:
            return False
        try:
            label = read_label(mask)
            read_image(overlay)
            if image_size(photo.path) != label.shape or label.max() >= len(self.info.classes):
                return False
        except ReclipError:
            return False
        self._note(photo, label)
        return True

    def write(self, photo: Input, found: Segmentation) -> None:
        """The mask comes last: where it is, the photo is done."""
        with atomic(self.overlay(photo)) as partial:
            _save_jpeg(found.overlay(), partial)
        with atomic(self.mask(photo)) as partial:
            found.palette_image().save(partial, "PNG")
        self._note(photo, found.mask)

    def _note(self, photo: Input, mask: np.ndarray) -> None:
        self._pixels[photo] = np.bincount(mask.ravel(), minlength=len(self.info.classes))
        self._sizes[photo] = mask.shape

    def finish(self) -> None:
        """Write areas.csv and the contact sheets, of the photos that are done."""
        columns = ("photo", "height", "width", *self.info.class_names)
        rows = [
            (photo.path, *self._sizes[photo], *(f"{v:.6f}" for v in pixels / pixels.sum()))
            for photo, pixels in self._pixels.items()
        ]
        write_table(self.folder / "areas.csv", columns, rows)
        done = list(self._pixels)
        for old in self.folder.glob("contact-sheet-*.jpg"):
            old.unlink()
        for number, start in enumerate(range(0, len(done), A_PAGE), start=1):
            some = done[start : start + A_PAGE]
            cells = [(photo.name, self._thumbnail(photo)) for photo in some]
            sheet = page(cells, self._legend(some))
            with atomic(self.folder / f"contact-sheet-{number}.jpg") as partial:
                _save_jpeg(sheet, partial)

    def _thumbnail(self, photo: Input) -> Image.Image:
        height, width = self._sizes[photo]
        with Image.open(self.overlay(photo), formats=("JPEG",)) as overlay:
            return thumbnail(overlay.crop((0, 0, *shown_size(width, height, OVERLAY_SIDE))))

    def _legend(self, photos: list[Input]) -> list[Entry]:
        total = sum(self._pixels[photo] for photo in photos)
        order = np.argsort(-total, kind="stable")
        names, colours = self.info.class_names, self.info.palette
        return [(colours[k], names[k]) for k in order if total[k]]


def _save_jpeg(picture: Image.Image, path: Path) -> None:
    """Pillow takes a file that a full disk cuts short for whole; Python's own writing does not."""
    whole = io.BytesIO()
    picture.save(whole, "JPEG", quality=90)
    path.write_bytes(whole.getvalue())


def _read(path: Path) -> object:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None
