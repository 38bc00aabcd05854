"""CSV files with fixed columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import atomic


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV file, all values as text.

    pandas would take half a second to import, and would guess types: an id `007` must stay text.
    Raises ReclipError: the file does not have exactly these columns.
    """
    with open(path, encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        require_columns(path, reader.fieldnames or (), columns)
        return list(reader)


def require_columns(path: Path, found: Sequence[str], columns: tuple[str, ...]) -> None:
    """Raise ReclipError if a CSV file does not have exactly these columns."""
    if tuple(found) != columns:
        raise ReclipError(
            f"'{path}' has columns {str(list(found))[:100]}, not {list(columns)}: run its stage "
            f"again with --force"
        )


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple]) -> None:
    """Write a CSV file with a header, row by row."""
    with atomic(path) as partial, open(partial, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
