"""Cache the sha256 of large files, because every command needs those of weights and archives.

A file with the same path, size and times counts as unchanged. The times include ctime, so a file
with a copied mtime (`cp -p`) is read again. The cache is `results/.sha256.json` in the project.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256, read_json, write_json
from reclip.common.text import printable

CACHE = Path("results") / ".sha256.json"


def cached_sha256(path: Path) -> str:
    """Return the sha256 of a file; read the file only if it changed since the last call."""
    return cached_sha256s([path])[0]


def cached_sha256s(paths: Sequence[Path]) -> list[str]:
    """Return the sha256 of many files, reading the cache once.

    Raises OSError: a file is missing or cannot be read.
    """
    known, new = _known(), {}
    found = []
    try:
        for path in paths:
            stat = path.stat()
            key = printable(path.absolute())  # as JSON takes it
            mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            if key not in known or known[key]["mark"] != mark:
                known[key] = new[key] = {"mark": mark, "sha256": file_sha256(path)}
            found.append(known[key]["sha256"])
    finally:  # keep the new sums even if a later file fails
        if new:
            with suppress(OSError, ReclipError):  # without the cache, only time is lost
                write_json(CACHE, {**_known(), **new})
    return found


def _known() -> dict[str, dict]:
    try:
        return read_json(CACHE)
    except (OSError, json.JSONDecodeError):
        return {}
