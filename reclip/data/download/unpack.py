"""Unpack an archive: completely or not at all, and never more than it may hold.

An archive comes from outside: it may be truncated, damaged or malicious.
"""

from __future__ import annotations

import errno
import logging
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from reclip.common.errors import ReclipError

log = logging.getLogger(__name__)

# Our choices; the official archives unpack to 2 GB and about their own size.
MAX_UNPACKED = 100 * 2**30  # bytes
MAX_RATIO = 200  # unpacked bytes per byte of the archive ...
RATIO_FROM = 2**30  # ... once they are more than this
BLOCK = 4096  # the least that a file takes on a disk
MAX_PADDING = 2**20  # bytes after the end mark of a tar; writers fill up to a tape record
MAX_NAME = 2**16  # bytes; tarfile reads the headers in METADATA into memory whole

# Headers of a tar that describe the next member: long names, pax records.
METADATA = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)

# What the readers of tar, gzip, bzip2, xz and zip raise on a damaged archive; the second line is
# for the numbers and names in its headers. (bzip2 and gzip: also an OSError without a number.)
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError),
    *(struct.error, ValueError, LookupError, ArithmeticError, RecursionError),
)


_with_progress = partial(tqdm, desc="unpack", unit=" files", disable=None)


class _Refused(Exception):
    """Why an archive is not unpacked: the rest of a sentence that begins with its path."""


class _Header(tarfile.TarInfo):
    """Refuses sizes that would make tarfile read backwards, or a name of gigabytes.

    It drops the recorded permissions: unpacked files get those of any new file, by the umask.
    """

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in METADATA and info.size > MAX_NAME):
            raise _Refused(f"declares {info.size} bytes for a header: do not trust it")
        info.mode = None
        return info


def unpack(archive: Path, target: Path, *more: Path) -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive into the folder `target`, which it replaces.

    more: archives that are unpacked into the same folder.
    Raises ReclipError: the file is no archive, it is truncated, damaged or encrypted, a member is
    no plain file or would leave the folder, or the data is too large or larger than the free space.
    """
    partial = target.with_name(f".{target.name}.partial")
    current, files = archive, 0
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for current in (archive, *more):
            log.info("unpacking %s", current)
            _extract(current, partial)
            before, files = files, sum(path.is_file() for path in partial.rglob("*"))
            if files == before:
                raise _Refused("holds no file of its own: get it again from its source")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except _Refused as error:
        raise ReclipError(f"'{current}' {error}") from error
    except NotImplementedError as error:
        # zipfile's way to say that it cannot read a member's compression, such as Deflate64, which
        # Windows writes for members over 2 GB. The archive is whole; another program can unpack it.
        raise ReclipError(
            f"'{current}' has an unknown compression ({error}): unpack it by other means and name "
            f"the folder as source.folder"
        ) from error
    except DAMAGED as error:
        raise ReclipError(f"'{current}' is truncated or damaged ({error}): get it again") from error
    except OSError as error:
        raise ReclipError(_explain(error, current, target)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    try:
        tar = tarfile.open(archive, tarinfo=_Header)  # noqa: SIM115 (closed below)
    except tarfile.ReadError:
        tar = None
    if tar is not None:
        with tar:
            found = ((i, i.name, _written(i), i.isfile() or i.isdir()) for i in tar)
            members = _checked(found, archive, folder)
            _require_end(tar)
            tar.extractall(folder, _with_progress(members), filter="data")
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            listed = bundle.infolist()
            if any(i.flag_bits & 1 for i in listed):
                raise _Refused(
                    "is encrypted: unpack it with its password and name the folder as source.folder"
                )
            # `filename` ends at a NUL.
            found = ((i, i.orig_filename, i.file_size, _is_plain(i)) for i in listed)
            bundle.extractall(folder, _with_progress(_checked(found, archive, folder)))
            for name, size in {i.filename: i.file_size for i in listed if not i.is_dir()}.items():
                if (folder / name).stat().st_size != size:
                    raise zipfile.BadZipFile(f"{name!r} does not have its declared size")
    else:
        raise _Refused(
            "is neither a tar nor a zip archive, or damaged at its start: get it again from its "
            "source"
        )


def _written(info: tarfile.TarInfo) -> int:
    """Return how many bytes tarfile writes for a member: for a sparse one, all of its pieces."""
    return max(info.size, sum(abs(n) for _, n in info.sparse)) if info.sparse else info.size


def _is_plain(info: zipfile.ZipInfo) -> bool:
    """Return whether a member is a file or folder; writers other than Unix store no mode."""
    return stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


def _checked(found: Iterable[tuple], archive: Path, folder: Path) -> list:
    """Return all members if they may be unpacked.

    found: for each member its info, name, declared size in bytes, and whether it is a plain file or
        folder. The libraries write no more than this size.
    """
    most = min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * archive.stat().st_size))
    members, total = [], 0
    for info, name, size, plain in found:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise _Refused(f"holds {name!r}, which would leave its folder: do not trust it")
        if re.search(r"[\x00-\x1f\\]|^[A-Za-z]:", name):  # some have a meaning on other systems
            raise _Refused(f"holds {name!r}, which is no name for a file: do not trust it")
        if not plain:
            raise _Refused(f"holds {name!r}, a link or device: do not trust it")
        if size < 0:  # by a pax record
            raise _Refused(f"declares {size} bytes for {name!r}: do not trust it")
        members.append(info)
        total += max(1, -(-size // BLOCK)) * BLOCK
        if total > most:
            raise _Refused(f"unpacks to over {most / 2**30:.1f} GiB: check the archive")
    free = shutil.disk_usage(folder).free
    if total > free:
        raise _Refused(
            f"unpacks to {total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free: free some space"
        )
    return members


def _require_end(tar: tarfile.TarFile) -> None:
    """Check the end mark: tarfile takes the end of the file, or a damaged header, for the end.

    Reading to the end also makes gzip, bzip2 and xz verify their checksums.
    """
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark after its last member")
    if len(tar.fileobj.read(MAX_PADDING + 1)) > MAX_PADDING:
        raise tarfile.ReadError("it continues after its end mark")


def _explain(error: OSError, archive: Path, target: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full while unpacking '{archive}' into '{target}': free some space"
    if error.errno is None:
        return f"'{archive}' is truncated or damaged ({error}): get it again"
    return (
        f"'{archive}' cannot be unpacked into '{target}' ({error.strerror}: "
        f"{str(error.filename)!r}): fix that and run again"
    )
