"""Write annotations to a file, a folder or an archive; no file of others is replaced or removed."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from reclip.common.errors import ReclipError
from reclip.common.files import atomic

MARK = "reclip annotations"  # near the start of a JSON file, at the end of an archive
NEAR = 100  # bytes

Files = dict[str, Callable[[], Iterable[bytes]]]
"""Paths below a folder, with "/", and what makes each file's content; the last file is an index,
without which no program finds the others."""


def json_line(data: Any) -> str:
    """Return JSON without spaces, on one line; the same data give the same text."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def json_lines(items: Iterable[Any]) -> Iterator[bytes]:
    """Return a JSON array with a line for each item, item by item."""
    yield b"["
    for number, item in enumerate(items):
        yield f"{',' if number else ''}\n{json_line(item)}".encode()
    yield b"\n]"


def check_target(to: Path, files: Files | None, *, overwrite: bool) -> None:
    """Refuse to write to `to` if something is in the way.

    files: what is written into a folder; None: `to` is a file.
    Raises ReclipError: `to` exists and `overwrite` is False, or it was not written by these
    functions, or the folder holds other files.
    """
    if not os.path.lexists(to) or (files is not None and to.is_dir() and not os.listdir(to)):
        return
    if not overwrite:
        raise ReclipError(f"--to: '{to}' already exists: name a new one, or pass --overwrite")
    if files is not None and to.is_dir():
        found = (path for path in sorted(to.rglob("*")) if not path.is_dir())
        other = (str(p) for p in found if p.relative_to(to).as_posix() not in files)
        name = next((p for p in other if not Path(p).name.startswith(".")), None)
        if name is not None:
            raise ReclipError(
                f"--to: '{to}' holds other files, such as '{name}': name a new folder, or remove "
                f"them"
            )
    elif files is not None or not _is_ours(to):
        raise ReclipError(
            f"--to: '{to}' was not written by `reclip annotations`, so it is not overwritten: name "
            f"a new one"
        )


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        head = stream.read(NEAR)
        stream.seek(max(0, path.stat().st_size - NEAR))
        return MARK.encode() in head + stream.read()


def write_file(to: Path, chunks: Iterable[bytes]) -> None:
    """Write one file, atomically."""
    with atomic(to) as partial, open(partial, "wb") as stream:
        _fill(stream, chunks)


def write_folder(to: Path, files: Files) -> None:
    """Write files into a folder, each atomically. Its index comes last: with it, all are there."""
    *_, index = files
    if (to / index).is_file():
        (to / index).unlink()
    for name, content in files.items():
        write_file(to / name, content())


def write_zip(to: Path, files: Files) -> None:
    """Write files into an archive, atomically; the same files give the same bytes."""
    with atomic(to) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.comment = MARK.encode()
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.external_attr = 0o644 << 16
            packed = name.endswith(".png")
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                _fill(stream, content())


def _fill(stream: BinaryIO, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        stream.write(chunk)
