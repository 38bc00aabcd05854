"""The folder that `reclip predict` writes into: ours, writable, and used by one process at once."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from reclip.common.errors import ReclipError
from reclip.common.text import printable
from reclip.inference.model_info import INFO, WEIGHTS

log = logging.getLogger(__name__)

LOCK = ".reclip-predict.lock"
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)


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
    """Keep other processes from writing results into the folder.

    Some network file systems have no locks. The log says so then: every file is still replaced in
    one step, but two processes could write the tables of the folder in turn.

    Raises ReclipError: another process writes into the folder, or the lock cannot be made.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ReclipError(
            f"--out: another `reclip predict` writes into '{printable(folder)}': wait until it "
            f"ends, or name another folder"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise ReclipError(
                f"--out: Cannot lock '{printable(folder)}': {error.strerror}. Name another folder."
            ) from error
        log.warning(
            "'%s' is on a file system without locks: run one `reclip predict` at a time",
            printable(folder),
        )
    try:
        yield
    finally:
        lock.release()
