"""What a tar or zip archive holds: plain files below its folder, or it is refused.

An archive comes from elsewhere and may be cut short, damaged or made to do harm.
"""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

MAX_PADDING = 2**20  # tape records are the longest that writers fill up to after the end mark
MAX_NAME = 2**16  # no path is longer; tarfile reads names and their like into memory whole

# Headers of a tar that say something of the next member: long names, pax records.
METADATA = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class Refused(Exception):
    """Why an archive is not unpacked, as the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class Member:
    """A file in an archive; `open` may give more or fewer bytes than the declared `size`."""

    name: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


@contextmanager
def members(archive: Path) -> Iterator[Iterator[Member]]:
    """The members of a tar (plain, gz, bz2, xz) or zip, folders left out, each checked.

    They can be opened within the context only. At the end of a tar it is checked for its end mark.

    Raises Refused, and whatever the readers raise on a damaged archive.
    """
    try:
        tar = tarfile.open(archive, tarinfo=_Header)  # noqa: SIM115 (closed below)
    except tarfile.ReadError:
        tar = None
    if tar is not None:
        with tar:
            yield _tar_members(tar)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            yield _zip_members(bundle)
    else:
        raise Refused(
            "is neither a tar nor a zip archive, or damaged at its start: get it again from its "
            "source"
        )


class _Header(tarfile.TarInfo):
    """Refuses lengths that would make tarfile read backwards, or a name of gigabytes."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in METADATA and info.size > MAX_NAME):
            raise Refused(f"declares {info.size} bytes for a header: do not trust it")
        return info


def _tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        name = _checked(info.name)
        if not info.isfile() and not info.isdir():
            raise Refused(f"holds {info.name!r}, a link or device: do not trust it")
        if info.size < 0:  # by a pax record
            raise Refused(f"declares {info.size} bytes for {info.name!r}: do not trust it")
        if info.isfile():
            yield Member(name, info.size, partial(tar.extractfile, info))
    _require_end(tar)


def _require_end(tar: tarfile.TarFile) -> None:
    """tarfile takes the end of the file, or a damaged header, for the end of the archive.

    Reading to the end also makes gzip, bzip2 and xz verify their checksums.
    """
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark after its last member")
    if len(tar.fileobj.read(MAX_PADDING + 1)) > MAX_PADDING:
        raise tarfile.ReadError("it goes on after its end mark")


def _zip_members(bundle: zipfile.ZipFile) -> Iterator[Member]:
    for info in bundle.infolist():
        name = _checked(info.orig_filename)  # `filename` ends at a NUL
        mode = info.external_attr >> 16  # 0 where the writer was no Unix
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Refused(f"holds {info.filename!r}, a link or device: do not trust it")
        if info.flag_bits & 1:
            raise Refused(
                "is encrypted: unpack it with its password and name the folder as source.folder"
            )
        if not info.is_dir():
            yield Member(name, info.file_size, partial(bundle.open, info))


def _checked(name: str) -> PurePosixPath:
    """The name as a path that stays below the folder it is joined to.

    Raises Refused: absolute, with `..`, or of characters that mean something else elsewhere.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Refused(f"holds {name!r}, which would leave its folder: do not trust it")
    if re.search(r"[\x00-\x1f\\]|^[A-Za-z]:", name):
        raise Refused(f"holds {name!r}, which is no name for a file: do not trust it")
    return path
