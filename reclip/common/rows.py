"""The rows of a CSV file, read when they are asked for: a row takes eight bytes of memory."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from reclip.common.files import result
from reclip.common.open_file import OpenFile
from reclip.common.tables import require_columns

AT_ONCE = 1024  # rows that an iteration reads together


class Rows(Sequence[dict[str, str]]):
    """The rows of a CSV file as `reclip.common.tables` writes it, all values as text.

    Several threads may read them at once. A file that replaces this one later is not seen.
    Raises ReclipError: the file does not have exactly these columns, or is damaged.
    """

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path, self.columns = path, columns
        self._file = OpenFile(path)
        self._starts = array("q", _ends_of_records(self._file))
        header = self._records(-1, 0) if self._starts else [[]]
        require_columns(path, header[0] if header else [], columns)

    def __len__(self) -> int:
        return max(0, len(self._starts) - 1)

    @overload
    def __getitem__(self, index: int) -> dict[str, str]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, str]]: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._rows(start, max(start, stop))
            return [self[i] for i in range(start, stop, step)]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self._rows(index, index + 1)[0]

    def __iter__(self) -> Iterator[dict[str, str]]:
        for start in range(0, len(self), AT_ONCE):
            yield from self._rows(start, min(start + AT_ONCE, len(self)))

    def column(self, name: str) -> Column:
        """Return the values of a column, which are read when they are asked for, too."""
        return Column(self, name)

    def _rows(self, start: int, stop: int) -> list[dict[str, str]]:
        with result(self.path):
            records = self._records(start, stop)
            return [dict(zip(self.columns, record, strict=True)) for record in records]

    def _records(self, start: int, stop: int) -> list[list[str]]:
        """Return the values of rows `start` to `stop`; the header is row -1."""
        first = self._starts[start] if start >= 0 else 0
        content = bytearray(self._starts[stop] - first)
        with result(self.path):
            self._file.read_into(first, memoryview(content))
            try:
                return list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
            except csv.Error as error:
                raise ValueError(str(error)) from error


class Column(Sequence[str]):
    """A column of `Rows`."""

    def __init__(self, rows: Rows, name: str) -> None:
        self._rows, self._name = rows, name

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> str:
        return self._rows[index][self._name]

    def __iter__(self) -> Iterator[str]:
        return (row[self._name] for row in self._rows)


def _ends_of_records(file: OpenFile) -> Iterator[int]:
    """Yield the position after each record, the header's first; quoted values may hold lines."""
    position, quotes = 0, 0
    with open(file.descriptor, "rb", closefd=False) as stream:
        for line in stream:
            position += len(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0:
                yield position
    if quotes % 2:
        yield position
