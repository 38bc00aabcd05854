"""Read a file at given positions, without a memory map.

The pages of a memory map count as memory of the process that read them, until the system needs the
room. Pages that are read this way belong to the system's file cache alone.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path


class OpenFile:
    """A file that several threads may read at once; it closes with its last reference.

    A file that replaces it later, by a rename, is not seen.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)

    def read_into(self, position: int, buffer: memoryview) -> None:
        """Fill `buffer`, whose items are bytes, with the bytes from `position` on.

        Raises EOFError: the file ends before.
        """
        while buffer:
            count = os.preadv(self.descriptor, [buffer], position)
            if not count:
                raise EOFError(f"'{self.path}' ends before byte {position + len(buffer)}")
            position, buffer = position + count, buffer[count:]
