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
from reclip.config.sources import (
    AdeSource,
    CityscapesSource,
    CocoStuff27Source,
    CocoStuff171Source,
    ContextSource,
    PairedSource,
    VocSource,
)
from reclip.data.download import official, sources
from reclip.data.download.official import RemoteFile
from reclip.data.prepare import prepare_photos, read_layout
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import why_stale
from reclip.stages import fetch
from support.hostile_server import HostileServer, Reply, serving
from support.make_archives import tar_of, zip_of
from support.tiny_cityscapes import cityscapes_archives, make_cityscapes
from support.tiny_coco import coco_archives, make_coco
from support.tiny_voc import make_voc

MODELS = {
    "voc": VocSource,
    "context": ContextSource,
    "ade": AdeSource,
    "cityscapes": CityscapesSource,
    "coco-stuff-27": CocoStuff27Source,
    "coco-stuff-171": CocoStuff171Source,
}
DOWNLOADED = [kind for kind in MODELS if kind != "cityscapes"]
PAIRED = [kind for kind, model in MODELS.items() if issubclass(model, PairedSource)]
ROOTS = {
    "voc": "VOCdevkit/VOC2012",
    "context": "VOCdevkit/VOC2010",
    "ade": "ADEChallengeData2016",
    "cityscapes": "cityscapes",
    "coco-stuff-27": "coco/images",
    "coco-stuff-171": "coco/images",
}
OFFICIAL_ROOTS = ROOTS | {"cityscapes": "", "coco-stuff-27": "", "coco-stuff-171": ""}
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
    elif kind == "cityscapes":
        make_cityscapes(base)
    elif kind.startswith("coco"):
        make_coco(base)
    else:
        make_voc(base, Path(ROOTS[kind]).name)
    return base


def data_archive(tmp_path: Path, kind: str) -> Path:
    packing = "zip" if kind == "ade" else "tar"
    return Path(shutil.make_archive(str(tmp_path / kind), packing, data_folder(tmp_path, kind)))


@pytest.fixture
def officials(tmp_path: Path, server, monkeypatch) -> dict[str, Path]:
    """Replace all official files by tiny ones, by name; those without a login are on a server."""
    made = {
        official.VOC2012.name: data_archive(tmp_path, "voc"),
        official.VOC2010.name: data_archive(tmp_path, "context"),
        official.ADE.name: data_archive(tmp_path, "ade"),
        official.CONTEXT_LABELS.name: tmp_path / "official.json",
        **cityscapes_archives(tmp_path),
        **coco_archives(tmp_path),
    }
    made[official.CONTEXT_LABELS.name].write_bytes(JSON)

    def tiny(file: RemoteFile) -> RemoteFile:
        data = made[file.name].read_bytes()
        urls = (server.url(f"/{file.name}", Reply(data)),) if file.urls else ()
        checksum = file.checksum and "sha1:" + hashlib.sha1(data).hexdigest()
        return replace(file, urls=urls, size=None, checksum=checksum)

    for kind, origin in list(sources.KINDS.items()):
        labels = origin.labels and tiny(origin.labels)
        small = origin._replace(photos=tuple(map(tiny, origin.photos)), labels=labels)
        monkeypatch.setitem(sources.KINDS, kind, small)
    return made


def official_names(kind: str) -> set[str]:
    origin = sources.KINDS[kind]
    return {file.name for file in (*origin.photos, origin.labels) if file}


@pytest.mark.parametrize("kind", MODELS)
def test_the_root_of_an_archive_is_noted(tmp_path: Path, kind: str) -> None:
    archive = data_archive(tmp_path, kind)
    labels = {"labels": str(tmp_path)} if kind in PAIRED else {}
    sha256 = file_sha256(archive)
    job = fetch_job(tmp_path, kind, archive=archive.as_uri(), sha256=sha256, **labels)
    assert found(job)["root"] == str(job.folder / "unpacked" / ROOTS[kind])
    assert list((job.folder / "unpacked" / ROOTS[kind]).rglob("*.[jp][pn]g"))
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


@pytest.mark.parametrize("kind", DOWNLOADED)
def test_without_a_source_the_official_archives_are_downloaded(
    tmp_path: Path, officials, server, kind: str
) -> None:
    job = fetch_job(tmp_path, kind)
    assert found(job)["root"] == str(job.folder / "unpacked" / OFFICIAL_ROOTS[kind])
    kept = {path.name for path in (tmp_path / "downloads").iterdir() if path.name[0] != "."}
    assert kept == official_names(kind) == {path.strip("/") for path in server.requests}


def test_an_official_archive_had_by_other_means_is_used(tmp_path: Path, officials, server) -> None:
    (tmp_path / "downloads").mkdir()
    name = official.VOC2012.name
    shutil.copy(officials[name], tmp_path / "downloads" / name)
    found(fetch_job(tmp_path))
    assert not server.requests


def test_a_web_address_is_downloaded(tmp_path: Path, server) -> None:
    archive = data_archive(tmp_path, "voc")
    url = server.url("/some.tar", Reply(archive.read_bytes()))
    job = fetch_job(tmp_path, archive=url, sha256=file_sha256(archive))
    assert found(job)["root"] == str(job.folder / "unpacked" / ROOTS["voc"])


@pytest.mark.parametrize("source", ["archive", "official"])
def test_a_wrong_checksum_is_found_before_unpacking(tmp_path: Path, officials, source) -> None:
    given = str(officials[official.VOC2012.name])
    where = {"archive": given} if source == "archive" else {}
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


# Labels of a second download: COCO-Stuff and Cityscapes.


@pytest.mark.parametrize("kind", ["cityscapes", "coco-stuff-27", "coco-stuff-171"])
def test_official_archives_lead_to_indexed_photos_with_labels(
    tmp_path: Path, officials, kind: str
) -> None:
    (tmp_path / "downloads").mkdir()
    for name in official_names(kind):
        shutil.copy(officials[name], tmp_path / "downloads" / name)
    job = fetch_job(tmp_path, kind)
    places = found(job)
    assert Path(places["labels"]) == job.folder / "labels"
    layout = read_layout(kind, places)
    assert all(photo.labelled for split in layout.photos.values() for photo in split)
    outputs = prepare_photos(layout, None, tmp_path / "data")
    assert len([path for path in outputs if path.suffix == ".png"]) == sum(
        map(len, layout.photos.values())
    )


@pytest.mark.parametrize("kind", ["cityscapes", "coco-stuff-27"])
def test_labels_beside_the_photos_of_a_folder_are_used_in_place(tmp_path: Path, kind: str) -> None:
    base = data_folder(tmp_path, kind)
    labels = found(fetch_job(tmp_path, kind, folder=str(base)))["labels"]
    assert labels == str(base / ("cityscapes" if kind == "cityscapes" else "coco/annotations"))


def test_labels_of_another_place_are_used_before_those_beside_the_photos(tmp_path: Path) -> None:
    other = make_coco(tmp_path / "other").parent / "annotations"
    folder = str(data_folder(tmp_path, "coco-stuff-27"))
    job = fetch_job(tmp_path, "coco-stuff-27", folder=folder, labels=str(other))
    assert found(job)["labels"] == str(other)


def test_all_files_that_need_a_login_are_named_at_once(tmp_path: Path, server) -> None:
    job = fetch_job(tmp_path, "cityscapes")
    place = tmp_path / "downloads"
    with pytest.raises(
        ReclipError,
        match="^leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip cannot be downloaded "
        f"without a login: .* https://www.cityscapes-dataset.com/downloads/ into '{place}', or "
        "name your copy of .*.zip as source.archive and .*.zip as source.labels$",
    ):
        fetch.main(job)
    assert not server.requests and not place.exists()


@pytest.mark.parametrize("given", ["archive", "folder", "labels", "downloads"])
def test_only_the_files_that_are_missing_are_named(tmp_path: Path, given: str) -> None:
    archives = cityscapes_archives(tmp_path)
    photos, labels = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
    root = tmp_path / "for-archives/cityscapes"
    if given == "folder":
        (root / "gtFine").rename(tmp_path / "elsewhere")
    if given == "downloads":
        (tmp_path / "downloads").mkdir()
        shutil.copy(archives[labels], tmp_path / "downloads" / labels)
    wheres = {"archive": str(archives[photos]), "folder": str(root), "labels": str(tmp_path)}
    source = {given: wheres[given]} if given in wheres else {}
    missing = photos if given in ("labels", "downloads") else labels
    with pytest.raises(ReclipError, match=f"^{missing} cannot be downloaded without a login"):
        fetch.main(fetch_job(tmp_path, "cityscapes", **source))


def test_a_wrong_file_got_by_hand_is_found_by_its_checksum(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    for name in official_names("cityscapes"):
        zip_of(tmp_path / "downloads" / name, {"leftImg8bit/train/a/1.png": b"of train_extra"})
    with pytest.raises(ReclipError, match="leftImg8bit_trainvaltest.zip' has md5:.* expected is"):
        fetch.main(fetch_job(tmp_path, "cityscapes"))


def test_a_file_without_a_published_checksum_is_said_to_be_unchecked(
    tmp_path: Path, officials, caplog
) -> None:
    name = official.COCO_STUFF.name
    sha256 = file_sha256(officials[name])
    found(fetch_job(tmp_path, "coco-stuff-27"))
    (said,) = [r.message for r in caplog.records if "was not checked" in r.message]
    assert name in said and sha256 in said
    caplog.clear()
    found(fetch_job(tmp_path, "coco-stuff-27", labels_sha256=sha256))
    assert "was not checked" not in caplog.text
    with pytest.raises(ReclipError, match=f"params expect {'0' * 64}"):
        fetch.main(fetch_job(tmp_path, "coco-stuff-27", labels_sha256="0" * 64))


def test_two_official_archives_have_no_common_checksum() -> None:
    with pytest.raises(ValueError, match="`sha256` is of the file `archive`: name that file"):
        CocoStuff27Source(kind="coco-stuff-27", sha256="0" * 64)
