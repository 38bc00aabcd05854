"""sha256 of large files, remembered: every command asks which weights and archives it is about.

A file of the same path, size and times is taken to be the same. The time of its last change of any
kind is one of them: a file that got the time of another, as by `cp -p`, is read again. What is
remembered lies in the project's `results/.sha256.json`; without it the files are read again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256, read_json, write_json

MEMORY = Path("results") / ".sha256.json"


def remembered_sha256(path: Path) -> str:
    """sha256 of a file, read only if the file has changed since the last time."""
    return remembered_sha256s([path])[0]


def remembered_sha256s(paths: Sequence[Path]) -> list[str]:
    """The same of many files, with one look into the memory.

    Raises OSError: a file that is not there or cannot be read.
    """
    known, new = _known(), {}
    found = []
    try:
        for path in paths:
            stat = path.stat()
            key, mark = str(path.absolute()), [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            if key not in known or known[key]["mark"] != mark:
                known[key] = new[key] = {"mark": mark, "sha256": file_sha256(path)}
            found.append(known[key]["sha256"])
    finally:  # what was read is read no more, even where a later file fails
        if new:
            with suppress(OSError, ReclipError):  # one that cannot be written costs time alone
                write_json(MEMORY, {**_known(), **new})
    return found


def _known() -> dict[str, dict]:
    try:
        return read_json(MEMORY)
    except (OSError, json.JSONDecodeError):
        return {}
