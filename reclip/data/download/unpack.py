"""Unpacking an archive: whole or not at all, and never more than it may."""

from __future__ import annotations

import errno
import logging
import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.data.download.archives import Member, Refused, members

log = logging.getLogger(__name__)

# ours; official archives unpack to 2 GB and about their own size
MAX_UNPACKED = 100 * 2**30  # bytes
MAX_RATIO = 200  # unpacked bytes for a byte of the archive ...
RATIO_FROM = 2**30  # ... once they are more than this
BLOCK = 4096  # the least that a file takes on a disk
CHUNK = 2**20  # bytes copied at once

# What the readers of tar, gzip, bzip2, xz and zip raise on a damaged archive; the second line is
# for the numbers and names in its headers. (bzip2 and gzip: also an OSError without a number.)
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError),
    *(struct.error, ValueError, LookupError, ArithmeticError, RecursionError),
)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar or zip archive into the folder `target`, whole or not at all.

    What `target` held is replaced. Names and contents are taken over, nothing else is.

    Raises ReclipError: no archive, cut short or damaged, encrypted, with a member that is no plain
    file or would leave the folder, or with more data than it may have or there is room for.
    """
    log.info("unpacking %s", archive)
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with members(archive) as found:
            _write(_within_limits(found, archive, partial), partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except Refused as error:
        raise ReclipError(f"'{archive}' {error}") from error
    except NotImplementedError as error:
        raise ReclipError(
            f"'{archive}' is packed in a way that is not known here ({error}): unpack it by other "
            f"means and name the folder as source.folder"
        ) from error
    except DAMAGED as error:
        raise ReclipError(f"'{archive}' is cut short or damaged ({error}): get it again") from error
    except OSError as error:
        raise ReclipError(_os_sentence(error, archive, target)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _within_limits(found: Iterable[Member], archive: Path, folder: Path) -> list[Member]:
    """All members, once it is known that they may be unpacked."""
    most = min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * archive.stat().st_size))
    listed, total = [], 0
    for member in found:
        listed.append(member)
        total += max(1, -(-member.size // BLOCK)) * BLOCK
        if total > most:
            raise Refused(f"unpacks to over {most / 2**30:.1f} GiB: check the archive")
    free = shutil.disk_usage(folder).free
    if total > free:
        raise Refused(
            f"unpacks to {total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free: free some space"
        )
    if not listed:
        raise Refused("holds no file: get it again from its source")
    return listed


def _write(listed: list[Member], folder: Path) -> None:
    size = sum(member.size for member in listed)
    with tqdm(desc="unpack", total=size, unit="B", unit_scale=True, disable=None) as bar:
        for member in listed:
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            written = 0
            with member.open() as source, open(path, "wb") as out:
                # A header may declare less than its member unpacks to.
                while written <= member.size and (chunk := source.read(CHUNK)):
                    written += out.write(chunk)
                    bar.update(len(chunk))
            if written != member.size:
                raise tarfile.ReadError(f"{str(member.name)!r} is not of its declared size")


def _os_sentence(error: OSError, archive: Path, target: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full while unpacking '{archive}' into '{target}': free some space"
    if error.errno is None:
        return f"'{archive}' is cut short or damaged ({error}): get it again"
    return (
        f"'{archive}' cannot be unpacked into '{target}' ({error.strerror}: "
        f"{str(error.filename)!r}): mend that and run again"
    )
