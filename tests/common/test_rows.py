"""CSV rows by number: the same values as the whole table, in eight bytes a row."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from reclip.common import rows
from reclip.common.errors import ReclipError
from reclip.common.rows import Rows
from reclip.common.tables import read_table, write_table

COLUMNS = ("id", "image")
ODD = [("a", "x"), ("é", 'a "quoted", comma'), ("b\nc", '"\n'), ("", "\r"), ("007", "ß" * 300)]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    write_table(tmp_path / "odd.csv", COLUMNS, ODD)
    return tmp_path / "odd.csv"


def test_rows_are_those_of_the_table_in_any_order(odd: Path, monkeypatch) -> None:
    monkeypatch.setattr(rows, "AT_ONCE", 2)
    found, expected = Rows(odd, COLUMNS), read_table(odd, COLUMNS)
    assert len(found) == len(ODD) and list(found) == expected
    assert [found[i] for i in (3, 0, 4, -1, 2, 1)] == [expected[i] for i in (3, 0, 4, -1, 2, 1)]
    assert found[1:4] == expected[1:4] and found[4:1] == [] and found[::2] == expected[::2]
    assert list(found.column("id")) == [row[0] for row in ODD]
    assert found.column("image")[2] == '"\n'
    with pytest.raises(IndexError):
        found[5]


def test_a_table_without_rows_is_empty(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", COLUMNS, [])
    assert list(Rows(tmp_path / "a.csv", COLUMNS)) == []


def test_rows_of_a_file_that_is_replaced_meanwhile_are_the_old_ones(odd: Path) -> None:
    found = Rows(odd, COLUMNS)
    write_table(odd, COLUMNS, [("new", "new")])
    assert found[0]["id"] == "a" and len(Rows(odd, COLUMNS)) == 1


@pytest.mark.parametrize("content", [b"", b"id\n1\n", b"image,id\n1,2\n", bytes(40)])
def test_other_columns_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ReclipError, match="has columns .* run its stage again with --force"):
        Rows(tmp_path / "a.csv", COLUMNS)


@pytest.mark.parametrize("row", [b"1\n", b"1,2,3\n", b"\xff,2\n", b"1," + b"x" * 200_000, b'1,"2'])
def test_a_damaged_row_is_one_sentence(tmp_path: Path, row: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,image\n1,2\n" + row)
    found = Rows(tmp_path / "a.csv", COLUMNS)
    if row == b'1,"2':  # Python's reader takes a quote that never ends for a value
        assert found[1] == {"id": "1", "image": "2"}
        return
    assert found[0] == {"id": "1", "image": "2"}
    with pytest.raises(ReclipError, match="a.csv' is damaged: run its stage again"):
        found[1]


def test_a_file_cut_short_meanwhile_is_one_sentence(odd: Path) -> None:
    found = Rows(odd, COLUMNS)
    with open(odd, "r+b") as stream:
        stream.truncate(20)
    with pytest.raises(ReclipError, match="odd.csv' is damaged"):
        list(found)


def test_a_row_takes_a_few_bytes_of_memory(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", COLUMNS, ((f"{i:09d}", "x" * 60) for i in range(20_000)))
    tracemalloc.start()
    found = Rows(tmp_path / "a.csv", COLUMNS)
    assert sum(1 for _ in found) == 20_000
    used, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 20_000 * 10 and peak < 2**21  # the rows themselves have 1.4 MB
