"""The photos in a user's folder: their files, their ids, and a digest of them all.

Imports nothing heavy, because every command checks whether the photos have changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import text_sha256
from reclip.common.hashing import cached_sha256s
from reclip.common.text import is_utf8
from reclip.data.image_files import is_image_file

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SLUG = 60  # characters of a path that an id shows


def list_photos(folder: str | Path, option: str) -> list[Path]:
    """Return all images at or below `folder`, readable or not, sorted by path.

    `is_image_file` says which files are images. Hidden files and folders are skipped. Linked
    folders are followed. A folder that several links lead to is listed once.

    option: the setting or option that names the folder, for errors.
    Raises ReclipError: the folder is missing or unreadable, or it or a linked folder holds the
    results.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        what = f"'{folder}' is a file" if folder.exists() else f"there is no folder '{folder}'"
        raise ReclipError(f"{option}: {what}: name the folder that holds the photos")
    found = []
    for parent, names in _folders(folder, option):
        paths = (os.path.join(parent, name) for name in names if not name.startswith("."))
        found += filter(is_image_file, paths)
    return [Path(path) for path in sorted(found)]


def _folders(top: Path, option: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the path and the file names of each folder at or below `top`, through links, too.

    A folder is reached by its own path, if it lies below `top`, else by the first link to it. A
    link to a folder around itself or around `top` is a circle and not followed.
    """
    seen: set[str] = set()
    starts, real_top = [os.fspath(top)], Path(os.path.realpath(top))
    while starts:
        start = starts.pop(0)
        around = (Path(os.path.realpath(os.path.dirname(start))), real_top)
        if seen and any(place.is_relative_to(os.path.realpath(start)) for place in around):
            continue
        _require_no_results(start, option)
        for parent, folders, names in os.walk(start, onerror=_refuse):
            inside = [name for name in sorted(folders) if not name.startswith(".")]
            linked = [name for name in inside if os.path.islink(os.path.join(parent, name))]
            real = os.path.realpath(parent)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            starts += [os.path.join(parent, name) for name in linked]
            folders[:] = [name for name in inside if name not in linked]
            yield parent, names


def _require_no_results(folder: str, option: str) -> None:
    if Path("results").resolve().is_relative_to(os.path.realpath(folder)):
        raise ReclipError(
            f"{option}: '{folder}' also holds the results: move the photos into their own folder "
            f"and name that"
        )


def _refuse(error: OSError) -> None:
    raise ReclipError(
        f"'{error.filename}' cannot be read ({error.strerror}): change its permissions, or move "
        f"it out of the folder of photos"
    ) from error


def photo_id(path: Path, folder: str | Path) -> str:
    """Return the photo's id, which also names the files made from it.

    It is the file's name, if that is plain and the file lies at the top of the folder. Else it is a
    readable form of its path, and eight digits that keep `a/b.jpg` and `a_b.jpg` apart. It does not
    depend on other photos.
    """
    inside = path.relative_to(Path(folder).expanduser()).as_posix()
    if PLAIN.fullmatch(inside):
        return inside
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", inside).strip("_.-")[-SLUG:]
    return f"{slug}-{text_sha256(inside)[:8]}"


def digest_of_photos(folder: str | Path, option: str, limit: int | None = None) -> str:
    """Return the number of photos and a digest of their paths and contents.

    An unreadable file counts as "unreadable", so the digest changes when it becomes readable. So
    does a file whose path is not UTF-8, which `images.opened` refuses.

    limit: only the first `limit` photos count, and no other is read.
    Raises ReclipError: as `list_photos`.
    """
    folder = Path(folder).expanduser()
    paths = list_photos(folder, option)[:limit]
    # Opening a pipe, which is no regular file, would wait for ever.
    readable = [
        path
        for path in paths
        if is_utf8(path) and os.path.isfile(path) and os.access(path, os.R_OK)
    ]
    sums = dict(zip(readable, cached_sha256s(readable), strict=True))
    lines = [
        f"{path.relative_to(folder).as_posix()}\0{sums.get(path, 'unreadable')}\n" for path in paths
    ]
    return f"{len(lines)} files, {text_sha256(''.join(lines))[:16]}"


def require_apart(images: str, others: dict[str, str]) -> None:
    """Raise ReclipError if a folder of `others` (option to folder) lies in `images` or around it.

    Its files would be trained on. Links of `images` to such a folder count as well.
    """
    top = Path(images).expanduser()
    inner = [top.resolve()]
    if top.is_dir():
        inner += [Path(os.path.realpath(parent)) for parent, _ in _folders(top, "images")]
    for option, folder in others.items():
        other = Path(folder).expanduser().resolve()
        if other.is_relative_to(inner[0]) or any(place.is_relative_to(other) for place in inner):
            raise ReclipError(
                f"{option}: '{folder}' and the training photos '{images}' lie in one another: put "
                f"them side by side"
            )
