"""A folder of photos as a dataset: its photos, ids, staleness, and labels or none."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.common.hashing import CACHE
from reclip.common.tables import read_table
from reclip.config.load import validate
from reclip.config.models import Params
from reclip.config.sources import FolderSource
from reclip.data.folder import (
    LEFT_OUT,
    LEFT_OUT_COLUMNS,
    WARNINGS,
    WARNINGS_COLUMNS,
    prepare_folder,
)
from reclip.data.images import read_image, read_label, write_label
from reclip.data.index import DataSet
from reclip.data.photos import digest_of_photos, list_photos, photo_id
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish, why_stale
from reclip.versioning.dvc_yaml import pipeline_text
from support.at_the_shell import Project, reclip
from support.folder_of_scenes import LABELLED, NAMES, SIZE, draw, params, source
from support.odd_photos import odd_name
from support.tiny_experiment import merged

ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def grey(path: Path, size: tuple[int, int] = (6, 4), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 80, 70)).save(path, **options)
    return path


def prepared(**given) -> DataSet:
    prepare_folder(validate(FolderSource, source(**given)), Path("data"))
    return DataSet(Path("data"))


def left_out() -> list[str]:
    return [row["image"] for row in read_table(Path("data") / LEFT_OUT, LEFT_OUT_COLUMNS)]


# ---------------------------------------------------------------- which photos, and their ids


def test_photos_are_found_however_deep_and_sorted() -> None:
    for name in ("b.JPG", "a/z.jpeg", "a/b/c.tif", "c.webp"):
        grey(Path("photos") / name)
    for name in ("notes.txt", ".hidden.jpg", "._b.jpg", ".thumbs/t.jpg"):
        (Path("photos") / name).parent.mkdir(exist_ok=True)
        (Path("photos") / name).write_bytes(b"no photo")
    found = [path.as_posix() for path in list_photos("photos", "--images")]
    assert found == ["photos/a/b/c.tif", "photos/a/z.jpeg", "photos/b.JPG", "photos/c.webp"]


def test_a_link_to_its_own_folder_is_not_followed_for_ever() -> None:
    grey(Path("photos/a.jpg"))
    Path("photos/self").symlink_to(".", target_is_directory=True)
    assert len(list_photos("photos", "--images")) == 1


def listed() -> list[str]:
    return [path.as_posix() for path in list_photos("photos", "--images")]


def test_whatever_looks_like_an_image_is_listed() -> None:
    """By its name or, without a name that says more, by its content."""
    photo = grey(Path("photos/a.jpg")).read_bytes()
    read = ["b.jfif", "c.JPE", "d.pjpeg", "e.jif", "no suffix", "odd.suffix", "x.jpg~"]
    for name in read:
        Path("photos", name).write_bytes(photo)
    grey(Path("photos/f.dib"), format="BMP")
    grey(Path("photos/g.jpx"), format="JPEG2000")
    left = {
        "raw.dng": b"II*\0" + bytes(99), "raw.CR3": b"", "phone.hif": b"", "new.jxl": b"\xff\x0a",
        "layers.psd": b"8BPS", "drawing.svg": b"<svg/>", "light.exr": b"", "scan.dcm": b"",
        "telephone": b"\0\0\0\x18ftypheic" + bytes(9),
    }  # fmt: skip
    for name, content in left.items():
        Path("photos", name).write_bytes(content)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "notes", "BMW", "P1 list", "a.xmp"):
        Path("photos", name).write_bytes(b"P" + bytes(99))
    Path("photos/film.mp4").write_bytes(photo)
    assert {Path(p).name for p in listed()} == {"a.jpg", *read, "f.dib", "g.jpx", *left}
    assert len(prepared().items("train")) == 3 + len(read)
    assert {Path(p).name for p in left_out()} == {*left}


def test_linked_folders_are_followed_and_no_folder_counts_twice() -> None:
    grey(Path("photos/own/a.jpg"))
    grey(Path("disk/2024/b.jpg"))
    Path("photos/2024").symlink_to("../disk/2024")
    Path("photos/again").symlink_to("2024")
    Path("photos/a link to own").symlink_to("own")
    Path("photos/up").symlink_to("../..")  # circles: around the folder, and around a linked one
    Path("disk/2024/up").symlink_to("..")
    Path("photos/.hidden").symlink_to("../disk")
    assert listed() == ["photos/2024/b.jpg", "photos/own/a.jpg"]
    before = digest_of_photos("photos", "--images")
    grey(Path("disk/2024/b.jpg"), (7, 7))
    assert digest_of_photos("photos", "--images") != before
    assert [item.id for item in prepared().items("train")] == [
        photo_id(Path(path), "photos") for path in listed()
    ]


def test_a_linked_folder_that_is_not_there_is_left_out_not_overlooked() -> None:
    grey(Path("photos/a.jpg"))
    Path("photos/disk").symlink_to("/nowhere/disk")
    prepared()
    assert left_out() == ["photos/disk"]


def test_a_link_to_the_results_is_refused() -> None:
    grey(Path("photos/a.jpg"))
    Path("results").mkdir()
    Path("photos/masks").symlink_to("../results")
    with pytest.raises(ReclipError, match="'photos/masks' also holds the results"):
        list_photos("photos", "--images")


def test_a_photo_whose_name_is_not_utf_8_is_left_out_with_a_sentence(caplog) -> None:
    grey(Path("photos/a.jpg"))
    odd = odd_name(Path("photos") / os.fsdecode(b"caf\xe9.jpg"))
    folder = odd_name(Path("photos") / os.fsdecode(b"\xe9t\xe9"))
    for path in (odd, folder / "b.jpg"):
        grey(path)
    plan = the_plan().job("prepare", "voc")
    with caplog.at_level(logging.WARNING):
        finish(plan, prepare_folder(plan.settings["source"], plan.folder))
    assert [item.id for item in DataSet(plan.folder).items("train")] == ["a.jpg"]
    rows = read_table(plan.folder / LEFT_OUT, LEFT_OUT_COLUMNS)
    assert {row["image"] for row in rows} == {"photos/caf\\xe9.jpg", "photos/\\xe9t\\xe9/b.jpg"}
    assert all("not UTF-8 text: rename it" in row["reason"] for row in rows)
    assert "photos/caf\\xe9.jpg" in caplog.text and caplog.text.encode()
    assert stale(the_plan()) == []
    assert photo_id(odd, "photos").isascii()


def test_a_folder_whose_name_is_not_utf_8_is_refused_in_one_sentence() -> None:
    folder = odd_name(Path(os.fsdecode(b"caf\xe9")))
    grey(folder / "a.jpg")
    given = ["--images", os.fspath(folder), "--classes", "cat, dog", "--clip", "mini-clip"]
    said = reclip("init", "folder", *given, "--output", "own.yaml")
    assert said.code == 1 and "not UTF-8 text" in said.err and not Path("own.yaml").exists()


def test_ids_are_unique_and_name_files() -> None:
    names = [
        "sub/a.jpg", "sub_a.jpg", "sub a.jpg", "sub-a.jpg", "sub/a.png", "su/b_a.jpg", "ä.jpg",
        "..jpg.jpg", "x" * 200 + ".jpg", "x" * 201 + ".jpg", "a\nb.jpg", "写真/一.jpg", "-rf.jpg",
    ]  # fmt: skip
    ids = [photo_id(Path("photos") / name, "photos") for name in names]
    assert len({id.lower() for id in ids}) == len(ids)
    for id in ids:
        assert id == Path(id).name and len(id) <= 100 and id.isascii() and not id.startswith(".")
        Path(f"{id}.png").write_bytes(b"")
    assert photo_id(Path("photos/IMG_1.jpg"), "photos") == "IMG_1.jpg"  # found again by its name


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nowhere", "there is no folder 'nowhere'"),
        ("file.jpg", "'file.jpg' is a file"),
        (".", "'.' also holds the results"),
        ("..", "'..' also holds the results"),
    ],
)
def test_a_folder_that_cannot_be_used(folder: str, words: str) -> None:
    grey(Path("file.jpg"))
    with pytest.raises(ReclipError, match=r"^--images: .*: (name|move) ") as caught:
        list_photos(folder, "--images")
    assert words in str(caught.value)


def test_a_pipe_is_left_out_without_waiting() -> None:
    grey(Path("photos/a.jpg"))
    os.mkfifo("photos/pipe.jpg")
    Path("photos/self.jpg").symlink_to("self.jpg")
    assert digest_of_photos("photos", "--images").startswith("3 files, ")
    assert len(prepared().items("train")) == 1
    assert left_out() == ["photos/pipe.jpg", "photos/self.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_refused() -> None:
    grey(Path("photos/private/a.jpg"))
    Path("photos/private").chmod(0)
    try:
        with pytest.raises(ReclipError, match="photos/private' cannot be read .Permission denied"):
            list_photos("photos", "--images")
    finally:
        Path("photos/private").chmod(0o700)


@pytest.mark.parametrize("given", [[], [b"no photo"], [b"", b"\xff\xd8\xff\xe0\x00\x10JFIF"]])
def test_a_folder_without_a_photo(given: list[bytes]) -> None:
    Path("photos").mkdir()
    for i, content in enumerate(given):
        Path(f"photos/{i}.jpg").write_bytes(content)
    words = f"none of the {len(given)} photos in" if given else "'photos' holds no photo: put JPEG"
    with pytest.raises(ReclipError, match="params: 'source.images': ") as caught:
        prepared()
    assert words in str(caught.value)


def test_odd_photos_are_read_and_corrupt_ones_are_left_out(caplog) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    grey(Path("photos/turned.jpg"), exif=exif)
    Image.new("CMYK", (6, 4)).save("photos/cmyk.jpg")
    Image.fromarray(np.full((4, 6), 300, np.uint16)).save("photos/16.png")
    Image.new("RGBA", (6, 4), (1, 2, 3, 9)).save("photos/alpha.png")
    whole = grey(Path("photos/whole.jpg"), (64, 64))
    Path("photos/cut.jpg").write_bytes(whole.read_bytes()[:-100])  # its header is whole
    Path("photos/empty.jpg").write_bytes(b"")
    Path("photos/gone.jpg").symlink_to("nowhere.jpg")
    Path("photos/phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with caplog.at_level(logging.WARNING):
        data = prepared()
    sizes = {item.id: (item.height, item.width) for item in data.items("train")}
    assert sizes == {
        "16.png": (4, 6), "alpha.png": (4, 6), "cmyk.jpg": (4, 6), "turned.jpg": (6, 4),
        "whole.jpg": (64, 64),
    }  # fmt: skip
    for item in data.items("train"):
        assert read_image(item.image).shape[:2] == (item.height, item.width)
    assert left_out() == ["photos/cut.jpg", "photos/empty.jpg", "photos/gone.jpg",
                          "photos/phone.HEIC"]  # fmt: skip
    assert caplog.text.count("left out photos/") == 4
    assert data.facts["counts"] == {"train": 5, "val": 0} and data.facts["left_out"] == 4
    assert data.items("val") == [] and data.train_labels() == {}


def test_the_limit_takes_the_first() -> None:
    draw(Path("photos"), 5)
    assert [item.id for item in prepared(limit=2).items("train")] == ["0.png", "1.png"]


# ---------------------------------------------------------------- staleness, by content


def stale(plan: Plan) -> list[str]:
    return [job.name for job in plan.jobs if job.stage == "prepare" and why_stale(job)]


def the_plan() -> Plan:
    return Plan(validate(Params, params()))


def add(photos: list[Path]) -> None:
    shutil.copy(photos[0], "photos/new.png")


def replace(photos: list[Path]) -> None:
    """Replace the first photo by another of the same size and times."""
    size, stat = photos[0].stat().st_size, photos[0].stat()
    content = bytearray(photos[0].read_bytes())
    content[-20] ^= 1
    time.sleep(0.05)
    photos[0].write_bytes(content)
    os.utime(photos[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert photos[0].stat().st_size == size


CHANGES = {
    "added": (add, True),
    "removed": (lambda photos: photos[0].unlink(), True),
    "renamed": (lambda photos: photos[0].rename("photos/other.png"), True),
    "replaced": (replace, True),
    "touched": (lambda photos: photos[0].touch(), False),
    "read": (lambda photos: photos[0].read_bytes(), False),
    "a note beside them": (lambda photos: Path("photos/notes.txt").write_text("x"), False),
    "a folder beside them": (lambda photos: Path("photos/empty").mkdir(), False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_changed_photos_make_the_dataset_stale(change: str) -> None:
    photos = draw(Path("photos"), 3)
    job = the_plan().job("prepare", "voc")
    finish(job, prepare_folder(job.settings["source"], job.folder))
    assert stale(the_plan()) == []
    make, changes = CHANGES[change]
    make(photos)
    assert stale(the_plan()) == (["prepare voc"] if changes else [])
    if changes:
        assert "photos.images 3 files, " in why_stale(the_plan().job("prepare", "voc"))


def test_photos_beyond_the_limit_are_not_read() -> None:
    photos = draw(Path("photos"), 3)
    first = digest_of_photos("photos", "--images", 2)
    assert photos[2] == Path("photos/more/2.png")  # the last
    photos[2].write_bytes(b"another")
    assert digest_of_photos("photos", "--images", 2) == first
    assert "more/2.png" not in CACHE.read_text()
    photos[0].write_bytes(b"another")
    assert digest_of_photos("photos", "--images", 2) != first


def test_many_photos_are_listed_fast() -> None:
    """10,000 photos take 0.2 s on an idle core; the bound is for a busy one."""
    for i in range(2000):
        path = Path(f"photos/{i % 20}/{i}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % i)
    first = digest_of_photos("photos", "--images")
    began = time.process_time()
    assert digest_of_photos("photos", "--images") == first
    assert time.process_time() - began < 1


# ---------------------------------------------------------------- labels of val photos


@pytest.fixture
def labelled() -> Path:
    """Draw training photos, three val photos and their labels."""
    draw(Path("photos"), 2)
    draw(Path("val"), 3, "val", Path("labels"))
    return Path("labels")


def test_labels_are_kept_and_the_train_split_has_none(labelled: Path) -> None:
    data = prepared(**LABELLED)
    items = data.items("val")
    assert [item.image.as_posix() for item in items] == ["val/0.png", "val/1.png", "val/more/2.png"]
    for item in items:
        given = labelled / item.image.relative_to("val")
        assert (read_label(item.label) == read_label(given)).all()
    assert [item.label for item in data.items("train")] == [None, None]
    assert (Path("data/train.csv").read_text()).startswith("id,image,height,width\n")


def big(path: Path) -> None:
    write_label(path, np.zeros((9, 9)), len(NAMES))


def unknown(path: Path) -> None:
    label = read_label(path)
    label[0, 0] = len(NAMES)
    write_label(path, label, len(NAMES))


def maps(kind: list[np.ndarray], labelled: Path, save: Callable) -> None:
    """Replace the three label maps; `save` writes numbers (H, W) to a path."""
    for path, ids in zip(sorted(labelled.rglob("*.png")), kind, strict=True):
        save(np.resize(ids, SIZE).astype(np.uint8), path)


def as_grey(ids: np.ndarray, path: Path) -> None:
    Image.fromarray(ids).save(path)


@pytest.mark.parametrize("first", [[0, 255], [0]])
def test_black_and_white_masks_are_refused(labelled: Path, first: list[int]) -> None:
    """255 would be taken for "no class", so that only one class is measured."""
    maps([first, [255, 0], [255]], labelled, as_grey)
    with pytest.raises(ReclipError, match="hold only 0 and 255, like black-and-white masks.* 1 fo"):
        prepared(**LABELLED)


def test_two_classes_and_no_class_are_not_black_and_white(labelled: Path) -> None:
    maps([[0, 255], [255, 1], [0]], labelled, as_grey)
    assert len(prepared(**LABELLED).items("val")) == 3


def test_each_class_that_no_map_holds_is_warned_of(labelled: Path, caplog) -> None:
    maps([[0, 1], [3, 255], [5]], labelled, as_grey)
    with caplog.at_level(logging.WARNING):
        prepared(**LABELLED)
    absent = [k for k in range(len(NAMES)) if k not in (0, 1, 3, 5)]
    rows = read_table(Path("data") / WARNINGS, WARNINGS_COLUMNS)
    assert [row["about"] for row in rows] == ["labels"] * len(absent)
    for k, row in zip(absent, rows, strict=True):
        assert f"no label map holds class {k} '{NAMES[k]}'" in row["warning"]
        assert row["warning"] in caplog.text


def as_palette(colours: dict[int, int]) -> Callable[[np.ndarray, Path], None]:
    """Return a writer of palette PNGs: colours are grey, by number; the rest is black."""

    def save(ids: np.ndarray, path: Path) -> None:
        image = Image.fromarray(ids).convert("P")
        image.putdata(ids.ravel().tolist())
        image.putpalette([colours.get(k // 3, 0) for k in range(768)])
        image.save(path)

    return save


def test_palettes_that_number_colours_anew_in_each_map_are_refused(labelled: Path) -> None:
    first, second, third = sorted(labelled.rglob("*.png"))
    ids = np.resize([0, 1], SIZE).astype(np.uint8)
    as_palette({0: 10, 1: 20})(ids, first)
    as_palette({0: 10, 1: 30})(ids, second)
    as_palette({0: 10, 1: 20})(ids, third)
    with pytest.raises(
        ReclipError,
        match="number 1 is #141414 in label 'labels/0.png' and #1e1e1e in 'labels/1.png'.*: write "
        "one class number a pixel, the same in every map",
    ):
        prepared(**LABELLED)


def test_one_colour_that_has_another_number_in_another_map_is_refused(labelled: Path) -> None:
    first, second, third = sorted(labelled.rglob("*.png"))
    as_palette({0: 10, 1: 20, 2: 5})(np.resize([0, 1], SIZE).astype(np.uint8), first)
    for path in (second, third):
        as_palette({0: 10, 1: 30, 2: 20})(np.resize([0, 2], SIZE).astype(np.uint8), path)
    with pytest.raises(ReclipError, match="the colour #141414 is number 1 in label .* and 2 in"):
        prepared(**LABELLED)


def test_palettes_may_differ_where_no_pixel_has_the_number(labelled: Path) -> None:
    """And beside grey maps, and with two numbers of one colour in each of them."""
    first, second, third = sorted(labelled.rglob("*.png"))
    ids = np.resize([0, 1, 4, 255], SIZE).astype(np.uint8)
    as_palette({0: 10, 1: 20, 4: 20, 9: 99, 255: 255})(ids, first)
    as_palette({0: 10, 1: 20, 4: 20, 8: 10, 255: 7})(ids, second)
    as_grey(ids, third)
    assert len(prepared(**LABELLED).items("val")) == 3


def test_training_photos_must_not_link_to_val_photos(labelled: Path) -> None:
    Path("photos/linked").symlink_to("../val/more")
    with pytest.raises(ReclipError, match="source.val_images: 'val' and the training photos"):
        prepared(**LABELLED)


def test_photos_of_12_bits_are_read_with_a_warning(caplog) -> None:
    grey(Path("photos/a.jpg"))
    Image.fromarray(np.full((4, 6), 4000, np.uint16)).save("photos/12.tif")
    with caplog.at_level(logging.WARNING):
        assert len(prepared().items("train")) == 2
    (row,) = read_table(Path("data") / WARNINGS, WARNINGS_COLUMNS)
    assert row["about"] == "photos/12.tif" and "scale them to 16" in row["warning"]
    assert row["warning"] in caplog.text and left_out() == []


BAD = {
    "an id too many": (unknown, "holds id 20, it should have 0..19 and 255"),
    "another size": (big, "is 9×9, the photo, upright by its EXIF data, 56×48"),
    "a photo": (
        lambda p: shutil.copy("val/0.png", p),
        "has mode RGB, not one class number a pixel",
    ),
    "no label": (lambda p: p.unlink(), "1 of 3 val photos have no label map, as 'val/0.png'"),
    "no photo": (
        lambda p: shutil.copy(p, p.with_name("alone.png")),
        "1 of 4 label maps belong to no val photo, as 'labels/alone.png'",
    ),
    "a corrupt label": (lambda p: p.write_bytes(b"x"), "'labels/0.png' cannot be read"),
    "two photos of a name": (lambda p: grey(Path("val/0.jpg")), "share a label map"),
}


def test_labels_without_a_class_are_refused(labelled: Path) -> None:
    """Otherwise all results would be 0 without an error."""
    for path in labelled.rglob("*.png"):
        write_label(path, np.full_like(read_label(path), 255), len(NAMES))
    with pytest.raises(ReclipError, match="'labels' hold only 255, which is no class"):
        prepared(**LABELLED)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_pair_is_one_sentence(labelled: Path, bad: str) -> None:
    make, words = BAD[bad]
    make(labelled / "0.png")
    with pytest.raises(ReclipError) as caught:
        prepared(**LABELLED)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"val_images": "val"}, "`val_labels` is missing: give both photos and labels, or neither"),
        ({"val_labels": "labels"}, "`val_images` is missing"),
    ],
)
def test_val_photos_and_labels_need_each_other(given: dict, words: str) -> None:
    with pytest.raises(ReclipError) as caught:
        validate(FolderSource, source(**given))
    assert words in str(caught.value)


@pytest.mark.parametrize("key", ["val_images", "val_labels"])
def test_val_files_among_training_photos_are_refused(labelled: Path, key: str) -> None:
    shutil.copytree(LABELLED[key], "photos/inside")
    with pytest.raises(ReclipError, match="lie in one another: put them side by side"):
        prepared(**{**LABELLED, key: "photos/inside"})


# ---------------------------------------------------------------- what is planned


def test_without_labels_nothing_is_evaluated() -> None:
    draw(Path("photos"), 2)
    plan = the_plan()
    wanted = {
        "prepare", "embed-text", "cache-features", "hypothesise", "rectify", "pseudo-mask",
        "distill", "package", "summarise",
    }  # fmt: skip
    assert {job.stage for job in plan.jobs} == wanted
    made = {job.name for job in plan.default_jobs}
    assert {"rectify rectified", "distill distilled", "summarise tiny"} <= made
    stages = yaml.safe_load(pipeline_text(plan))["stages"]
    assert stages.keys() == {job.stage for job in plan.default_jobs} | {"plan"}
    assert "results/tiny/summary/summary.md" in str(stages["summarise"]["outs"])


def test_with_labels_there_are_metrics_too(labelled: Path) -> None:
    plan = Plan(validate(Params, params(source(**LABELLED))))
    assert {"evaluate", "plot", "summarise"} <= {job.stage for job in plan.jobs}
    assert "evaluate distilled" in {job.name for job in plan.default_jobs}


def test_one_photo_goes_through_every_stage() -> None:
    """Training learns little from it, but nothing divides by zero."""
    draw(Path("photos"), 1)
    project = Project(params())
    project.succeed("prepare", "embed-text", "cache-features", "hypothesise")
    for stage, run in (("rectify", "rectified"), ("pseudo-mask", "rectified"),
                       ("distill", "distilled")):  # fmt: skip
        assert project.run(stage, id=run).code == 0
    assert reclip("summarise").code == 0
    (mask,) = project.results.glob("runs/rectified/pseudo-mask/seed-0/*.png")
    assert read_label(mask).shape == (48, 56)
    curve = (project.results / "runs/distilled/distill/seed-0-curve.csv").read_text()
    assert "nan" not in curve


def test_labels_lead_to_metrics(labelled: Path) -> None:
    """The stages run on val photos, and the train split has no label."""
    given = params(source(**LABELLED))
    given["runs"] = {"query": {"dataset": "voc", "method": "query"}}
    project = Project(given)
    project.succeed("prepare", "embed-text", "cache-features", "hypothesise", "evaluate")
    metrics = read_json(project.results / "runs/query/metrics.json")
    assert (metrics["images"], metrics["split"]) == (3, "val")
    confusion = np.load(project.results / "runs/query/evaluate/confusion.npy")
    assert confusion.sum() == sum((read_label(p) != 255).sum() for p in labelled.rglob("*.png"))


TABLE = {"title": "", "rows": [{"row": "a", "cells": {"voc": {"run": "rectified"}}}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"tables": {"table1": TABLE}},
            "'tables.table1.rows.0.cells.voc.run': cannot evaluate run 'rectified', because "
            "dataset 'voc' has no labels",
        ),
        (
            {"runs": {"probe": {"dataset": "voc", "method": "probe", "student": "distilled"}}},
            "'runs.probe' learns from labels of training photos, but dataset 'voc' has none",
        ),
    ],
)
def test_what_needs_labels_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(ReclipError) as caught:
        Plan(validate(Params, merged(params(), changes)))
    assert words in str(caught.value)


def test_commands_say_that_there_are_no_labels() -> None:
    draw(Path("photos"), 2)
    Project(params())
    said = reclip("evaluate", "--run", "rectified")
    assert said.code == 1 and "cannot evaluate run 'rectified', because dataset 'voc'" in said.err
    said = reclip("compare", "rectified", "distilled")
    assert said.code == 1 and "cannot evaluate run" in said.err
