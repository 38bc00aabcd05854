"""DVC's cache as files: one a content, named by its md5."""

from __future__ import annotations

import filecmp
import hashlib
from pathlib import Path

from reclip.versioning.dvc import dvc


class Cache:
    """The cache of the project in the present folder."""

    def __init__(self) -> None:
        self.folder = Path(dvc("cache", "dir").strip()) / "files" / "md5"

    def knows(self, path: Path) -> bool:
        """Whether the file's present content is in the cache."""
        return self._place(path).is_file()

    def damaged_copy(self, path: Path) -> Path | None:
        """The cache's file that has this file's content, but under the name of another."""
        for copy in self.folder.glob("*/*"):
            if (
                copy.stat().st_size == path.stat().st_size
                and filecmp.cmp(copy, path, shallow=False)
                and copy != self._place(copy)
            ):
                return copy
        return None

    def _place(self, path: Path) -> Path:
        with open(path, "rb") as stream:
            name = hashlib.file_digest(stream, "md5").hexdigest()
        return self.folder / name[:2] / name[2:]
