"""A full disk, a killed process, a disk that lost power: one sentence, and nothing half is kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from reclip.common import files
from reclip.common.errors import ReclipError
from reclip.common.files import atomic, require_room, write_text
from support.at_the_shell import TO_METRICS, Project, copy_of, finished, small
from support.needs import needs_dev_full
from support.paths import TESTS

ARCHIVE = {"kind": "voc", "archive": "voc.tar"}
TO_RECTIFIED = (*TO_METRICS[:-2], "rectify", "evaluate", "gather")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project whose results are whole."""
    return finished(tmp_path_factory.mktemp("made"), rectifying(), TO_RECTIFIED)


def rectifying() -> dict:
    run = {"dataset": "voc", "method": "rectify", "seeds": [0]}
    return small(ARCHIVE) | {"runs": {"ref": run}}


@pytest.fixture
def good(made: Path, tmp_path: Path) -> Iterator[Project]:
    with copy_of(made, tmp_path / "project", ARCHIVE) as project:
        project.change(rectifying())
        yield project


# ---------------------------------------------------------------- a full disk

ALONE = ["unshare", "--user", "--map-root-user", "--mount"]

# The project's results move to a small disk, which is filled before each stage.
FULL = """
import logging, shutil, subprocess, sys
from pathlib import Path
logging.disable()
sys.path.insert(0, sys.argv[1])
from support.at_the_shell import Project
from robustness.test_full_disk import rectifying
Path("results").rename("kept")
Path("results").mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", "results"], check=True)
shutil.copytree("kept", "results", dirs_exist_ok=True)
project = Project(rectifying())
MEASURED = "fetch", "cache-features"  # know how much they are going to write
for stage in sys.argv[2:]:
    before = project.files()
    # What evaluation writes would find room where its receipt was, which is removed first.
    for receipt in Path("results").glob(f"*/runs/*/{stage}/seed-*/receipt.json"):
        receipt.unlink()
    with open("results/filler", "wb") as filler:
        filler.write(bytes(shutil.disk_usage("results").free))
    project.refuse(stage, "ree some space", "are free" if stage in MEASURED else "disk is full")
    Path("results/filler").unlink()
    project.mended(before, stage)
    print(stage)
"""


def can_mount() -> bool:
    """Whether this person may mount a disk in a namespace of their own."""
    if not shutil.which("unshare"):
        return False
    trial = [*ALONE, "mount", "-t", "tmpfs", "tmpfs", str(TESTS)]  # seen by that process alone
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def test_a_full_disk_stops_a_stage_with_one_sentence(good: Project) -> None:
    """Not with a traceback of numpy or Rust, nor with SIGBUS where a file is written by a map."""
    if not can_mount():
        pytest.skip(
            "may not mount a small disk that others do not see (Linux, `unshare`), "
            "and must not fill this machine's own"
        )
    stages = ["fetch", "embed-text", "cache-features", "rectify", "evaluate"]
    command = [*ALONE, sys.executable, "-c", FULL, str(TESTS), *stages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == stages


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda p: p.write_text("x" * 100),
    "numpy": lambda p: np.save(p, np.zeros(10_000)),
    "torch": lambda p: torch.save({"a": torch.zeros(100_000)}, p),
    "Pillow": lambda p: Image.new("L", (99, 99)).save(p),
}


@needs_dev_full
@pytest.mark.parametrize("writer", WRITERS)
def test_whatever_a_writer_says_of_a_full_disk(tmp_path: Path, writer: str) -> None:
    path = tmp_path / ("a.png" if writer == "Pillow" else "a.npy")
    path.write_bytes(b"old")
    words = "Cannot write .*: the disk is full. Free some space"
    with pytest.raises(ReclipError, match=words), atomic(path) as partial:
        partial.symlink_to("/dev/full")
        WRITERS[writer](partial)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("no number")])
def test_an_error_that_is_not_the_disks_is_passed_on(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), atomic(tmp_path / "a") as partial:
        partial.write_text("half")
        raise error


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ReclipError, match="Cannot write .*: Not a directory. Fix this"):
        write_text(tmp_path / "a" / "b" / "c.txt", "x")


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "not" / "made yet"
    require_room(folder, 2**20)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**32))
    words = "made yet': 5,120.0 MiB are needed and 4,096.0 MiB are free. Free some space"
    with pytest.raises(ReclipError, match=words):
        require_room(folder, 5 * 2**30)
    assert not folder.exists()


# ---------------------------------------------------------------- a killed process

KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from support.at_the_shell import reclip
from reclip.clip.extract import Extractor
compute, left = Extractor.__call__, 2  # the photos as they are, and one of two views
def last(self, *arguments, **options):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return compute(self, *arguments, **options)
Extractor.__call__ = last
reclip("cache-features", "--dataset", "voc", "--force")
"""


def test_a_killed_stage_leaves_nothing_and_is_made_again(good: Project) -> None:
    before = good.files()
    command = [sys.executable, "-c", KILLED, str(TESTS)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = good.partials()
    assert "features" in left.parts
    assert not (good.results / "features/voc/receipt.json").exists()
    good.mended(before, "cache-features")  # which looks for what was left, too


def test_what_another_process_is_writing_is_let_be(tmp_path: Path) -> None:
    no_process = 2**22 + 1  # more than any process's number
    ours = tmp_path / f".b.{files.MACHINE}.reclip-1.partial.npy"  # the first process always runs
    abandoned = tmp_path / f".b.{files.MACHINE}.reclip-{no_process}.partial.npy"
    elsewhere = tmp_path / f".b.0123abcd.reclip-{no_process}.partial.npy"  # on a shared disk
    week_old = tmp_path / f".c.0123abcd.reclip-{no_process}.partial.npy"
    named_alike = tmp_path / "b.partial.npy"
    for path in (ours, abandoned, elsewhere, week_old, named_alike):
        path.write_text("x")
    os.utime(week_old, (0, time.time() - 8 * 24 * 3600))
    write_text(tmp_path / "a", "x")
    assert set(tmp_path.iterdir()) == {tmp_path / "a", ours, elsewhere, named_alike}


# ---------------------------------------------------------------- results that rot


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("raw/voc/source.json", "prepare"),
        ("data/voc/classes.json", "embed-text"),
        ("data/voc/val.csv", "cache-features"),
        ("features/voc/manifest.json", "hypothesise"),
        ("features/voc/val.csv", "hypothesise"),
        ("features/voc/shards-*/val-00000/global.npy", "hypothesise"),
        ("features/voc/shards-*/train-00000/views.npy", "rectify"),
        ("features/voc/shards-*/train-00000/cells.npy", "rectify"),
        ("features/voc/shards-*/val-00000/tokens.npy", "evaluate"),
    ],
)
def test_a_result_that_lost_its_bytes(good: Project, name: str, stage: str) -> None:
    """As after a loss of power: the file has its size, and holds zeros."""
    (path,) = good.results.glob(name)
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    said = good.run(stage)
    assert said.code == 1 and said.err.count("\n") == 1
    assert said.err.startswith(f"error: '{path}' ") and "run its stage again" in said.err
    path.write_bytes(content)
    good.succeed(stage)
