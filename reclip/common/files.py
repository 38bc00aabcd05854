"""Write files so that a partial file never looks complete."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from reclip.common.errors import ReclipError

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (errno.EFBIG, errno.EIO, errno.EROFS)

MACHINE = f"{crc32(socket.gethostname().encode()):08x}"
"""This machine in the names of temporary files: on a shared disk, others have processes, too."""
WEEK_SECONDS = 7 * 24 * 3600  # no file takes so long to write


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` on success, else remove it.

    The temporary name keeps the suffix, because some writers choose the format by it. The file gets
    the permissions of any new file, by the umask. Some writers (safetensors) would keep it from
    other users.
    Raises ReclipError: the disk is full, or the file cannot be written for another reason.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{MACHINE}.reclip-{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(path.parent.absolute())
        mode = _mode_of_new(partial)
        yield partial
        os.chmod(partial, mode)
        os.replace(partial, path)
    except ReclipError:
        raise
    except Exception as error:
        code = _write_trouble(error, partial)
        if code is None:
            raise
        if code in FULL:
            raise ReclipError(
                f"Cannot write '{path}': the disk is full. Free some space and run again."
            ) from error
        raise ReclipError(
            f"Cannot write '{path}': {os.strerror(code)}. Fix this and run the command again."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _mode_of_new(path: Path) -> int:
    """Return the permissions that a new file gets; os.umask cannot tell without changing it."""
    path.unlink(missing_ok=True)
    path.touch(exist_ok=False)
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


@functools.cache
def _clear_abandoned(folder: Path) -> None:
    """Remove temporary files of killed processes; those of features may fill the disk.

    Whether a process of another machine runs is not known here, so its files must be a week old.
    Each folder is searched once a process, because it may hold a file for every photo.
    """
    for path in folder.glob(".*.reclip-*.partial*"):
        found = re.search(r"\.(\w+)\.reclip-(\d+)\.partial(\.\w+)?$", path.name)
        if found and _is_abandoned(path, found[1], int(found[2])):
            path.unlink(missing_ok=True)


def _is_abandoned(path: Path, machine: str, process: int) -> bool:
    if machine == MACHINE:
        return not _is_running(process)
    with suppress(FileNotFoundError):  # renamed meanwhile
        return path.stat().st_mtime < time.time() - WEEK_SECONDS
    return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process, or not a process number
        pass
    return True


def _write_trouble(error: Exception, partial: Path) -> int | None:
    """Return the errno that prevents writing `partial`; None if `error` has another cause."""
    code = error.errno if isinstance(error, OSError) else None
    if told := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors' text
        code = int(told[1])
    if code in (*FULL, *UNWRITABLE):
        return code
    if isinstance(error, OSError) and error.filename is not None:
        about = Path(os.fsdecode(error.filename))
        return code if about in (partial, *partial.parents) else None
    # numpy and torch hide the errno of a failed write: try to write once more.
    try:
        if partial.exists():
            with open(partial, "ab") as stream:
                stream.write(bytes(2**16))
    except OSError as reason:
        return reason.errno
    return None


def require_room(folder: Path, size: float) -> None:
    """Raise ReclipError if the disk of `folder`, which need not exist yet, has less room.

    size: in bytes.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if size > free:
        raise ReclipError(
            f"Cannot write to '{folder}': {size / 2**20:,.1f} MiB are needed and "
            f"{free / 2**20:,.1f} MiB are free. Free some space and run again."
        )


@contextmanager
def accessible() -> Iterator[None]:
    """Turn an OSError about a file into a ReclipError; also a decorator.

    Even `Path.exists` fails in a folder without read permission.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise ReclipError(
            f"Cannot use {os.fsdecode(error.filename)!r}: {error.strerror}. Fix this and run the "
            f"command again."
        ) from error


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


_CANONICAL = json.JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False)


def canonical_json(data: Any) -> str:
    """Return JSON with sorted keys, so that equal data give equal text."""
    return _CANONICAL.encode(data) + "\n"


def write_json(path: str | Path, data: Any) -> None:
    """Write canonical JSON piece by piece, because a receipt may name millions of files."""
    with atomic(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(_CANONICAL.iterencode(data))
        stream.write("\n")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@contextmanager
def result(path: Path) -> Iterator[None]:
    """Context manager for reading a result; reports a corrupted file as ReclipError.

    A disk fault or power loss can damage a file but keep its size, so it still looks fresh.
    """
    try:
        yield
    except (ValueError, EOFError) as error:
        raise ReclipError(f"'{path}' is damaged: run its stage again with --force") from error


def text_sha256(text: str) -> str:
    """Return the sha256 of a text, which may be a path with bytes that are not UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: str | Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
