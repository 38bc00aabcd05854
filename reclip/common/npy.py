"""Read and write parts of .npy files, without memory maps (see `reclip.common.open_file`)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from reclip.common.files import atomic
from reclip.common.open_file import OpenFile


class NpyFile:
    """Read access to the elements of an array on disk, in C order.

    Raises ValueError: the file holds no such array.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = OpenFile(path)
        with open(self._file.descriptor, "rb", closefd=False) as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError(f"'{path}' has another version of the format")
            self.shape, fortran, self.dtype = np.lib.format.read_array_header_1_0(stream)
            self._start = stream.tell()
        if fortran:
            raise ValueError(f"'{path}' is in Fortran order")

    def read_into(self, first: int, out: np.ndarray) -> None:
        """Fill a contiguous `out` with the elements from number `first` on.

        Raises ValueError: `out` has another dtype. EOFError: the file ends before.
        """
        if out.dtype != self.dtype:
            raise ValueError(f"'{self.path}' holds {self.dtype}, not {out.dtype}")
        if out.size:
            position = self._start + first * self.dtype.itemsize
            self._file.read_into(position, out.data.cast("B"))


class NewNpyFile:
    """Write access to the elements of an array that `new_npy` makes."""

    def __init__(self, descriptor: int, start: int, dtype: np.dtype) -> None:
        self._descriptor, self._start, self._dtype = descriptor, start, dtype

    def write(self, first: int, values: np.ndarray) -> None:
        """Write `values` as the elements from number `first` on, in C order."""
        if not values.size:
            return
        data = np.ascontiguousarray(values, self._dtype).data.cast("B")
        position = self._start + first * self._dtype.itemsize
        while data:
            count = os.pwrite(self._descriptor, data, position)
            position, data = position + count, data[count:]


@contextmanager
def new_npy(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Iterator[NewNpyFile]:
    """Yield a new .npy file to write in any order; elements that are never written are 0.

    It is renamed to `path` when it is complete.
    """
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with atomic(path) as partial, open(partial, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.flush()
        start = stream.tell()
        os.truncate(stream.fileno(), start + math.prod(shape) * dtype.itemsize)
        yield NewNpyFile(stream.fileno(), start, dtype)


def save_npy(path: Path, array: np.ndarray) -> None:
    """Write a whole array."""
    with atomic(path) as partial:
        np.save(partial, array)
