"""The folder that `reclip predict` writes into: ours, writable, and used by one process at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from reclip.common.errors import ReclipError
from reclip.common.text import printable
from reclip.inference.model_info import INFO, WEIGHTS

LOCK = ".reclip-predict.lock"


def require_usable(folder: Path) -> None:
    """Make the folder if it is missing.

    Raises ReclipError: it cannot be written, or holds a model or other files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise ReclipError(
            f"--out: Cannot use '{printable(folder)}' as a folder: {error.strerror}. Name another "
            f"folder."
        ) from error
    if not os.access(folder, os.W_OK):
        raise ReclipError(
            f"--out: Cannot write into '{printable(folder)}': permission denied. Name another "
            f"folder."
        )
    if WEIGHTS in files:  # it has a model.json, too
        raise ReclipError(f"--out: '{printable(folder)}' is a model's folder: name another folder")
    if files and INFO not in files:
        raise ReclipError(
            f"--out: '{printable(folder)}' holds other files, such as '{printable(files[0])}': "
            f"name a new folder"
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from writing results into the folder, if its file system has locks."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ReclipError(
            f"--out: another `reclip predict` writes into '{printable(folder)}': wait until it "
            f"ends, or name another folder"
        ) from error
    except (NotImplementedError, OSError):  # every file is replaced in one step even so
        pass
    try:
        yield
    finally:
        lock.release()
