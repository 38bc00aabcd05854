"""Large files are read once, and again when they change."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reclip.common import hashing
from reclip.common.files import file_sha256
from reclip.common.hashing import CACHE, cached_sha256


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read, in a project folder of its own."""
    monkeypatch.chdir(tmp_path)
    found: list[Path] = []

    def read(path: Path) -> str:
        found.append(path)
        return file_sha256(path)

    monkeypatch.setattr(hashing, "file_sha256", read)
    return found


def test_a_file_is_read_once(tmp_path: Path, reads) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"one")
    assert cached_sha256(path) == cached_sha256(Path("weights.pt")) == file_sha256(path)
    assert len(reads) == 1


@pytest.mark.parametrize("later", [1, 0])
def test_a_changed_file_is_read_again_even_if_of_the_same_time(tmp_path, reads, later) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"one")
    first, mtime = cached_sha256(path), path.stat().st_mtime_ns
    time.sleep(0.05)  # the clock of file systems ticks every few milliseconds
    path.write_bytes(b"two")
    os.utime(path, ns=(mtime + later, mtime + later))
    assert cached_sha256(path) == file_sha256(path) != first


@pytest.mark.parametrize("memory", [b"", b"{", None])
def test_a_lost_or_damaged_memory_costs_time_alone(tmp_path: Path, reads, memory) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"one")
    cached_sha256(path)
    CACHE.unlink() if memory is None else CACHE.write_bytes(memory)
    assert cached_sha256(path) == file_sha256(path)
    assert len(reads) == 2


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path: Path, reads) -> None:
    (tmp_path / "results").write_text("no folder")
    path = tmp_path / "weights.pt"
    path.write_bytes(b"one")
    assert cached_sha256(path) == file_sha256(path)
