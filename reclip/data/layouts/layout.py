"""What the readers of the official layouts (`voc`, `context`, `ade`) have in common."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.data.images import FORMATS, IGNORED, image_size, read_label

SPLITS = ("train", "val")
PHOTO_SUFFIXES = (".jpg", ".JPG", ".jpeg", ".JPEG")  # official first; others come of copying about
MAX_ID = 100  # characters; ids of official datasets have up to 18
PIXELS_AT_ONCE = 2**18  # of a label map, in 64 bits: a whole one would take 25 times its size


@dataclass(frozen=True)
class Photo:
    """A listed photo and where its label map comes from.

    Attributes:
        id: unique within the dataset; names the files made from the photo.
        path: the photo.
        source: the file that holds its label map; it need not exist.
        read: reads the map as class indices, uint8 (H, W), IGNORED where there is no class.
    """

    id: str
    path: Path
    source: Path
    read: Callable[[], np.ndarray]

    @property
    def labelled(self) -> bool:
        return self.source.is_file()

    def label(self) -> np.ndarray:
        """The label map, uint8 (H, W), of the size that `images.read_image` gives the photo.

        Raises ReclipError: no map, or one of another size. Photos are read upright, so the map of
        one that its EXIF data turns has to be upright; no official photo is turned.
        """
        if not self.labelled:
            raise ReclipError(
                f"photo '{self.path}' has no label map '{self.source}': "
                f"restore it or take the photo off the list"
            )
        label = self.read()
        height, width = image_size(self.path)
        if label.shape != (height, width):
            raise ReclipError(
                f"the label map of '{self.path}' is {label.shape[1]}×{label.shape[0]}, the photo, "
                f"upright by its EXIF data, {width}×{height}: restore the pair"
            )
        return label


@dataclass(frozen=True)
class Layout:
    """A dataset found in its official layout.

    Attributes:
        kind: "voc", "context" or "ade".
        class_names: the names of each class, by index.
        lists: which lists the splits come from, in words.
        official: the number of photos that these lists have officially, by split.
        photos: the photos that were found, by split, in the lists' order.
    """

    kind: str
    class_names: Sequence[Sequence[str]]
    lists: str
    official: dict[str, int]
    photos: dict[str, list[Photo]]


class IdTable:
    """From the ids of a dataset's label maps to class indices."""

    def __init__(self, ids: Sequence[int], ignored: Collection[int], known: str) -> None:
        """ids: the id of each class; ignored: ids of no class; known: all of them, in words."""
        self.known = known
        # One entry more than the largest id: where all ids lead that the table does not know.
        self.classes = np.full(max(*ids, *ignored) + 2, -1, np.int16)
        self.classes[list(ignored)] = IGNORED
        self.classes[list(ids)] = np.arange(len(ids))

    def convert(self, ids: np.ndarray, path: Path) -> np.ndarray:
        """Class indices, uint8, of integer ids of any shape; `path` is for the message.

        Raises ReclipError: an id that the dataset does not have.
        """
        unknown = len(self.classes) - 1
        flat = ids.reshape(-1)
        classes = np.empty(flat.size, np.uint8)
        for start in range(0, flat.size, PIXELS_AT_ONCE):
            few = flat[start : start + PIXELS_AT_ONCE].astype(np.int64)
            found = self.classes[np.where(few < 0, unknown, np.minimum(few, unknown))]
            if (found < 0).any():
                raise ReclipError(
                    f"label map '{path}' holds id {few[found < 0].min()}, it should have "
                    f"{self.known}: check that it belongs to this dataset and get it again"
                )
            classes[start : start + PIXELS_AT_ONCE] = found
        return classes.reshape(ids.shape)


def read_ids(path: Path) -> np.ndarray:
    """Ids (H, W) as stored in a palette or grey PNG of up to 16 bits: uint8 or uint16.

    Raises ReclipError: not such an image.
    """
    # What is wrong with a file, `read_label` says in a sentence.
    with suppress(Exception), Image.open(path, formats=FORMATS) as image:
        if image.mode.startswith("I;16"):
            return np.array(image)
    return read_label(path)


def find_marked(folder: Path, marker: str, wanted: str, usual: str) -> Path:
    """The folder that holds `marker`, a file or folder, at `folder` or up to two levels below.

    wanted: what is looked for, in words; usual: where it usually lies. Of several folders the one
    with the last name of `usual` is taken.
    Raises ReclipError if there is none.
    """
    if (folder / marker).exists():
        return folder
    found = [*sorted(folder.glob(f"*/{marker}")), *sorted(folder.glob(f"*/*/{marker}"))]
    if not found:
        raise ReclipError(
            f"'{folder}' holds no {wanted} ('{marker}' is missing): "
            f"point to the folder or archive with {usual}"
        )
    roots = [path.parents[marker.count("/")] for path in found]
    return next((root for root in roots if root.name == Path(usual).name), roots[0])


def read_list(path: Path) -> list[str]:
    """The ids that a list file names, one a line, in its order; blank lines are skipped.

    It may have been saved under Windows, which puts a mark before UTF-8, or writes UTF-16.
    Raises ReclipError: no such file, none in it, or a line that is no id.
    """
    if not path.is_file():
        raise ReclipError(f"there is no '{path}': restore this list of photos")
    content = path.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if marked else "utf-8-sig", errors="replace")
    ids = [checked_id(line.strip(), path) for line in text.splitlines() if line.strip()]
    if not ids:
        raise ReclipError(f"'{path}' lists no photo: restore this list of photos")
    return ids


def checked_id(id: str, listing: Path) -> str:
    """`id`, if it can name a file in any folder.

    Raises ReclipError: a path or several words, or what is too long for a name or no text.
    """
    if id != Path(id).name or len(id.split()) != 1 or len(id) > MAX_ID or not id.isprintable():
        raise ReclipError(
            f"'{listing}' lists {id[:MAX_ID]!r}, not the id of a photo: restore the file"
        )
    return id


def listed_photo(folder: Path, id: str, listing: Path) -> Path:
    """`<folder>/<id>.jpg`, or another of PHOTO_SUFFIXES.

    Raises ReclipError if it is missing.
    """
    photos = [folder / f"{id}{suffix}" for suffix in PHOTO_SUFFIXES]
    found = next((photo for photo in photos if photo.is_file()), None)
    if found is None:
        raise ReclipError(f"'{listing}' lists '{id}' but there is no '{photos[0]}': restore it")
    return found
