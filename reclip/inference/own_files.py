"""Write and remove results in a folder where a person may have put other files in their place."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import atomic, file_sha256
from reclip.data.images import read_image

REPLACED = "replaced"


class OwnFiles:
    """The pictures that a program made in a folder. It knows each by its checksum.

    A picture that is not the known one, such as a mask that a person improved, is moved to the
    folder `replaced` before its place is taken. A damaged file, as after a loss of power, is of no
    use to anybody: it is replaced.

    Attributes:
        replaced: where pictures went.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replaced: list[Path] = []

    def sha256(self, file: str) -> str | None:
        """Return the checksum of a file; None if there is none."""
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return file_sha256(self.folder / file)
        return None

    def put(self, file: str, content: bytes, known: str) -> str:
        """Write a file, atomically, and return its checksum. known: checksum of our earlier one."""
        new = sha256(content).hexdigest()
        if self.sha256(file) != new:
            self._set_aside(file, known)
            with atomic(self.folder / file) as partial:
                partial.write_bytes(content)
        return new

    def copy(self, file: str, other: str) -> None:
        """Copy a file to another name, atomically; a missing one is no error."""
        with suppress(FileNotFoundError):
            content = (self.folder / file).read_bytes()
            self.put(other, content, sha256(content).hexdigest())

    def remove(self, file: str, known: str | None) -> None:
        """Remove a file of ours. known: its checksum."""
        self._set_aside(file, known)
        (self.folder / file).unlink(missing_ok=True)

    def _set_aside(self, file: str, known: str) -> None:
        found = self.sha256(file)
        if found not in (None, known):
            with suppress(ReclipError):
                read_image(self.folder / file)
                self.move_aside(file, found)

    def move_aside(self, file: str, sha256: str) -> None:
        """Move a person's file to the folder `replaced`. sha256: its checksum."""
        place = self.folder / REPLACED / file
        place = place.with_name(f"{place.stem}-{sha256[:8]}{place.suffix}")
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.folder / file, place)
        self.replaced.append(place)
