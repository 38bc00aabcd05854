"""A person's files stay where an unpacked archive is replaced by another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reclip.data.download.keep import own_files_kept


def unpack(target: Path, files: dict[str, str]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    write(target, files)


def write(target: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text)


def found(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_text() for p in files}


MINE = {"sub/mine.txt": "mine", ".hidden": "mine", "own/notes": "mine"}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "raw" / "unpacked"
    with own_files_kept(target):
        unpack(target, {"sub/old.txt": "1", "both.txt": "1"})
    write(target, MINE)
    return target


def test_only_the_files_of_the_archive_before_are_replaced(target: Path) -> None:
    with own_files_kept(target):
        unpack(target, {"new.txt": "2", "both.txt": "2"})
    assert found(target) == {"new.txt": "2", "both.txt": "2", **MINE}
    assert {p.name for p in target.parent.iterdir()} == {"unpacked", ".unpacked.json"}


def test_they_stay_if_the_archive_is_bad_or_the_run_is_killed(target: Path) -> None:
    with pytest.raises(ValueError), own_files_kept(target):
        raise ValueError("bad")
    assert found(target) == {"sub/old.txt": "1", "both.txt": "1", **MINE}
    shutil.copytree(
        target, target.with_name("unpacked-kept"), ignore=shutil.ignore_patterns("*.txt")
    )
    shutil.rmtree(target / "own")  # as a kill leaves it
    with own_files_kept(target):
        unpack(target, {"new.txt": "2"})
    assert found(target) == {"new.txt": "2", **MINE}


def test_what_a_killed_run_left_aside_is_not_lost_and_collisions_are_said(target, caplog) -> None:
    kept = target.with_name("unpacked-kept")
    write(kept, {"sub/mine.txt": "left aside by a killed run"})
    write(target, {"new.txt": "mine, of the archive's name"})
    with own_files_kept(target):
        unpack(target, {"new.txt": "of the archive"})
    texts = [*found(target).values(), *found(kept).values()]
    assert {"mine", "left aside by a killed run", "mine, of the archive's name"} <= set(texts)
    assert "keeps files whose names the archive also has" in caplog.text
