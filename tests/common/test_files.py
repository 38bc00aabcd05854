"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from reclip.common.errors import ReclipError
from reclip.common.files import (
    atomic,
    canonical_json,
    file_sha256,
    read_json,
    write_json,
    write_text,
)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.suffix == ".txt"  # for writers that look at it
        assert partial.name.startswith(".")
    assert path.read_text() == "half"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as partial:
        partial.write_text("half")
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
@pytest.mark.parametrize("writer", ["safetensors", "text", "array", "mode 600"])
def test_a_new_file_has_the_permissions_of_the_umask(
    tmp_path: Path, umask: int, mode: int, writer: str
) -> None:
    path, before = tmp_path / "a.npy", os.umask(umask)
    try:
        for _ in range(2):  # new, and replaced
            with atomic(path) as partial:
                if writer == "safetensors":
                    save_file({"a": np.ones(2)}, partial)
                elif writer == "array":
                    np.lib.format.open_memmap(partial, "w+", np.float32, (2,)).flush()
                else:
                    partial.write_text("a")
                if writer == "mode 600":
                    partial.chmod(0o600)
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(ReclipError, match="Cannot write .*: the disk is full"),
        atomic(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_another_fault_of_the_disk_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="denied"), atomic(tmp_path / "a"):
        raise OSError(errno.EACCES, "denied")


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": {"d": "é", "c": 2}}) == canonical_json(
        {"a": {"c": 2, "d": "é"}, "b": 1}
    )
    write_json(tmp_path / "a.json", {"x": ["é", 0.1, None]})
    assert read_json(tmp_path / "a.json") == {"x": ["é", 0.1, None]}
    assert b"\r" not in (tmp_path / "a.json").read_bytes()


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
