"""A prepared dataset on disk: class names, and one index of files per split.

    classes.json       names (each a list of synonyms) and facts about the dataset
    train.csv          id, image, height, width          (no label column, by design)
    val.csv            id, image, label, height, width   (no rows in an unlabelled dataset)
    train-labels.csv   id, label                         (read by the linear probe alone)

Paths are relative to the project's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, result, write_json
from reclip.common.rows import Rows
from reclip.common.tables import read_table, write_table

TRAIN_COLUMNS = ("id", "image", "height", "width")
VAL_COLUMNS = ("id", "image", "label", "height", "width")
LABEL_COLUMNS = ("id", "label")

INDEX_FILES = ("classes.json", "train.csv", "val.csv", "train-labels.csv")
"""The files of a prepared dataset, besides label maps."""


@dataclass(frozen=True, slots=True)
class Item:
    """A photo: its id, file, size in pixels and label file.

    An item of the train split that is read from an index never has a label.
    """

    id: str
    image: Path
    height: int
    width: int
    label: Path | None = None


class Items(Sequence[Item]):
    """The items of an index, read when they are asked for: eight bytes of memory a photo.

    Attributes:
        ids: of the items, in order.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.ids: Sequence[str] = rows.column("id")

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._item(row) for row in self._rows[index]]
        return self._item(self._rows[index])

    def __iter__(self) -> Iterator[Item]:
        return map(self._item, self._rows)

    def _item(self, row: dict[str, str]) -> Item:
        label = Path(row["label"]) if "label" in row else None
        with result(self._rows.path):
            size = int(row["height"]), int(row["width"])
        return Item(row["id"], Path(row["image"]), *size, label)


@dataclass(frozen=True)
class DataSet:
    """A prepared dataset in a folder."""

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

    def items(self, split: str) -> Items:
        """Return the items of `train` (without labels) or `val`, in the index's order."""
        columns = {"train": TRAIN_COLUMNS, "val": VAL_COLUMNS}[split]
        return Items(Rows(self.folder / f"{split}.csv", columns))

    def train_labels(self) -> dict[str, Path]:
        """Return the label file of each training photo; only the linear probe may call this."""
        rows = read_table(self.folder / "train-labels.csv", LABEL_COLUMNS)
        return {row["id"]: Path(row["label"]) for row in rows}


def write_dataset(
    folder: Path, facts: dict[str, Any], train: list[Item], val: list[Item], labelled: bool = True
) -> list[Path]:
    """Write the index files; return their paths and the paths of the items' labels.

    facts: the content of `classes.json` but for the number of photos, which is added.
    labelled: False allows an empty val split.
    Raises ReclipError: a split is empty.
    """
    counts = {"train": len(train), "val": len(val)}
    for split, count in counts.items():
        if not count and (labelled or split == "train"):
            raise ReclipError(f"'{folder}': no {split} photos: check the source's lists")
    write_json(folder / "classes.json", {**facts, "counts": counts})
    labels = [item for item in train if item.label]
    tables = {
        "train.csv": (TRAIN_COLUMNS, train),
        "val.csv": (VAL_COLUMNS, val),
        "train-labels.csv": (LABEL_COLUMNS, labels),
    }
    for name, (columns, items) in tables.items():
        rows = (tuple(getattr(item, column) for column in columns) for item in items)
        write_table(folder / name, columns, rows)
    outputs = [item.label for item in (*labels, *val)]
    return [*outputs, *(folder / name for name in ("classes.json", *tables))]
