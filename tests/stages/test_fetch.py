"""Each source leads to the data's root, through a checksum and, if need be, a download."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256, read_json
from reclip.config.sources import AdeSource, ContextSource, VocSource
from reclip.data.download import official, sources
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import why_stale
from reclip.stages import fetch
from support.hostile_server import HostileServer, Reply, serving
from support.make_archives import tar_of
from support.tiny_voc import make_voc

MODELS = {"voc": VocSource, "context": ContextSource, "ade": AdeSource}
ROOTS = {"voc": "VOCdevkit/VOC2012", "context": "VOCdevkit/VOC2010", "ade": "ADEChallengeData2016"}
JSON = b'{"annos_segmentation": []}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        yield running


def fetch_job(tmp_path: Path, kind: str = "voc", **source) -> Job:
    return Job(
        "fetch",
        kind,
        tmp_path / "raw" / kind,
        tmp_path / "plan",
        {"source": MODELS[kind](kind=kind, **source)},
        environment={"downloads": str(tmp_path / "downloads")},
    )


def found(job: Job) -> dict[str, str]:
    fetch.main(job)
    return read_json(job.folder / "source.json")


def data_folder(tmp_path: Path, kind: str) -> Path:
    """Make the smallest folder in the layout of `kind`."""
    base = tmp_path / f"made-{kind}"
    if kind == "ade":
        for split in ("training", "validation"):
            (base / ROOTS[kind] / "images" / split).mkdir(parents=True)
            (base / ROOTS[kind] / "images" / split / "1.jpg").write_bytes(b"photo")
    else:
        make_voc(base, Path(ROOTS[kind]).name)
    return base


def data_archive(tmp_path: Path, kind: str) -> Path:
    packing = "zip" if kind == "ade" else "tar"
    return Path(shutil.make_archive(str(tmp_path / kind), packing, data_folder(tmp_path, kind)))


@pytest.fixture
def officials(tmp_path: Path, server, monkeypatch) -> dict[str, Path]:
    """Replace all official files by tiny ones on a local server."""
    made = {kind: data_archive(tmp_path, kind) for kind in MODELS}
    made["labels"] = tmp_path / "official.json"
    made["labels"].write_bytes(JSON)
    for kind, path in made.items():
        data = path.read_bytes()
        table = official.CONTEXT_LABELS if kind == "labels" else sources.KINDS[kind][0]
        url = server.url(f"/{table.name}", Reply(data))
        checksum = "sha1:" + hashlib.sha1(data).hexdigest()
        tiny = replace(table, urls=(url,), size=None, checksum=checksum)
        if kind == "labels":
            monkeypatch.setattr(official, "CONTEXT_LABELS", tiny)
        else:
            monkeypatch.setitem(sources.KINDS, kind, (tiny, sources.KINDS[kind][1]))
    return made


@pytest.mark.parametrize("kind", MODELS)
def test_the_root_of_an_archive_is_noted(tmp_path: Path, kind: str) -> None:
    archive = data_archive(tmp_path, kind)
    labels = {"labels": str(tmp_path)} if kind == "context" else {}
    sha256 = file_sha256(archive)
    job = fetch_job(tmp_path, kind, archive=archive.as_uri(), sha256=sha256, **labels)
    assert found(job)["root"] == str(job.folder / "unpacked" / ROOTS[kind])
    assert list((job.folder / "unpacked" / ROOTS[kind]).rglob("*.jpg"))
    assert why_stale(job) is None


@pytest.mark.parametrize("kind", MODELS)
def test_the_root_of_a_folder_is_noted_and_nothing_copied(
    tmp_path: Path, kind: str, monkeypatch
) -> None:
    data_folder(tmp_path, kind)
    monkeypatch.setenv("HOME", str(tmp_path))
    labels = {"labels": "~"} if kind == "context" else {}
    job = fetch_job(tmp_path, kind, folder=f"~/made-{kind}", **labels)
    assert found(job)["root"] == str(tmp_path / f"made-{kind}" / ROOTS[kind])
    assert {path.name for path in job.folder.iterdir()} == {"receipt.json", "source.json"}
    assert not (tmp_path / "downloads").exists()


@pytest.mark.parametrize("kind", MODELS)
def test_without_a_source_the_official_archive_is_downloaded(
    tmp_path: Path, officials, server, kind: str
) -> None:
    job = fetch_job(tmp_path, kind)
    assert found(job)["root"] == str(job.folder / "unpacked" / ROOTS[kind])
    labels = {official.CONTEXT_LABELS.name} if kind == "context" else set()
    expected = {sources.KINDS[kind][0].name} | labels
    kept = {path.name for path in (tmp_path / "downloads").iterdir() if path.name[0] != "."}
    assert kept == expected == {path.strip("/") for path in server.requests}


def test_an_official_archive_had_by_other_means_is_used(tmp_path: Path, officials, server) -> None:
    (tmp_path / "downloads").mkdir()
    shutil.copy(officials["voc"], tmp_path / "downloads" / official.VOC2012.name)
    found(fetch_job(tmp_path))
    assert not server.requests


def test_a_web_address_is_downloaded(tmp_path: Path, server) -> None:
    archive = data_archive(tmp_path, "voc")
    url = server.url("/some.tar", Reply(archive.read_bytes()))
    job = fetch_job(tmp_path, archive=url, sha256=file_sha256(archive))
    assert found(job)["root"] == str(job.folder / "unpacked" / ROOTS["voc"])


@pytest.mark.parametrize("source", ["archive", "official"])
def test_a_wrong_checksum_is_found_before_unpacking(tmp_path: Path, officials, source) -> None:
    where = {"archive": str(officials["voc"])} if source == "archive" else {}
    job = fetch_job(tmp_path, sha256="0" * 64, **where)
    with pytest.raises(ReclipError, match=f"params expect {'0' * 64}"):
        fetch.main(job)
    assert not job.folder.exists()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("where", ["archive", "folder"])
def test_a_missing_source_is_one_sentence(tmp_path: Path, kind: str, where: str) -> None:
    words = "no file 'nowhere'" if where == "archive" else "no folder 'nowhere'"
    with pytest.raises(ReclipError, match=f"params: {words}: change the dataset's source"):
        fetch.main(fetch_job(tmp_path, kind, **{where: "nowhere"}))


@pytest.mark.parametrize("kind", MODELS)
def test_an_archive_of_something_else_is_one_sentence(tmp_path: Path, kind: str) -> None:
    archive = tar_of(tmp_path / "a.tar", {"a.txt": b"1"})
    job = fetch_job(tmp_path, kind, archive=str(archive))
    with pytest.raises(ReclipError, match="holds no"):
        fetch.main(job)
    assert not (job.folder / "source.json").exists()


# Context's labels.


def context_job(tmp_path: Path, **source) -> Job:
    folder = data_folder(tmp_path / "photos", "context")
    return fetch_job(tmp_path, "context", folder=str(folder), **source)


def test_without_labels_the_official_json_is_downloaded(tmp_path: Path, officials) -> None:
    labels = Path(found(fetch_job(tmp_path, "context"))["labels"])
    assert labels == tmp_path / "downloads" / "trainval_merged.json"
    assert labels.read_bytes() == JSON


@pytest.mark.parametrize("checked", [True, False])
def test_a_json_is_used_in_place(tmp_path: Path, checked: bool) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(JSON)
    sha256 = file_sha256(path) if checked else None
    job = context_job(tmp_path, labels=path.as_uri(), labels_sha256=sha256)
    assert found(job)["labels"] == str(path)
    assert not (job.folder / "labels").exists()


def test_a_json_from_the_web_is_used_from_downloads(tmp_path: Path, server) -> None:
    url = server.url("/other.json", Reply(JSON))
    labels = Path(found(context_job(tmp_path, labels=url))["labels"])
    assert labels.parent == tmp_path / "downloads" and labels.read_bytes() == JSON


def test_a_folder_of_label_maps_is_used_in_place(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    job = context_job(tmp_path, labels=str(tmp_path / "maps"))
    assert found(job)["labels"] == str(tmp_path / "maps")


def test_an_archive_of_label_maps_is_unpacked(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "maps.tar.gz", {"trainval/2008_000002.mat": b"map"}, "w:gz")
    job = context_job(tmp_path, labels=str(archive), labels_sha256=file_sha256(archive))
    assert found(job)["labels"] == str(job.folder / "labels")
    assert (job.folder / "labels/trainval/2008_000002.mat").read_bytes() == b"map"


@pytest.mark.parametrize("kind", ["json", "archive", "official"])
def test_a_wrong_checksum_of_the_labels_is_one_sentence(tmp_path: Path, officials, kind) -> None:
    (tmp_path / "mine.json").write_bytes(JSON)
    archive = tar_of(tmp_path / "maps.tar", {"a.mat": b"map"})
    labels = {"json": str(tmp_path / "mine.json"), "archive": str(archive), "official": None}
    job = context_job(tmp_path, labels=labels[kind], labels_sha256="0" * 64)
    with pytest.raises(ReclipError, match=f"params expect {'0' * 64}"):
        fetch.main(job)
    assert not job.folder.exists()


def test_a_folder_of_labels_has_no_checksum(tmp_path: Path) -> None:
    job = context_job(tmp_path, labels=str(tmp_path), labels_sha256="0" * 64)
    with pytest.raises(ReclipError, match="is a folder, which has no checksum"):
        fetch.main(job)
