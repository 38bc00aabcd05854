"""Bad archives, weights and settings: one sentence that names them, and no result is lost."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from reclip.common.files import file_sha256
from support.at_the_shell import TO_METRICS, Project, copy_of, finished, small
from support.make_archives import cut, header, tar_of, zip_patched
from support.tiny_clip import tiny_model
from support.tiny_experiment import merged

ARCHIVE = {"kind": "voc", "archive": "voc.tar"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project whose results are whole, up to the metrics."""
    return finished(tmp_path_factory.mktemp("made"), small(ARCHIVE), TO_METRICS)


@pytest.fixture
def good(made: Path, tmp_path: Path) -> Iterator[Project]:
    with copy_of(made, tmp_path / "project", ARCHIVE) as project:
        yield project


# ---------------------------------------------------------------- archives


def cut_between_members(path: Path) -> None:
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[-1].offset
    cut(path, offset)


def bomb(path: Path) -> None:
    """Entries that share one member's bytes: 1.2 GB of a file of 100 kB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("0", bytes(2**20))
        for number in range(1, 1200):
            again = zipfile.ZipInfo(str(number))
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(again, field, getattr(bundle.filelist[0], field))
            bundle.filelist.append(again)


BAD_ARCHIVES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut in a member": (lambda p: cut(p, 3000), "truncated or damaged"),
    "cut between members": (cut_between_members, "truncated or damaged"),
    "bomb": (bomb, "unpacks to over 1.0 GiB: check the archive"),
    "declares too much": (lambda p: p.write_bytes(header("a", 2**33 - 1)), "check the archive"),
    "holds more than it declares": (
        lambda p: zip_patched(p, {"a": bytes(9999)}, {22: b"\x09\0\0\0"}),
        "truncated or damaged",
    ),
    "leaves its folder": (lambda p: tar_of(p, {"../evil": b"x"}), "do not trust it"),
    "web page": (lambda p: p.write_text("<!DOCTYPE html><html>Log in"), "get it again"),
    "empty": (lambda p: p.write_bytes(b""), "get it again"),
    "of something else": (lambda p: tar_of(p, {"a.txt": b"x"}), "holds no VOC data"),
}


@pytest.mark.parametrize("bad", BAD_ARCHIVES)
def test_a_bad_archive(good: Project, bad: str) -> None:
    before = good.files()
    shutil.copy("voc.tar", "whole.tar")
    make, words = BAD_ARCHIVES[bad]
    make(Path("voc.tar"))
    named = "voc/unpacked" if bad == "of something else" else "voc.tar"
    lost = good.refuse("fetch", words, named)
    receipt = good.results / "raw/voc/receipt.json"
    if bad == "of something else":  # it was whole, so it took the place of what was unpacked
        assert receipt in lost
    else:
        assert lost == {receipt}
    assert not list(Path("..").rglob("evil"))
    shutil.move("whole.tar", "voc.tar")
    good.mended(before, "fetch")


def test_a_wrong_checksum(good: Project) -> None:
    good.change(small(ARCHIVE | {"sha256": "0" * 64}))
    lost = good.refuse("fetch", "'voc.tar' has sha256", f"params expect {'0' * 64}: get the file")
    assert lost == {good.results / "raw/voc/receipt.json"}
    good.change(small(ARCHIVE | {"sha256": file_sha256("voc.tar")}))
    good.succeed(*TO_METRICS)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"folder": "empty"}, "'empty' holds no VOC data"),
        ({"folder": "nowhere"}, "no folder 'nowhere': change the dataset's source.folder"),
        ({"folder": "params.yaml"}, "'params.yaml' is a file: name it as source.archive"),
        ({"archive": "made"}, "'made' is a folder: name it as source.folder"),
        ({"archive": "loop.tar"}, "no file 'loop.tar': change the dataset's source"),
    ],
)
def test_a_bad_source(good: Project, source: dict[str, str], words: str) -> None:
    before = good.files()
    Path("empty").mkdir()
    Path("loop.tar").symlink_to("loop.tar")
    good.change(small({"kind": "voc"} | source))
    assert good.refuse("fetch", words) == {good.results / "raw/voc/receipt.json"}
    good.change(small(ARCHIVE))
    good.mended(before, "fetch")


# ---------------------------------------------------------------- weights and settings


@pytest.mark.parametrize("stage", ["embed-text", "cache-features"])
def test_a_clip_of_another_architecture(good: Project, stage: str) -> None:
    before = good.files()
    torch.save(tiny_model().state_dict(), "other.pt")
    good.change(small(ARCHIVE, clip={"checkpoint": "other.pt"}))
    lost = good.refuse(stage, "'other.pt' does not fit mini-clip", "Correct clip.model or clip")
    assert {path.name for path in lost} == {"receipt.json"}
    good.change(small(ARCHIVE))
    good.mended(before, stage)


def test_a_student_of_another_architecture(good: Project) -> None:
    runs = {
        "ref": {"dataset": "voc", "method": "rectify", "seeds": [0]},
        "student": {"dataset": "voc", "method": "distill", "teacher": "ref"},
    }
    good.change(small(ARCHIVE, runs=runs))
    for stage, id in (("rectify", "ref"), ("pseudo-mask", "ref"), ("distill", "student")):
        assert good.run(stage, id=id).code == 0
    before = good.files()
    torch.save({"conv1.weight": torch.zeros(1)}, "other.pt")
    good.change(merged(good.params, {"distill": {"checkpoint": "other.pt"}}))
    lost = good.refuse("distill", "'other.pt' does not fit timm's test_resnet", id="student")
    assert lost == {good.results / "runs/student/distill/seed-0/receipt.json"}
    good.change(small(ARCHIVE, runs=runs))
    assert good.run("distill", id="student").code == 0
    assert good.files() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'params.yaml' has no settings"),
        ("views: {cuont: 2}", "unknown key 'views.cuont'; did you mean 'count'?"),
        ("clip: {model: [}", "'params.yaml' is not valid YAML at line"),
        ("\x00", "'params.yaml' is not valid YAML"),
        (None, "no settings file 'params.yaml': run from the project's folder"),
    ],
)
def test_bad_settings(good: Project, text: str | None, words: str) -> None:
    before, content = good.files(), Path("params.yaml").read_text()
    if text is None:
        Path("params.yaml").unlink()
    elif text.startswith("views"):
        Path("params.yaml").write_text(content.replace("  count:", "  cuont:"))
    else:
        Path("params.yaml").write_text(text)
    for stage in TO_METRICS:
        assert good.refuse(stage, words) == set()
    Path("params.yaml").write_text(content)
    good.mended(before, *TO_METRICS)
