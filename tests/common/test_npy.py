"""Parts of .npy files, read and written in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reclip.common.npy import NpyFile, new_npy, save_npy


@pytest.mark.parametrize("dtype", ["float16", "float32", "int16"])
def test_parts_written_in_any_order_make_the_file_of_numpy(tmp_path: Path, dtype: str) -> None:
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    with new_npy(tmp_path / "a.npy", array.dtype, array.shape) as file:
        for k in (2, 0, 1):
            file.write(k * 20, array[k])
            assert not (tmp_path / "a.npy").exists()
    np.save(tmp_path / "b.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_a_part_has_its_elements(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float16).reshape(3, 4, 5)
    save_npy(tmp_path / "a.npy", array)
    file = NpyFile(tmp_path / "a.npy")
    assert file.shape == array.shape and file.dtype == array.dtype
    part = np.empty((4, 5), np.float16)
    file.read_into(20, part)
    assert (part == array[1]).all()
    file.read_into(99, np.empty((0, 5), np.float16))  # no element, no place


def test_a_file_that_fails_half_way_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        new_npy(tmp_path / "a.npy", np.dtype(np.int16), (4,)) as file,
    ):
        file.write(0, np.ones(2, np.int16))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_such_array_is_an_error_that_a_stage_knows(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    save_npy(path, np.zeros(10, np.float16))
    with pytest.raises(ValueError, match="float16, not float32"):
        NpyFile(path).read_into(0, np.empty(3, np.float32))
    with pytest.raises(EOFError):
        NpyFile(path).read_into(8, np.empty(3, np.float16))
    save_npy(path, np.asfortranarray(np.zeros((2, 3))))
    with pytest.raises(ValueError, match="Fortran"):
        NpyFile(path)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ValueError, match="magic"):
        NpyFile(path)
