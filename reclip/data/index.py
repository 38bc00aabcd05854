"""A prepared dataset on disk: class names, and an index of files a split.

    classes.json       names (each a list of synonyms) and facts about the dataset
    train.csv          id, image, height, width          (no label column, by design)
    val.csv            id, image, label, height, width   (no line where there are no labels)
    train-labels.csv   id, label                         (read by the linear probe alone)

Paths are relative to the project's folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, result, write_json
from reclip.common.tables import read_table, write_table

TRAIN_COLUMNS = ("id", "image", "height", "width")
VAL_COLUMNS = ("id", "image", "label", "height", "width")


@dataclass(frozen=True)
class Item:
    """A photo: its id, file, size in pixels, and in the val split its label file."""

    id: str
    image: Path
    height: int
    width: int
    label: Path | None = None


@dataclass(frozen=True)
class DataSet:
    """A prepared dataset."""

    folder: Path

    @property
    def facts(self) -> dict[str, Any]:
        path = self.folder / "classes.json"
        with result(path):
            return read_json(path)

    @property
    def class_names(self) -> list[list[str]]:
        """The names of each class: the first is shown, all are embedded."""
        return self.facts["names"]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def items(self, split: str) -> list[Item]:
        """Items of `train` (without labels) or `val`, in the index's order."""
        columns = {"train": TRAIN_COLUMNS, "val": VAL_COLUMNS}[split]
        return [
            Item(
                row["id"],
                Path(row["image"]),
                int(row["height"]),
                int(row["width"]),
                Path(row["label"]) if "label" in row else None,
            )
            for row in read_table(self.folder / f"{split}.csv", columns)
        ]

    def train_labels(self) -> dict[str, Path]:
        """Label file of each training photo; only the linear probe may call this."""
        rows = read_table(self.folder / "train-labels.csv", ("id", "label"))
        return {row["id"]: Path(row["label"]) for row in rows}


def write_dataset(
    folder: Path,
    facts: dict[str, Any],
    train: list[Item],
    val: list[Item],
    train_labels: list[tuple[str, Path]],
    *,
    labelled: bool = True,
) -> list[Path]:
    """Write the index files; returns their paths.

    labelled: without labels, val is empty.
    Raises ReclipError: an empty split.
    """
    for split, items in (("train", train), ("val", val)):
        if not items and (labelled or split == "train"):
            raise ReclipError(f"'{folder}': no {split} photos: check the source's lists")
    write_json(folder / "classes.json", facts)
    write_table(
        folder / "train.csv", TRAIN_COLUMNS, [(i.id, i.image, i.height, i.width) for i in train]
    )
    write_table(
        folder / "val.csv",
        VAL_COLUMNS,
        [(i.id, i.image, i.label, i.height, i.width) for i in val],
    )
    write_table(folder / "train-labels.csv", ("id", "label"), train_labels)
    return [folder / n for n in ("classes.json", "train.csv", "val.csv", "train-labels.csv")]
