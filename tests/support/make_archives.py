"""Make good and bad tar and zip archives."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)
    return path


def cut(path: Path, size: int) -> Path:
    """Keep the first `size` bytes; with a negative size, drop the last ones."""
    path.write_bytes(path.read_bytes()[:size])
    return path


def flipped(path: Path, at: int) -> Path:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))
    return path


def special(path: Path, kind: bytes) -> Path:
    """Write a tar with a link or device."""
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    return path


def zip_link(path: Path) -> Path:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(info, "/etc/passwd")
    return path


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a tar header that declares any size, even a negative one, with a right checksum."""
    info = tarfile.TarInfo(name)
    info.size, info.type = abs(size), kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:  # base 256
        block[124:136] = b"\xff" * 4 + struct.pack(">q", size)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def zip_patched(path: Path, members: dict[str, bytes], changes: dict[int, bytes]) -> Path:
    """Write a zip and overwrite its first local header and first directory entry alike.

    changes: from the offset in the local header to bytes; the directory's fields lie 2 further.
    """
    data = bytearray(zip_of(path, members).read_bytes())
    directory = data.index(b"PK\x01\x02")
    for offset, value in changes.items():
        data[offset : offset + len(value)] = value
        data[directory + offset + 2 : directory + offset + 2 + len(value)] = value
    path.write_bytes(bytes(data))
    return path
