"""Writing files so that no half-written one is ever taken for a whole one."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reclip.common.errors import ReclipError

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path`; on success it is renamed to `path`, on failure removed.

    The temporary name keeps the suffix, so that writers that look at it still work.
    Raises ReclipError: the disk is full, or the file cannot be written for another reason.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(path.parent.absolute())
        yield partial
        os.replace(partial, path)
    except ReclipError:
        raise
    except Exception as error:
        code = _write_trouble(error, partial)
        if code is None:
            raise
        if code in FULL:
            raise ReclipError(
                f"the disk is full while writing '{path}': free some space and run again"
            ) from error
        raise ReclipError(
            f"'{path}' cannot be written ({os.strerror(code)}): mend that and run again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@functools.cache
def _clear_abandoned(folder: Path) -> None:
    """Remove the temporary files of processes that were killed: features may fill the disk.

    A folder is looked through once, as it may hold a file a photo.
    """
    for path in folder.glob(".*.partial*"):
        found = re.search(r"\.(\d+)\.partial(\.\w+)?$", path.name)
        if found and not _is_running(int(found[1])):
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no process's number
        pass
    return True


def _write_trouble(error: Exception, partial: Path) -> int | None:
    """The errno of what keeps `partial` from being written; None if `error` is of another kind."""
    code = error.errno if isinstance(error, OSError) else None
    if told := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors: Rust's wording
        code = int(told[1])
    if code in (*FULL, *UNWRITABLE):
        return code
    if isinstance(error, OSError) and error.filename is not None:
        about = Path(os.fsdecode(error.filename))
        return code if about in (partial, *partial.parents) else None
    # numpy and torch say in words of their own that a write failed: write once more.
    try:
        if partial.exists():
            with open(partial, "ab") as stream:
                stream.write(bytes(2**16))
    except OSError as reason:
        return reason.errno
    return None


def reserve(path: Path) -> None:
    """Have the disk set aside all of a sparse file, before it is filled through a memory map.

    On a full disk that would kill the process (SIGBUS) instead of raising an error.
    Raises OSError: the disk has no room for it.
    """
    size = path.stat().st_size
    with open(path, "r+b") as stream, suppress(AttributeError):  # macOS has no such call
        try:
            return os.posix_fallocate(stream.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    if size > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def accessible() -> Iterator[None]:
    """What the system refuses of a file becomes a sentence; also a decorator.

    Even to ask whether a file is there fails where its folder may not be read.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise ReclipError(
            f"{os.fsdecode(error.filename)!r} cannot be used ({error.strerror}): mend that and run "
            f"again"
        ) from error


def write_text(path: str | Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def canonical_json(data: Any) -> str:
    """JSON with sorted keys: equal data, equal text."""
    return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def write_json(path: str | Path, data: Any) -> None:
    write_text(path, canonical_json(data))


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@contextmanager
def result(path: Path) -> Iterator[None]:
    """To read a result in: where its bytes are not what was written, a sentence says so.

    A disk that breaks or loses power leaves a file at its size, for which its receipt vouches.
    """
    try:
        yield
    except (ValueError, EOFError) as error:
        raise ReclipError(
            f"'{path}' is damaged: make it again by the stage that writes it, with --force"
        ) from error


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: str | Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
