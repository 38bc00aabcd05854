"""Archives are checked before they are unpacked, and appear whole or not at all."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_voc import make_voc

from reclip.config import VocSource
from reclip.data import fetch
from reclip.errors import ReclipError
from reclip.files import file_sha256, read_json
from reclip.jobs import Job


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)
    return path


NOISE = {"a.bin": np.random.default_rng(0).bytes(50_000)}
MEMBERS = {"a.txt": b"one" * 1000, "sub/b.txt": b"two" * 1000}


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.tar.xz", "a.zip"])
def test_an_archive_is_unpacked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind.endswith("zip"):
        zip_of(path, MEMBERS)
    else:
        tar_of(path, MEMBERS, "w:" + kind.removeprefix("a.tar").removeprefix("."))
    fetch.unpack(path, tmp_path / "out" / "unpacked")
    assert names(tmp_path / "out") == ["unpacked/a.txt", "unpacked/sub/b.txt"]
    assert (tmp_path / "out/unpacked/sub/b.txt").read_bytes() == MEMBERS["sub/b.txt"]


def test_what_was_unpacked_before_is_replaced(tmp_path: Path) -> None:
    fetch.unpack(tar_of(tmp_path / "a.tar", {"old.txt": b"1"}), tmp_path / "out" / "unpacked")
    fetch.unpack(tar_of(tmp_path / "a.tar", {"new.txt": b"1"}), tmp_path / "out" / "unpacked")
    assert names(tmp_path / "out") == ["unpacked/new.txt"]


def truncated(path: Path, keep: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    return path


def link(path: Path, kind: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    return path


def html(path: Path) -> Path:
    path.write_text("<!DOCTYPE html><html><body>Please log in</body></html>")
    return path


def damaged_zip(path: Path) -> Path:
    zip_of(path, MEMBERS)
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(bytes(data))
    return path


BAD = {
    "cut short": (lambda p: truncated(tar_of(p, {"a": bytes(50_000)})), "cut short or damaged"),
    "cut in a header": (lambda p: truncated(tar_of(p, MEMBERS), 0.02), "neither a tar nor a zip"),
    "gzip cut short": (lambda p: truncated(tar_of(p, MEMBERS, "w:gz")), "cut short or damaged"),
    "xz cut short": (lambda p: truncated(tar_of(p, NOISE, "w:xz")), "cut short or damaged"),
    "zip cut short": (lambda p: truncated(zip_of(p, MEMBERS)), "neither a tar nor a zip"),
    "damaged zip": (damaged_zip, "cut short or damaged"),
    "web page": (html, "neither a tar nor a zip"),
    "empty file": (lambda p: p.write_bytes(b"") or p, "neither a tar nor a zip"),
    "tar with ..": (lambda p: tar_of(p, {"ok": b"1", "../evil": b"x"}), "do not trust it"),
    "tar with deep ..": (lambda p: tar_of(p, {"a/../../evil": b"x"}), "do not trust it"),
    "zip with ..": (lambda p: zip_of(p, {"ok": b"1", "../evil": b"x"}), "do not trust it"),
    "zip with a root": (lambda p: zip_of(p, {"/evil": b"x"}), "do not trust it"),
    "symbolic link": (lambda p: link(p, tarfile.SYMTYPE), "'link', a link or device"),
    "hard link": (lambda p: link(p, tarfile.LNKTYPE), "'link', a link or device"),
    "device": (lambda p: link(p, tarfile.CHRTYPE), "'link', a link or device"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_is_one_sentence_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    make, words = BAD[case]
    archive = make(tmp_path / "archive")
    (tmp_path / "out").mkdir()
    with pytest.raises(ReclipError, match=words) as caught:
        fetch.unpack(archive, tmp_path / "out" / "unpacked")
    assert str(archive) in str(caught.value) and "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["archive", "out"]


def test_an_absolute_tar_member_stays_inside(tmp_path: Path) -> None:
    fetch.unpack(tar_of(tmp_path / "a.tar", {"/etc/x": b"1"}), tmp_path / "out" / "unpacked")
    assert names(tmp_path / "out") == ["unpacked/etc/x"]


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_more_than_is_free_is_refused_beforehand(tmp_path: Path, monkeypatch, make) -> None:
    asked = []

    def disk_usage(path):
        asked.append(Path(path))
        return SimpleNamespace(free=5000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    archive = make(tmp_path / "archive", MEMBERS)  # 6000 bytes
    with pytest.raises(ReclipError, match="free some space"):
        fetch.unpack(archive, tmp_path / "out" / "unpacked")
    assert list((tmp_path / "out").iterdir()) == []
    assert asked[0].is_relative_to(tmp_path / "out")  # the disk that it goes to


def test_a_bomb_is_refused_however_much_is_free(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fetch, "MAX_UNPACKED", 5000)
    with pytest.raises(ReclipError, match="check the archive"):
        fetch.unpack(zip_of(tmp_path / "a.zip", MEMBERS), tmp_path / "out" / "unpacked")


# The stage.


def fetch_job(tmp_path: Path, **source) -> Job:
    folder = tmp_path / "raw" / "voc"
    settings = {"source": VocSource(kind="voc", **source)}
    return Job("fetch", "voc", folder, tmp_path / "plan", settings)


def voc_archive(tmp_path: Path) -> Path:
    make_voc(tmp_path / "made")
    return Path(shutil.make_archive(str(tmp_path / "voc"), "tar", tmp_path / "made", "VOCdevkit"))


def test_the_root_of_an_archive_is_noted(tmp_path: Path) -> None:
    archive = voc_archive(tmp_path)
    job = fetch_job(tmp_path, archive=str(archive), sha256=file_sha256(archive))
    fetch.main(job)
    root = Path(read_json(job.folder / "source.json")["root"])
    assert root == job.folder / "unpacked/VOCdevkit/VOC2012"
    assert (root / "JPEGImages/2007_000032.jpg").is_file()
    assert job.stale_because() is None


def test_the_root_of_a_folder_is_noted_and_nothing_copied(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "made")
    job = fetch_job(tmp_path, folder=str(tmp_path / "made"))
    fetch.main(job)
    assert read_json(job.folder / "source.json") == {"root": str(root)}
    assert names(job.folder) == ["receipt.json", "source.json"]


def test_a_wrong_checksum_is_found_before_unpacking(tmp_path: Path) -> None:
    job = fetch_job(tmp_path, archive=str(voc_archive(tmp_path)), sha256="0" * 64)
    with pytest.raises(ReclipError, match=f"params expect {'0' * 64}"):
        fetch.main(job)
    assert not job.folder.exists()


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_a_source_that_is_not_there_is_one_sentence(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ReclipError, match=f"no {kind} 'nowhere'"):
        fetch.main(fetch_job(tmp_path, **{kind: "nowhere"}))


def test_an_archive_of_something_else_is_one_sentence(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", MEMBERS)
    with pytest.raises(ReclipError, match="holds no VOC data"):
        fetch.main(fetch_job(tmp_path, archive=str(archive)))


def test_without_a_source_the_official_archive_is_fetched(tmp_path: Path, monkeypatch) -> None:
    archive = voc_archive(tmp_path)
    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append((url, known_hash))
        return str(archive)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    fetch.main(fetch_job(tmp_path))
    (url, known_hash), *rest = asked
    assert url.startswith("http") and url.endswith("VOCtrainval_11-May-2012.tar") and not rest
    assert known_hash == "md5:6cd6e144f989b92b3379bac3b3de84fd"


def test_without_a_network_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    def retrieve(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    with pytest.raises(ReclipError, match=r"no route to host.*source\.archive"):
        fetch.main(fetch_job(tmp_path))
