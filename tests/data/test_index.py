"""The index of a prepared dataset; its train split has no labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.common.tables import read_table, write_table
from reclip.data.index import DataSet, Item, write_dataset

TRAIN = [Item("a", Path("photos/a, b.jpg"), 3, 4, Path("labels/a.png"))]
VAL = [
    Item("z", Path("photos/z.jpg"), 5, 6, Path("labels/z.png")),
    Item("b", Path("photos/b.jpg"), 7, 8, Path("labels/b.png")),
]


def write(folder: Path, train=TRAIN, val=VAL) -> list[Path]:
    facts = {"names": [["dog"], ["cat", "kitten"]]}
    return write_dataset(folder, facts, train, val)


def test_a_dataset_is_read_as_written(tmp_path: Path) -> None:
    paths = write(tmp_path)
    data = DataSet(tmp_path)
    assert data.class_names == [["dog"], ["cat", "kitten"]]
    assert data.num_classes == 2
    assert list(data.items("val")) == VAL  # in the order of the list, not of the names
    assert data.train_labels() == {"a": Path("labels/a.png")}
    labels = [Path(f"labels/{name}.png") for name in "abz"]
    assert sorted(paths) == sorted([*labels, *tmp_path.iterdir()])
    assert data.facts["counts"] == {"train": 1, "val": 2}


def test_training_items_have_no_label(tmp_path: Path) -> None:
    write(tmp_path)
    (item,) = DataSet(tmp_path).items("train")
    assert item.label is None
    assert item.image == Path("photos/a, b.jpg")
    assert "label" not in (tmp_path / "train.csv").read_text()


def test_training_items_do_not_need_the_labels_file(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-labels.csv").unlink()
    (tmp_path / "val.csv").unlink()
    assert len(DataSet(tmp_path).items("train")) == 1


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused(tmp_path: Path, split: str) -> None:
    with pytest.raises(ReclipError, match=f"no {split} photos"):
        write(tmp_path, **{split: []})


def test_a_label_column_in_the_train_split_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train.csv").write_bytes((tmp_path / "val.csv").read_bytes())
    with pytest.raises(ReclipError, match="has columns .*label"):
        DataSet(tmp_path).items("train")


def test_tables_are_the_same_bytes_everywhere(tmp_path: Path) -> None:
    rows = [("é", 'a "quoted", comma'), ("", 1)]
    write_table(tmp_path / "a.csv", ("x", "y"), rows)
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()
    assert read_table(tmp_path / "a.csv", ("x", "y")) == [
        {"x": "é", "y": 'a "quoted", comma'},
        {"x": "", "y": "1"},
    ]
