"""Find the photos that `reclip predict` gets, and name their results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from reclip.common.errors import ReclipError
from reclip.data.photos import list_photos


class Input(NamedTuple):
    """A photo's file, and the name of its results: a relative path without suffix."""

    path: Path
    name: str


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
            raise ReclipError(f"no file or folder '{argument}': check the name")
        for real, photo in photos:
            found.setdefault(real, photo)
    if not found:
        raise ReclipError(
            f"no photo in {', '.join(repr(str(a)) for a in arguments)}: name a folder with JPEG, "
            f"PNG, TIFF, WEBP or BMP files, or such a file"
        )
    paths = list(found.values())
    return list(map(Input, paths, names(paths, os.path.commonpath(roots))))


def names(paths: list[Path], root: str) -> list[str]:
    """Return each path below `root` without suffix, or with it if two would be equal.

    Names that differ only in upper and lower case count as equal, as some file systems have it.
    """
    whole = [Path(os.path.relpath(os.path.abspath(path), root)).as_posix() for path in paths]
    found = [Path(name).with_suffix("").as_posix() for name in whole]
    while True:
        count = Counter(map(str.casefold, found))
        longer = [w if count[n.casefold()] > 1 else n for n, w in zip(found, whole, strict=True)]
        if longer == found:
            return found
        found = longer
