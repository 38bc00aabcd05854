"""Which photos `reclip predict` is asked for, and what their results are called."""

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
    """Photos and all photos at or below folders, each once, in order; none of `out`'s.

    A name is the path below the folder that holds all arguments, so that a/x.jpg and b/x.jpg stay
    apart; x.jpg and x.png of one folder keep their suffix in it.
    Raises ReclipError: an argument that is not there, or no photo at all.
    """
    found: list[Path] = []
    roots = []
    made = os.path.realpath(out)
    for argument in arguments:
        path = Path(argument).expanduser()
        if path.is_dir():
            inside = list_photos(path, "reclip predict")
            found += [p for p in inside if not _real(p).is_relative_to(made)]
            roots.append(os.path.abspath(path))
        elif path.exists():
            found.append(path)
            roots.append(os.path.abspath(path.parent))
        else:
            raise ReclipError(f"there is no file or folder '{argument}': check its name")
    if not found:
        raise ReclipError(
            f"no photo in {', '.join(repr(str(a)) for a in arguments)}: name a folder that holds "
            f"JPEG, PNG, TIFF, WEBP or BMP files, or a file itself"
        )
    paths = unique_files(found)
    root = os.path.commonpath(roots)
    return [Input(*pair) for pair in zip(paths, names(paths, root), strict=True)]


def unique_files(paths: Iterable[Path]) -> list[Path]:
    """The first of those that lead to the same file."""
    found: dict[Path, Path] = {}
    for path in paths:
        found.setdefault(_real(path), path)
    return list(found.values())


def _real(path: Path) -> Path:
    """Where links lead, as far as they do: `Path.resolve` raises for a link to itself."""
    return Path(os.path.realpath(path))


def names(paths: list[Path], root: str) -> list[str]:
    """Paths below `root` without suffix; with it where two would be alike, in any case."""
    whole = [Path(os.path.relpath(os.path.abspath(path), root)).as_posix() for path in paths]
    found = [Path(name).with_suffix("").as_posix() for name in whole]
    while True:
        count = Counter(name.casefold() for name in found)
        longer = [
            full if count[name.casefold()] > 1 else name
            for name, full in zip(found, whole, strict=True)
        ]
        if longer == found:
            return found
        found = longer
