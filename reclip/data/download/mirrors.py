"""Fetch a file from the first mirror that gives the right one.

`<folder>/<name>` is always complete and verified. Until then its bytes lie in a hidden part file
beside it, and the next call resumes from there.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from reclip.common.errors import ReclipError
from reclip.data.download.official import RemoteFile
from reclip.data.download.transfer import Part, Unavailable, transfer

log = logging.getLogger(__name__)


def fetch_file(remote: RemoteFile, folder: Path) -> Path:
    """Return `<folder>/<name>`, downloaded unless it already exists, with its checksum verified.

    Raises ReclipError: the existing file is another one, no mirror gives the file, it needs a
    login, or it cannot be read or written.
    """
    require_at_hand([remote], folder)
    path = folder / remote.name
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(path):
                if not path.exists():
                    return _download(remote, folder)
        found = checksum(path, remote.checksum)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ReclipError(
                f"the disk is full while downloading '{path}': free some space and run again, "
                f"the download will resume"
            ) from error
        raise ReclipError(
            f"'{path}' cannot be read or written ({error.strerror or error}): fix that, or "
            f"change `downloads`"
        ) from error
    if found != remote.checksum:
        raise ReclipError(
            f"'{path}' has {found}, expected is {remote.checksum}: delete it, or replace it by "
            f"the right file"
        )
    return path


def require_at_hand(files: Sequence[RemoteFile], folder: Path) -> None:
    """Raise ReclipError if files that need a login are not in `folder`; it names all of them."""
    missing = [file for file in files if not file.urls and not (folder / file.name).exists()]
    if missing:
        names = " and ".join(file.name for file in missing)
        copies = " and ".join(f"{file.name} as {file.setting}" for file in missing)
        raise ReclipError(
            f"{names} cannot be downloaded without a login: download by hand from "
            f"{missing[0].page} into '{folder}', or name your copy of {copies}"
        )


def checksum(path: Path, like: str | None) -> str | None:
    """Return `<algorithm>:<hex>` of a file, with the algorithm of `like`; None if that is None."""
    if like is None:
        return None
    algorithm = like.partition(":")[0]
    with open(path, "rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"


def _locked(path: Path) -> AbstractContextManager:
    """Keep other processes from downloading `path`: two datasets may need the same archive."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that downloads %s", path)
        return lock.acquire()


def _download(remote: RemoteFile, folder: Path) -> Path:
    part = Part(folder, remote.name)
    if remote.size is not None:
        part.require_space(remote.size)
    refusals = []
    for url in remote.urls:
        log.info("downloading %s", url)
        try:
            _transfer_verified(url, remote, part)
        except Unavailable as reason:
            log.warning("%s %s", url, reason)
            refusals.append(f"{url} {reason}")
        else:
            part.file.replace(folder / remote.name)
            part.remove()
            return folder / remote.name
    resume = "run again to resume the download, or " if part.size else ""
    raise ReclipError(
        f"'{remote.name}' could not be downloaded ({'; '.join(refusals)}): {resume}download "
        f"{remote.name} by other means and put it into '{folder}', or name it as {remote.setting}"
    )


def _transfer_verified(url: str, remote: RemoteFile, part: Part) -> None:
    """Complete `part` from `url` and verify its checksum.

    Raises Unavailable: the URL gives no file or another one; the wrong bytes are removed.
    """
    resumed = part.size > 0
    transfer(url, remote, part)
    found = checksum(part.file, remote.checksum)
    if found == remote.checksum:
        return
    part.remove()
    if not resumed:
        raise Unavailable(f"gives another file ({found} instead of {remote.checksum})")
    log.warning("%s: wrong checksum, maybe from an earlier try: starting again from byte 0", url)
    _transfer_verified(url, remote, part)
