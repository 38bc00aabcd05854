"""The common parts of the readers of official layouts, such as `voc`, `context` and `ade`."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED, image_size, opened, read_label
from reclip.data.label_colours import LabelColours

SPLITS = ("train", "val")
PHOTO_SUFFIXES = (".jpg", ".JPG", ".jpeg", ".JPEG")  # official first; some copies have the others
PIXELS_AT_ONCE = 2**18  # of a label map in 64 bits: a whole map would take 25 times its size
MAX_ID = 100  # characters; ids of official datasets have up to 18


class IdTable:
    """Converts the ids of a dataset's label maps to class indices."""

    def __init__(
        self, ids: Sequence[int | Sequence[int]], ignored: Collection[int], known: str
    ) -> None:
        """Take the id or ids of each class, the ids of no class, and all in words (`known`)."""
        self.known = known
        of_class = [np.atleast_1d(those) for those in ids]
        # One entry more than the largest id: it stands for all unknown ids.
        self.classes = np.full(max(*map(np.max, of_class), *ignored) + 2, -1, np.int16)
        self.classes[list(ignored)] = IGNORED
        for number, those in enumerate(of_class):
            self.classes[those] = number

    def convert(self, ids: np.ndarray, path: Path) -> np.ndarray:
        """Return class indices, uint8, of integer ids of any shape.

        Raises ReclipError: the dataset has no such id; the error names the file `path`.
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


@dataclass(frozen=True)
class Photo:
    """A photo and the source of its label map.

    Attributes:
        id: unique within the dataset; names the files made from the photo.
        path: the photo.
        source: the file that holds its label map; it may be missing.
        read_ids: reads the map from `source` as integer ids (H, W).
        table: converts these ids to class indices.
    """

    id: str
    path: Path
    source: Path
    read_ids: Callable[[Path], np.ndarray]
    table: IdTable

    @property
    def labelled(self) -> bool:
        return self.source.is_file()

    def label(self) -> np.ndarray:
        """Return the label map, uint8 (H, W): class indices, IGNORED where there is no class.

        It has the size that `images.read_image` gives the photo. Photos are read upright, so the
        map of a photo that its EXIF data turns must be upright; no official photo is turned.

        Raises ReclipError: the map is missing, or has another size or an unknown id.
        """
        if not self.labelled:
            raise ReclipError(
                f"photo '{self.path}' has no label map '{self.source}': "
                f"restore it or take the photo off the list"
            )
        label = self.table.convert(self.read_ids(self.source), self.source)
        height, width = image_size(self.path)
        if label.shape != (height, width):
            raise ReclipError(
                f"the label map of '{self.path}' is {label.shape[1]}×{label.shape[0]}, the photo, "
                f"upright by its EXIF data, {width}×{height}: restore the pair"
            )
        return label


@dataclass(frozen=True)
class Layout:
    """A dataset in its official layout.

    Attributes:
        kind: of its source, such as "voc" (`reclip.config.sources`).
        class_names: the names of each class, by index.
        lists: the lists that the splits come from, in words.
        official: the official number of photos of each split.
        photos: the photos found, by split, in the lists' order.
    """

    kind: str
    class_names: Sequence[Sequence[str]]
    lists: str
    official: dict[str, int]
    photos: dict[str, list[Photo]]


def find_marked(folder: Path, marker: str, wanted: str, usual: str) -> Path:
    """Return the folder that holds `marker`: `folder`, or one up to two levels below.

    Args:
        marker: a file or folder.
        wanted: the data that is searched for, in words.
        usual: its usual place; of several folders, the one with its last name is taken.
    Raises ReclipError: there is none.
    """
    roots = [place for place in at_or_below(folder) if (place / marker).exists()]
    if not roots:
        raise ReclipError(
            f"'{folder}' holds no {wanted} ('{marker}' is missing): "
            f"point to the folder or archive with {usual}"
        )
    named = [root for root in roots if root.name == Path(usual).name]
    return (named or roots)[0] if roots[0] != folder else folder


def at_or_below(folder: Path) -> list[Path]:
    """Return `folder` and the sorted folders one and two levels below."""
    inside = sorted(shown(folder, "*/"))
    return [folder, *inside, *(place for outer in inside for place in sorted(shown(outer, "*/")))]


def shown(folder: Path, pattern: str) -> list[Path]:
    """Return the files or folders of a pattern in `folder` without those that only a system uses.

    macOS writes `._x.jpg` for x.jpg, and in archives a folder `__MACOSX` of such files.
    """
    return [p for p in folder.glob(pattern) if not p.name.startswith((".", "__MACOSX"))]


def read_ids(path: Path, colours: LabelColours | None = None) -> np.ndarray:
    """Return the ids (H, W), uint8 or uint16, of a palette or grey PNG of up to 16 bits.

    colours: as of `read_label`.
    Raises ReclipError: it is no such image.
    """
    # `read_label` reports an error in the file.
    with suppress(ReclipError), opened(path) as image:
        if image.mode.startswith("I;16"):
            return np.array(image)
    return read_label(path, colours)


def photos_in(
    folder: Path,
    label_of: Callable[[str], Path],
    read_ids: Callable[[Path], np.ndarray],
    table: IdTable,
) -> list[Photo]:
    """Return the photos of a folder, by name; their ids are their names.

    label_of: gives the file of an id's label map.
    Raises ReclipError: there is no such folder, or a name is no id.
    """
    if not folder.is_dir():
        raise ReclipError(f"there is no folder '{folder}': restore it")
    paths = sorted(path for path in shown(folder, "*") if path.suffix in PHOTO_SUFFIXES)
    return [
        Photo(checked_id(path.stem, folder), path, label_of(path.stem), read_ids, table)
        for path in paths
    ]


def listed_photos(
    root: Path,
    lists: str,
    label_of: Callable[[str], Path],
    read_ids: Callable[[Path], np.ndarray],
    table: IdTable,
) -> dict[str, list[Photo]]:
    """Return the photos in VOC's layout that `<lists>/{train,val}.txt` name, in their order.

    label_of: gives the file of an id's label map.
    Raises ReclipError: a list or a listed photo is missing.
    """
    photos = {}
    for split in SPLITS:
        listing = root / lists / f"{split}.txt"
        photos[split] = [
            Photo(id, listed_photo(root, id, listing), label_of(id), read_ids, table)
            for id in read_list(listing)
        ]
    return photos


def read_list(path: Path) -> list[str]:
    """Return the ids in a list file, one a line, in its order; blank lines are skipped.

    Windows may have saved it with a mark before UTF-8, or as UTF-16.

    Raises ReclipError: the file is missing or empty, or a line is no id.
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
    """Return `id` if it can name a file in any folder.

    Raises ReclipError: it is a path, several words, too long or not printable.
    """
    if id != Path(id).name or len(id.split()) != 1 or len(id) > MAX_ID or not id.isprintable():
        raise ReclipError(
            f"'{listing}' lists {id[:MAX_ID]!r}, not the id of a photo: restore the file"
        )
    return id


def listed_photo(root: Path, id: str, listing: Path) -> Path:
    """Return `<root>/JPEGImages/<id>.jpg`, or the file with another of PHOTO_SUFFIXES.

    Raises ReclipError: there is none.
    """
    photos = [root / "JPEGImages" / f"{id}{suffix}" for suffix in PHOTO_SUFFIXES]
    found = next((photo for photo in photos if photo.is_file()), None)
    if found is None:
        raise ReclipError(f"'{listing}' lists '{id}' but there is no '{photos[0]}': restore it")
    return found
