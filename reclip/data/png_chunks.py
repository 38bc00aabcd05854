"""The parts of a PNG file that its pixels need, for files whose metadata is damaged.

A PNG is a signature and chunks: length, name, data, CRC-32 (W3C, Portable Network Graphics).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
ORIENTATION = b"eXIf"


def pixel_chunks(path: str | Path) -> bytes | None:
    """Return a PNG file without its metadata; None for another file, or if it has no metadata.

    The orientation is kept if its chunk is undamaged. Damaged pixels stay damaged.
    """
    with open(path, "rb") as stream:
        content = stream.read(len(SIGNATURE))
        if content != SIGNATURE:
            return None
        content += stream.read()
    kept, at = [SIGNATURE], len(SIGNATURE)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunk = content[at : at + 12 + length]
        name = chunk[4:8]
        if name in PIXELS or (name == ORIENTATION and _is_whole(chunk)):
            kept.append(chunk)
        at += len(chunk)
    found = b"".join(kept)
    return found if len(found) < len(content) else None


def _is_whole(chunk: bytes) -> bool:
    return struct.pack(">I", zlib.crc32(chunk[4:-4])) == chunk[-4:]
