"""What has come of a download so far, kept between calls so that the next one goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_json


class Part:
    """The first bytes of `<folder>/<name>`, in `.<name>.part`, and a note of whose bytes they are.

    The note holds the server's mark (ETag or date) of the version that the bytes were taken from.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f".{name}.part"
        self.note = folder / f".{name}.part.json"

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def version(self, url: str) -> str | None:
        """The mark of the version at `url` that the bytes are of; None if none is known."""
        try:
            note = read_json(self.note)
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return None
        return note["version"] if note["url"] == url else None

    def begin(self, url: str, version: str | None) -> None:
        """Empty the part: what is written next comes from this version of `url`."""
        self.file.write_bytes(b"")  # first, so that no kill leaves old bytes with a new note
        write_json(self.note, {"url": url, "version": version})

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def require_room(self, size: int) -> None:
        """Raises ReclipError if the disk has no room for the rest of `size` bytes."""
        free = shutil.disk_usage(self.file.parent).free
        if size - self.size > free:
            raise ReclipError(
                f"'{self.file.parent}' has {free / 2**30:.1f} GiB free, the download needs "
                f"{(size - self.size) / 2**30:.1f} GiB: free some space or change `downloads`"
            )
