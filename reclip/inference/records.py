"""Read and write the record of each segmented photo, `records/NAME.json` in an output folder.

A record ties a result to the content of its photo. It is written last, so a photo with a record is
done. Tables, galleries and annotations are made from the records.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from reclip.common.errors import ReclipError
from reclip.common.files import write_json

RECORDS = "records"
SUFFIX = ".json"


class Record(BaseModel):
    """One photo and what was found in it, by the model of the folder's `model.json`.

    Attributes:
        photo: absolute path of the photo as it was segmented.
        photo_sha256: checksum of the photo's file.
        name: name of the results below their folders, such as `mon/IMG_1`.
        plain_name: the name that they have as long as no other photo has it.
        height, width: of the upright photo and its mask, in pixels.
        mask: path of the mask below the output folder, with "/".
        mask_sha256: checksum of the mask's file.
        overlay: path of the overlay below the output folder, with "/".
        overlay_sha256: checksum of the overlay's file.
        pixels: number of pixels of each class.
        confidence: mean over the pixels of the best class's probability.
        entropy: mean over the pixels of the entropy of the probabilities, divided by its maximum
            ln C; 0 is certain, 1 knows nothing.
        probabilities: mean over the pixels of each class's probability.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    photo: str
    photo_sha256: str
    name: str
    plain_name: str
    height: int
    width: int
    mask: str
    mask_sha256: str
    overlay: str
    overlay_sha256: str
    pixels: tuple[int, ...]
    confidence: float
    entropy: float
    probabilities: tuple[float, ...]

    @field_validator("name", "plain_name", "mask", "overlay")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        """Refuse a path out of the output folder: files are read, replaced and removed by it."""
        parts = PurePosixPath(path).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise ValueError("the path leads out of the folder")
        return path


def record_file(out: Path, name: str) -> Path:
    """Return the path of the record of the results `name` in the output folder `out`."""
    return out / RECORDS / f"{name}{SUFFIX}"


def write_record(out: Path, record: Record) -> None:
    """Write a record, atomically."""
    write_json(record_file(out, record.name), record.model_dump(mode="json"))


def read_record(path: Path) -> Record | None:
    """Return a record; None if the file is missing or damaged."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def find_records(out: Path) -> tuple[list[Record], list[Path]]:
    """Return the records of the output folder `out` by name, and the files that are damaged.

    A record that was copied to another name counts as damaged: its photo has two results.
    """
    found, damaged = [], []
    for parent, _, files in os.walk(out / RECORDS):
        for file in files:
            if not file.startswith(".") and file.endswith(SUFFIX):
                path = Path(parent, file)
                record = read_record(path)
                if record is None or record_file(out, record.name) != path:
                    damaged.append(path)
                else:
                    found.append(record)
    return sorted(found, key=lambda record: record.name), sorted(damaged)


def read_records(out: Path) -> list[Record]:
    """Return all records of the output folder `out`, by name.

    Raises ReclipError: a record is damaged.
    """
    found, damaged = find_records(out)
    if damaged:
        raise ReclipError(
            f"Cannot read '{damaged[0]}': it is damaged. Delete it and run `reclip predict` again."
        )
    return found
