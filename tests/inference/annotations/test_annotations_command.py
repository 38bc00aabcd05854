"""`reclip annotations`: what it writes, what it refuses, and that it removes nothing of others."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.inference.annotations.cvat import voc_colour
from support.annotating import made, model_info
from support.at_the_shell import Said, one_sentence, reclip

NAMES = ("background", "cat", "dog")
MASK = np.array([[0, 0, 1, 1], [0, 2, 0, 1], [1, 0, 0, 0]], np.uint8)
TARGETS = {"coco": "coco.json", "cvat": "voc", "label-studio": "brush"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """The current folder, with masks of photos with the same names, in `found`."""
    monkeypatch.chdir(tmp_path)
    photos = ("trip/a.jpg", "trip/inner/a.jpg", "trip/inner/b.jpg", "trip/inner/b.png")
    made(Path("found"), model_info(NAMES), dict.fromkeys(photos, MASK))
    return tmp_path


def annotations(format: str, *options: str, to: str = "") -> Said:
    to = to or TARGETS[format]
    return reclip("annotations", "found", "--format", format, "--to", to, *options)


def files(*roots: str) -> dict[str, bytes]:
    found = (path for root in roots for path in Path(root).rglob("*") if path.is_file())
    return {path.as_posix(): path.read_bytes() for path in found}


def coco() -> dict:
    return json.loads(Path("coco.json").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- photos and classes


def test_photos_are_named_by_their_path_below_their_common_folder(here: Path) -> None:
    said = annotations("coco")
    assert said == (0, "masks of 4 photos written to 'coco.json'; photos are named by their path "
                    "below '/photos/trip'\n", "")  # fmt: skip
    paths = ["a.jpg", "inner/a.jpg", "inner/b.jpg", "inner/b.png"]
    assert [image["file_name"] for image in coco()["images"]] == paths
    assert annotations("cvat").code == annotations("label-studio").code == 0
    listed = Path("voc/ImageSets/Segmentation/default.txt").read_text().splitlines()
    assert listed == ["a", "inner/a", "inner/b.jpg", "inner/b.png"]
    for folder in ("SegmentationClass", "SegmentationObject"):
        masks = Path("voc", folder).rglob("*.png")
        assert {p.relative_to(f"voc/{folder}").as_posix()[:-4] for p in masks} == set(listed)
    tasks = json.loads(Path("brush/tasks.json").read_text())
    assert [t["data"]["image"] for t in tasks] == [f"/data/local-files/?d={p}" for p in paths]


def test_the_root_and_the_address_of_photos_can_be_given(here: Path) -> None:
    said = annotations("label-studio", "--root", "/photos", "--image-prefix", "https://x/y/")
    assert said.code == 0 and "below '/photos'" in said.out
    task = json.loads(Path("brush/tasks.json").read_text())[1]
    assert task["data"]["image"] == "https://x/y/trip/inner/a.jpg"
    line = one_sentence(annotations("coco", "--root", "/photos/trip/inner"))
    assert "--root: '/photos/trip/a.jpg' is not in '/photos/trip/inner'" in line


@pytest.mark.parametrize("format", TARGETS)
def test_skipped_classes_are_neither_annotated_nor_listed(here: Path, format: str) -> None:
    assert annotations(format, "--skip", "background", "--skip", "cat").code == 0
    if format == "coco":
        assert coco()["categories"] == [{"id": 3, "name": "dog", "supercategory": ""}]
        assert [a["bbox"] for a in coco()["annotations"]] == [[1, 1, 1, 1]] * 4
    elif format == "cvat":
        lines = Path("voc/labelmap.txt").read_text().splitlines()
        assert [line.split(":")[0] for line in lines[1:]] == ["background", "dog"]
        assert [
            *map(tuple, np.argwhere(np.asarray(Image.open("voc/SegmentationClass/a.png")).any(2)))
        ] == [(1, 1)]
    else:
        (result,) = json.loads(Path("brush/tasks.json").read_text())[0]["predictions"][0]["result"]
        assert result["value"]["brushlabels"] == ["dog"]
        assert Path("brush/config.xml").read_text().count("<Label ") == 1


def test_regions_are_annotated_one_by_one(here: Path) -> None:
    assert annotations("coco", "--regions").code == 0
    first = [a["category_id"] for a in coco()["annotations"] if a["image_id"] == 1]
    assert first == [1, 2, 2, 3]  # pixels of a region may share a corner only


def test_photos_without_an_annotation_are_listed(here: Path) -> None:
    made(Path("found"), model_info(NAMES), {"trip/a.jpg": np.full((2, 3), 1, np.uint8)})
    assert annotations("coco", "--skip", "cat").code == 0
    assert len(coco()["images"]) == 4
    assert {annotation["image_id"] for annotation in coco()["annotations"]} == {2, 3, 4}


# ---------------------------------------------------------------- CVAT's limits


def labelmap(names: tuple[str, ...], colours: tuple = ()) -> tuple[list[str], str]:
    """Lines of labelmap.txt, and what the command says."""
    masks = {"a.jpg": np.arange(len(names), dtype=np.uint8)[None]}
    made(Path("found"), model_info(names, colours), masks)
    said = reclip("annotations", "found", "--format", "cvat", "--to", "voc")
    assert said.code == 0, said
    return Path("voc/labelmap.txt").read_text(encoding="utf-8").splitlines()[1:], said.out


def test_names_that_labelmap_cannot_hold_are_replaced_and_named(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines, said = labelmap(("a:b", "#1, big", "Äpfel & Birnen"))
    assert [line.split(":")[0] for line in lines] == [
        "background", "a_b", "_1, big", "Äpfel & Birnen",
    ]  # fmt: skip
    assert "cannot hold 'a:b': the class is 'a_b'" in said and "cannot hold '#1, big'" in said
    assert "Äpfel" not in said


def test_two_classes_never_get_one_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(Path("found"), model_info(("a:b", "a_b")), {"a.jpg": np.zeros((1, 1), np.uint8)})
    assert "would hold the class 'a_b' twice" in one_sentence(annotations("cvat"))
    assert not Path("voc").exists()


def test_every_class_has_its_own_colour_and_none_is_black(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    black, white = (0, 0, 0), (255, 255, 255)
    lines, _ = labelmap(("a", "b", "c", "d"), (black, white, black, white))
    colours = [tuple(map(int, line.split(":")[1].split(","))) for line in lines]
    assert len(set(colours)) == 5 and colours[0] == black and colours[2] == white
    pixels = np.asarray(Image.open("voc/SegmentationClass/a.png"))
    assert [*map(tuple, pixels[0].tolist())] == colours[1:]


def test_a_class_named_background_is_cvat_s_background(here: Path) -> None:
    said = annotations("cvat")
    assert "note: CVAT takes the pixels of 'background' as not annotated" in said.out
    assert Path("voc/labelmap.txt").read_text().splitlines()[1] == "background:0,0,0::"
    for folder in ("SegmentationClass", "SegmentationObject"):
        black = (np.asarray(Image.open(f"voc/{folder}/a.png")) == 0).all(axis=2)
        assert (black == (MASK == 0)).all()


def test_more_regions_than_cvat_holds_become_areas_of_classes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((40, 40), np.uint8)
    mask[::2, ::2] = 1
    made(Path("found"), model_info(NAMES[1:]), {"dots.jpg": mask})
    assert "note: 'dots.jpg' has 401 regions, and CVAT's layout holds 255" in (
        annotations("cvat", "--regions").out
    )
    objects = np.asarray(Image.open("voc/SegmentationObject/dots.png"))
    assert (objects[mask == 0] == voc_colour(1)).all() and (
        objects[mask == 1] == voc_colour(2)
    ).all()


@pytest.mark.parametrize("name", ["#1.jpg", " a.jpg", "a\nb.jpg"])
def test_a_photo_that_default_txt_cannot_hold_is_refused(tmp_path, monkeypatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    made(Path("found"), model_info(NAMES), {name: MASK})
    assert "CVAT's layout cannot hold the name of" in one_sentence(annotations("cvat"))
    assert annotations("coco").code == 0 and annotations("label-studio").code == 0


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize("format", TARGETS)
def test_an_existing_target_is_replaced_only_when_asked_and_by_the_same_bytes(here, format) -> None:
    assert annotations(format).code == 0
    before = files(".")
    assert f"--to: '{TARGETS[format]}' already exists" in one_sentence(annotations(format))
    assert annotations(format, "--overwrite").code == 0
    assert {k: v for k, v in files(".").items() if not k.startswith("logs/")} == before


def test_an_archive_holds_the_same_files_and_always_the_same_bytes(here: Path) -> None:
    assert annotations("cvat").code == annotations("cvat", to="voc.zip").code == 0
    first = Path("voc.zip").read_bytes()
    with zipfile.ZipFile("voc.zip") as archive:
        assert {f"voc/{name}": archive.read(name) for name in archive.namelist()} == files("voc")
    assert annotations("cvat", "--overwrite", to="voc.zip").code == 0
    assert Path("voc.zip").read_bytes() == first


@pytest.mark.parametrize("format", ["cvat", "label-studio"])
def test_a_folder_with_files_of_others_is_left_alone(here: Path, format: str) -> None:
    folder = Path(TARGETS[format])
    assert annotations(format).code == 0
    (folder / "SegmentationClass").mkdir(exist_ok=True)
    (folder / "SegmentationClass/own.png").write_bytes(b"mine")
    before = files(str(folder))
    line = one_sentence(annotations(format, "--overwrite", "--skip", "cat"))
    assert "holds other files, such as" in line and "own.png" in line
    assert files(str(folder)) == before


@pytest.mark.parametrize(
    ("format", "to"),
    [("coco", "own.json"), ("cvat", "own.zip"), ("cvat", "own"), ("coco", "d.json")],
)
def test_a_file_of_another_program_is_not_overwritten(here: Path, format: str, to: str) -> None:
    for own in ("own.json", "own.zip", "own"):
        Path(own).write_text('{"info": {}}')
    Path("d.json").mkdir()
    before = files("found") | {name: Path(name).read_bytes() for name in ("own.json", "own.zip")}
    line = one_sentence(annotations(format, "--overwrite", to=to))
    assert f"'{to}' was not written by `reclip annotations`" in line
    assert files("found") | {n: Path(n).read_bytes() for n in ("own.json", "own.zip")} == before
    assert Path("d.json").is_dir()


def test_a_stopped_command_leaves_no_index(here: Path, monkeypatch) -> None:
    """Without default.txt no program takes the folder for complete."""
    assert annotations("cvat").code == 0
    index = Path("voc/ImageSets/Segmentation/default.txt")
    Path("found/masks/3.png").rename("found/masks/gone.png")
    assert "masks/3.png': it is missing" in one_sentence(annotations("cvat", "--overwrite"))
    assert not index.exists()
    Path("found/masks/gone.png").rename("found/masks/3.png")
    assert annotations("cvat", "--overwrite").code == 0 and index.exists()
    assert annotations("coco").code == 0
    Path("found/masks/3.png").unlink()
    before = files("coco.json")
    one_sentence(annotations("coco", "--overwrite"))
    assert files("coco.json") == before and not list(here.rglob("*.partial*"))


# ---------------------------------------------------------------- mistakes


def test_a_mask_that_was_changed_since_is_refused(here: Path) -> None:
    Image.fromarray(MASK).save("found/masks/0.png")
    line = one_sentence(annotations("coco"))
    assert "masks/0.png': it was changed after `reclip predict` wrote it" in line
    assert not Path("coco.json").exists()


def test_records_of_another_model_are_refused(here: Path) -> None:
    made(Path("found"), model_info((*NAMES, "horse")), {})
    assert "The record of '0' is of another model" in one_sentence(annotations("coco"))


@pytest.mark.parametrize(
    ("format", "to", "words"),
    [
        ("coco", "x", "'x' does not suit coco: name a .json file"),
        ("cvat", "x.json", "'x.json' does not suit cvat: name a folder or a .zip file"),
        ("label-studio", "x.json", "'x.json' does not suit label-studio: name a folder"),
    ],
)
def test_a_target_that_does_not_suit_the_format_is_named(here, format, to, words) -> None:
    assert words in one_sentence(annotations(format, to=to)) and not Path(to).exists()


def test_mistakes_are_one_sentence(here: Path) -> None:
    assert "--skip: no class 'cst'; did you mean 'cat'?" in one_sentence(
        annotations("coco", "--skip", "cst")
    )
    line = one_sentence(annotations("coco", *(f"--skip={name}" for name in NAMES)))
    assert "--skip: no class is left" in line
    Path("empty").mkdir()
    said = reclip("annotations", "empty", "--format", "coco", "--to", "x.json")
    assert "'empty' is not an output folder of `reclip predict`" in one_sentence(said)
    made(Path("empty"), model_info(NAMES), {})
    said = reclip("annotations", "empty", "--format", "coco", "--to", "x.json")
    assert "'empty' has no results: run `reclip predict`" in one_sentence(said)


@pytest.mark.parametrize(
    ("format", "option"),
    [("cvat", "--shape=rle"), ("coco", "--image-prefix=x"), ("label-studio", "--shape=polygon")],
)
def test_an_option_of_another_format_is_refused(here: Path, format: str, option: str) -> None:
    said = annotations(format, option)
    assert said.code == 2 and "is for --format" in said.err
