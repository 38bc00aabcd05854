"""CSV files with fixed columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import write_text


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV file, all values as text.

    pandas would take half a second to import, and would guess types: an id `007` must stay text.
    Raises ReclipError: the file does not have exactly these columns.
    """
    with open(path, encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != columns:
            raise ReclipError(
                f"'{path}' has columns {str(reader.fieldnames)[:100]}, not {list(columns)}: "
                f"run its stage again with --force"
            )
        return list(reader)


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple]) -> None:
    """Write a CSV file with a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_text(path, text.getvalue())
