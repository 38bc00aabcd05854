"""`reclip predict` in the current folder, and what it wrote."""

from __future__ import annotations

import csv
from pathlib import Path

from support.at_the_shell import Said, reclip


def predict(model: Path, *arguments: str | Path) -> Said:
    return reclip("predict", "--model", str(model), "--device", "cpu", *map(str, arguments))


def written(folder: str = "predictions") -> dict[str, bytes]:
    """The content of each file; hidden ones, such as the lock, are no results."""
    root = Path(folder)
    files = (path for path in root.rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def areas(folder: str = "predictions") -> list[dict[str, str]]:
    """The rows of areas.csv."""
    text = Path(folder, "areas.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(keepends=True)))
