"""The photos in a person's folder: which files they are, their ids, and a digest of them all.

Imports nothing heavy: every command asks whether the photos are still those of the results.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import text_sha256
from reclip.common.hashing import cached_sha256s

READ = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".jp2")
NOT_READ = (".heic", ".heif", ".avif")  # of telephones: left out aloud rather than overlooked
SUFFIXES = frozenset((*READ, *NOT_READ))
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SLUG = 60  # characters of a path that an id shows


def list_photos(folder: str | Path, option: str) -> list[Path]:
    """All photos at or below `folder`, by their names' suffix, in the order of their paths.

    Hidden files, and folders that are links, are left out. option: what named the folder, for the
    errors.
    Raises ReclipError: no such folder, one that may not be read, or one that holds the results.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        what = f"'{folder}' is a file" if folder.exists() else f"there is no folder '{folder}'"
        raise ReclipError(f"{option}: {what}: name the folder that holds the photos")
    if Path("results").resolve().is_relative_to(folder.resolve()):
        raise ReclipError(
            f"{option}: '{folder}' is where the results are put, too: move the photos into a "
            f"folder of their own and name that"
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
        f"'{error.filename}' cannot be read ({error.strerror}): give yourself the right to, or "
        f"move it out of the folder of photos"
    ) from error


def photo_id(path: Path, folder: str | Path) -> str:
    """The photo's name in indices and of the files made from it.

    That of a file at the top of the folder if it is plain, else its path as far as it can be told,
    and eight digits that tell apart `a/b.jpg` and `a_b.jpg`. It depends on no other photo.
    """
    inside = path.relative_to(Path(folder).expanduser()).as_posix()
    if PLAIN.fullmatch(inside):
        return inside
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", inside).strip("_.-")[-SLUG:]
    return f"{slug}-{text_sha256(inside)[:8]}"


def digest_of_photos(folder: str | Path, option: str, limit: int | None = None) -> str:
    """How many photos, and a digest of their paths and contents: differs iff one of these does.

    limit: the first so many count, and no other is read.
    A file that cannot be read counts as such: it is left out of the data, and read once it can be.
    Raises ReclipError as `list_photos`.
    """
    folder = Path(folder).expanduser()
    paths = list_photos(folder, option)[:limit]
    # A pipe is no file: who opens one waits.
    readable = [os.path.isfile(path) and os.access(path, os.R_OK) for path in paths]
    sums = iter(cached_sha256s([p for p, can in zip(paths, readable, strict=True) if can]))
    lines = [
        f"{path.relative_to(folder).as_posix()}\0{next(sums) if can else 'unreadable'}\n"
        for path, can in zip(paths, readable, strict=True)
    ]
    return f"{len(lines)} files, {text_sha256(''.join(lines))[:16]}"


def require_apart(images: str, others: dict[str, str]) -> None:
    """Raises ReclipError: a folder of `others` (option to folder) lies in `images`, or around it.

    Its files would be trained on.
    """
    inner = Path(images).expanduser().resolve()
    for option, folder in others.items():
        other = Path(folder).expanduser().resolve()
        if other.is_relative_to(inner) or inner.is_relative_to(other):
            raise ReclipError(
                f"{option}: '{folder}' and the photos to learn from, '{images}', lie in one "
                f"another: put them side by side"
            )
