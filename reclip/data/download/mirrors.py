"""Files from elsewhere: from the first mirror that gives the right one, whole or not at all.

`<folder>/<name>` is always a whole file whose checksum held; until then what has come is hidden
beside it, and the next call goes on from there.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pooch
from filelock import FileLock, Timeout

from reclip.common.errors import ReclipError
from reclip.data.download.official import RemoteFile
from reclip.data.download.part import Part
from reclip.data.download.transfer import Unavailable, transfer

log = logging.getLogger(__name__)
pooch.get_logger().setLevel(logging.WARNING)  # what it would say is said here


def fetch_file(remote: RemoteFile, folder: Path) -> Path:
    """`<folder>/<name>`: what lies there already if it is the right file, else downloaded.

    Raises ReclipError: what lies there is another file, no mirror gives the file, or it cannot be
    written.
    """
    path = folder / remote.name
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(path):
                if not path.exists():
                    return _download(remote, folder)
        found = checksum(path, remote.checksum)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ReclipError(
                f"the disk is full while downloading '{path}': free some space and run again, "
                f"it goes on from there"
            ) from error
        raise ReclipError(
            f"'{path}' cannot be read or written ({error.strerror or error}): mend that, or "
            f"change `downloads`"
        ) from error
    if found != remote.checksum:
        raise ReclipError(
            f"'{path}' has {found}, expected is {remote.checksum}: delete it, or replace it by "
            f"the right file"
        )
    return path


def checksum(path: Path, like: str | None) -> str | None:
    """`<algorithm>:<hex>` of a file, by the algorithm of `like`; None if that is None."""
    if like is None:
        return None
    algorithm = like.partition(":")[0]
    with open(path, "rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process downloads `path`: two datasets may want one archive at the same time."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that downloads %s", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(remote: RemoteFile, folder: Path) -> Path:
    part = Part(folder, remote.name)
    if remote.size is not None:
        part.require_room(remote.size)
    refusals = []
    for url in remote.urls:
        log.info("downloading %s", url)
        try:
            _from_mirror(url, remote, part)
        except Unavailable as reason:
            log.warning("%s %s", url, reason)
            refusals.append(f"{url} {reason}")
        else:
            return folder / remote.name
    go_on = "run again to go on from what has come, or " if part.size else ""
    raise ReclipError(
        f"'{remote.name}' could not be downloaded ({'; '.join(refusals)}): {go_on}download "
        f"{remote.name} by other means and put it into '{folder}', or name it as {remote.setting}"
    )


def _from_mirror(url: str, remote: RemoteFile, part: Part) -> None:
    """The right file under its name, by pooch. Raises Unavailable, and keeps no wrong bytes."""
    resumed = part.size > 0

    def resuming(url: str, output: str, _: object) -> None:
        """A downloader for pooch, whose own keeps nothing of a download that fails."""
        transfer(url, remote, part)
        os.unlink(output)
        try:
            os.link(part.file, output)  # the part stays until the checksum is known to hold
        except OSError:  # a file system without links
            shutil.copyfile(part.file, output)

    # A folder of pooch's own, so that a kill leaves none of its temporary names among the data.
    checked = part.file.with_suffix(".checked")
    shutil.rmtree(checked, ignore_errors=True)
    try:
        pooch.retrieve(url, remote.checksum, remote.name, checked, downloader=resuming)
    except ValueError as error:  # pooch's word for a wrong checksum
        found = checksum(part.file, remote.checksum)
        part.remove()
        if not resumed:
            reason = f"gives another file ({found} in place of {remote.checksum})"
            raise Unavailable(reason) from error
    else:
        os.replace(checked / remote.name, part.file.parent / remote.name)
        part.remove()
        return
    finally:
        shutil.rmtree(checked, ignore_errors=True)
    log.warning("%s: wrong checksum, perhaps from an earlier try: once more from the start", url)
    _from_mirror(url, remote, part)
