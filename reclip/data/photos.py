"""The photos in a user's folder: their files, their ids, and a digest of them all.

Imports nothing heavy, because every command checks whether the photos have changed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import text_sha256
from reclip.common.hashing import cached_sha256s

READ = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".jp2")
NOT_READ = (".heic", ".heif", ".avif")  # phone formats: reported as left out, not overlooked
SUFFIXES = frozenset((*READ, *NOT_READ))
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SLUG = 60  # characters of a path that an id shows


def list_photos(folder: str | Path, option: str) -> list[Path]:
    """Return all photos at or below `folder`, by their suffix, sorted by path.

    Hidden files and linked folders are skipped.

    option: the setting or option that names the folder, for errors.
    Raises ReclipError: the folder is missing or unreadable, or it holds the results.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        what = f"'{folder}' is a file" if folder.exists() else f"there is no folder '{folder}'"
        raise ReclipError(f"{option}: {what}: name the folder that holds the photos")
    if Path("results").resolve().is_relative_to(folder.resolve()):
        raise ReclipError(
            f"{option}: '{folder}' also holds the results: move the photos into their own folder "
            f"and name that"
        )
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(parent, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
        ]
    return [Path(path) for path in sorted(found)]


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

    An unreadable file counts as "unreadable", so the digest changes when it becomes readable.

    limit: only the first `limit` photos count, and no other is read.
    Raises ReclipError: as `list_photos`.
    """
    folder = Path(folder).expanduser()
    paths = list_photos(folder, option)[:limit]
    # Opening a pipe, which is no regular file, would wait for ever.
    readable = [path for path in paths if os.path.isfile(path) and os.access(path, os.R_OK)]
    sums = dict(zip(readable, cached_sha256s(readable), strict=True))
    lines = [
        f"{path.relative_to(folder).as_posix()}\0{sums.get(path, 'unreadable')}\n" for path in paths
    ]
    return f"{len(lines)} files, {text_sha256(''.join(lines))[:16]}"


def require_apart(images: str, others: dict[str, str]) -> None:
    """Raise ReclipError if a folder of `others` (option to folder) lies in `images` or around it.

    Its files would be trained on.
    """
    inner = Path(images).expanduser().resolve()
    for option, folder in others.items():
        other = Path(folder).expanduser().resolve()
        if other.is_relative_to(inner) or inner.is_relative_to(other):
            raise ReclipError(
                f"{option}: '{folder}' and the training photos '{images}' lie in one another: put "
                f"them side by side"
            )
