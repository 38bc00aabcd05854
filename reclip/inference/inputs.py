"""Find the photos that `reclip predict` gets, and name their results."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from reclip.common.errors import ReclipError
from reclip.common.text import printable
from reclip.data.photos import list_photos

NAME_BYTES = 200  # of a file's 255: the rest is for the suffix and the mark of a partial file
RESULT_SUFFIXES = (".png", ".jpg", ".json")


class Input(NamedTuple):
    """A photo's file, and the name that its results get if they have none yet.

    Attributes:
        path: as the person named it, for messages and tables.
        name: a relative path without suffix.
        real: the path without links, by which the photo is known.
    """

    path: Path
    name: str
    real: str


def find_photos(arguments: Iterable[str], out: Path) -> list[Input]:
    """Return the photos, and all photos at or below the folders, each file once, in order.

    Photos below `out` are skipped. A name is the path below the common folder of all arguments, so
    that a/x.jpg and b/x.jpg stay apart. x.jpg and x.png of one folder keep their suffix.
    Raises ReclipError: an argument does not exist, or there is no photo.
    """
    found: dict[str, Path] = {}  # real path to the first path that leads to it
    roots, written = [], os.path.realpath(out)
    for argument in arguments:
        path = Path(argument).expanduser()
        if path.is_dir():
            inside = [(os.path.realpath(p), p) for p in list_photos(path, "reclip predict")]
            photos = [pair for pair in inside if not Path(pair[0]).is_relative_to(written)]
            roots.append(os.path.abspath(path))
        elif path.exists():
            photos = [(os.path.realpath(path), path)]  # `Path.resolve` raises for a link to itself
            roots.append(os.path.abspath(path.parent))
        else:
            raise ReclipError(f"no file or folder '{printable(argument)}': check the name")
        for real, photo in photos:
            found.setdefault(real, photo)
    if not found:
        raise ReclipError(
            f"no photo in {', '.join(repr(str(a)) for a in arguments)}: name a folder with JPEG, "
            f"PNG, TIFF, WEBP or BMP files, or such a file"
        )
    paths = list(found.values())
    named = zip(paths, names(paths, os.path.commonpath(roots)), found, strict=True)
    return [Input(path, _fit(name, real), real) for path, name, real in named]


def names(paths: list[Path], root: str) -> list[str]:
    """Return each path below `root` without suffix, or with it if two would be equal."""
    whole = [Path(os.path.relpath(os.path.abspath(path), root)).as_posix() for path in paths]
    found = [Path(name).with_suffix("").as_posix() for name in whole]
    while True:
        count = Counter(map(folded, found))
        longer = [w if count[folded(n)] > 1 else n for n, w in zip(found, whole, strict=True)]
        if longer == found:
            return found
        found = longer


def folded(name: str) -> str:
    """Return the same text for names that some file system takes for one.

    They differ in upper and lower case, or in how an accent is written.
    """
    return unicodedata.normalize("NFC", name).casefold()


def other_names(plain: str, real: str) -> Iterator[str]:
    """Yield names for a photo whose plain name is taken; they do not depend on other photos.

    real: the photo's path without links.
    """
    for digits in (8, 16, 64):
        yield f"{plain}-{_digits(real, digits)}"


def _fit(name: str, real: str) -> str:
    """Return a name that files can have, with digits of the photo's path if it is another one.

    Too long names are cut. Hidden files would be overlooked. A folder `x.png` would take the place
    of the mask of a photo `x.jpg`.
    """
    path = PurePosixPath(name)
    blocked = any(part.casefold().endswith(RESULT_SUFFIXES) for part in path.parts[:-1])
    if not blocked and not path.name.startswith(".") and len(os.fsencode(path.name)) <= NAME_BYTES:
        return name
    short = os.fsencode(path.name)[: NAME_BYTES // 2].decode("utf-8", "ignore").lstrip(".")
    fitting = f"{short or 'photo'}-{_digits(real, 8)}"
    return fitting if blocked else path.with_name(fitting).as_posix()


def _digits(real: str, number: int) -> str:
    return sha256(os.fsencode(real)).hexdigest()[:number]
