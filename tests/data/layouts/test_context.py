"""PASCAL Context with its labels in each of their forms, from a tiny made copy."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED, read_label
from reclip.data.index import DataSet
from reclip.data.layouts import context, context_json, context_maps
from reclip.data.layouts.class_names import CONTEXT_CLASSES
from reclip.data.prepare import prepare_photos
from support.tiny_context import (
    HEIGHT,
    IDS,
    OF_VOC,
    TRAIN,
    VAL,
    WIDTH,
    all_ids,
    annotations,
    classes,
    make_json,
    make_mat,
    make_png_59,
    make_png_459,
    make_voc2010,
    region,
    voc_first,
)

FORMS = {
    "json": make_json,
    "mat": lambda folder: make_mat(folder / "maps"),
    "png, 459": lambda folder: make_png_459(folder / "maps"),
    "png, 59": lambda folder: make_png_59(folder / "maps"),
    "png, 59, 255 is none": lambda folder: make_png_59(folder / "maps", none=255),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_voc2010(tmp_path)


def prepare(root: Path, labels: Path, limit: int | None = None) -> DataSet:
    folder = root.parents[1] / "data"
    prepare_photos(context.read(root, labels), limit, folder)
    return DataSet(folder)


# ---------------------------------------------------------------- every form of the labels


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_labels(root: Path, tmp_path: Path, form: str) -> None:
    data = prepare(root, FORMS[form](tmp_path))
    assert [item.id for item in data.items("train")] == TRAIN
    assert [item.id for item in data.items("val")] == VAL
    labels = data.train_labels() | {item.id: item.label for item in data.items("val")}
    for number, id in enumerate(IDS):
        np.testing.assert_array_equal(read_label(labels[id]), classes(number))
    assert all((i.height, i.width) == (HEIGHT, WIDTH) for i in data.items("train"))
    assert data.items("val")[0].image == root / f"JPEGImages/{VAL[0]}.jpg"


@pytest.mark.parametrize("form", FORMS)
def test_the_train_index_has_no_labels(root: Path, tmp_path: Path, form: str) -> None:
    data = prepare(root, FORMS[form](tmp_path))
    assert "label" not in (data.folder / "train.csv").read_text()
    assert all(item.label is None for item in data.items("train"))


@pytest.mark.parametrize(
    ("form", "lists", "official"),
    [
        ("json", "phases of trainval_merged.json", "4,996 train and 5,104 val"),
        ("mat", "ImageSets/Main of VOC 2010", "4,998 train and 5,105 val"),
    ],
)
def test_lists_and_counts_are_stated(
    root: Path, tmp_path: Path, caplog, form: str, lists: str, official: str
) -> None:
    with caplog.at_level(logging.WARNING):
        facts = prepare(root, FORMS[form](tmp_path)).facts
    assert facts["names"] == [list(names) for names in CONTEXT_CLASSES]
    assert (facts["kind"], facts["lists"]) == ("context", lists)
    assert facts["counts"] == {"train": 4, "val": 2}
    assert f"4 train and 2 val photos, officially {official} ({lists})" in caplog.text


def test_a_limit_takes_the_first_of_each_split(root: Path, tmp_path: Path, caplog) -> None:
    data = prepare(root, make_json(tmp_path), limit=1)
    assert [item.id for item in data.items("train")] == TRAIN[:1]
    assert not caplog.records


# ---------------------------------------------------------------- the order of the classes


def test_voc_first_order_is_refused(root: Path, tmp_path: Path) -> None:
    labels = make_png_59(tmp_path / "maps", voc_first())
    with pytest.raises(
        ReclipError, match=r"in another order .*'bicycle' .*'bag'.* for 19 of 20 .*renumber"
    ):
        context.read(root, labels)


def test_a_few_classes_may_be_covered_by_another(root: Path, tmp_path: Path) -> None:
    """As a cloth covers a table."""
    order = list(range(59))
    order[OF_VOC[10]], order[0] = order[0], order[OF_VOC[10]]
    assert len(context.read(root, make_png_59(tmp_path / "maps", order)).photos["val"]) == 2


def test_without_voc_masks_the_log_says_that_nothing_was_checked(
    root: Path, tmp_path: Path, caplog
) -> None:
    shutil.rmtree(root / "SegmentationClass")
    with caplog.at_level(logging.WARNING):
        context.read(root, make_png_59(tmp_path / "maps", voc_first()))
    assert "the order of the classes could not be checked" in caplog.text


def test_names_of_the_json_in_another_order_are_refused(root: Path, tmp_path: Path) -> None:
    content = annotations()
    content["categories"][0]["name"], content["categories"][1]["name"] = "bag", "aeroplane"
    with pytest.raises(ReclipError, match="names class 2 'bag', it is 'aeroplane'"):
        context.read(root, make_json(tmp_path, content))


def test_a_class_that_the_json_does_not_name_is_refused(root: Path, tmp_path: Path) -> None:
    content = annotations()
    content["categories"] = content["categories"][1:]
    with pytest.raises(ReclipError, match="names class 2 '', it is 'aeroplane'"):
        context.read(root, make_json(tmp_path, content))


def test_the_other_spellings_of_the_dataset_are_known(root: Path, tmp_path: Path) -> None:
    content = annotations()
    other = {"table": "diningtable", "tvmonitor": "TV monitor", "cloth": "clothes"}
    for category in content["categories"]:
        category["name"] = other.get(category["name"], category["name"])
    context.read(root, make_json(tmp_path, content))


def test_names_beside_the_maps_are_checked(root: Path, tmp_path: Path) -> None:
    labels = make_mat(tmp_path / "maps")
    names = (labels / "labels.txt").read_text()
    (labels / "labels.txt").write_text(names.replace("18: bed\n", "18: sofa\n"))
    with pytest.raises(ReclipError, match="labels.txt' names class 18 'sofa', it is 'bed'"):
        context.read(root, labels / "trainval")
    (labels / "labels.txt").write_text(names + "no number\n")
    with pytest.raises(ReclipError, match="labels.txt' has a line that is not 'number: name'"):
        context.read(root, labels)


# ---------------------------------------------------------------- trainval_merged.json


def test_the_later_of_two_regions_counts(root: Path, tmp_path: Path) -> None:
    content = annotations()
    sky = np.zeros((HEIGHT, WIDTH))
    sky[:2] = 1
    content["annos_segmentation"].append(region(IDS[4], 360, sky))
    label = read_label(prepare(root, make_json(tmp_path, content)).items("val")[0].label)
    assert (label[:2] == 46).all()
    np.testing.assert_array_equal(label[2:], classes(4)[2:])


def test_a_photo_without_a_region_has_no_class(root: Path, tmp_path: Path) -> None:
    content = annotations()
    images = {region["image_id"] for region in content["annos_segmentation"]}
    kept = [r for r in content["annos_segmentation"] if r["image_id"] != max(images)]
    data = prepare(root, make_json(tmp_path, {**content, "annos_segmentation": kept}))
    assert (read_label(data.items("val")[1].label) == IGNORED).all()


def test_the_json_is_found_in_a_folder(root: Path, tmp_path: Path) -> None:
    make_json(tmp_path)
    assert len(context.read(root, tmp_path).photos["train"]) == 4


@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_a_truncated_json_is_one_sentence(root: Path, tmp_path: Path, keep: float) -> None:
    path = make_json(tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(ReclipError, match="is truncated or no JSON"):
        context.read(root, path)


def test_bytes_that_are_no_text_are_one_sentence(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\x80\x81")
    with pytest.raises(ReclipError, match="is truncated or no JSON"):
        context.read(root, tmp_path / "a.json")


def changed(at: tuple[str, int, str], value) -> dict:
    content = annotations()
    group, number, key = at
    content[group][number][key] = value
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "the whole: Input should be a valid dict"),
        ({"images": [], "annotations": []}, "categories: Field required"),
        (changed(("images", 2, "phase"), None), "images.2.phase: "),
        (changed(("annos_segmentation", 1, "category_id"), 460), "1.category_id: .* equal to 459"),
        (changed(("annos_segmentation", 1, "segmentation"), [[1, 2, 3]]), "1.segmentation: "),
        (
            changed(("annos_segmentation", 0, "segmentation"), {"size": [32, 48], "counts": "zz"}),
            "0.segmentation.counts: ",
        ),
        (
            changed(("annos_segmentation", 0, "segmentation"), {"size": [32, 48], "counts": ""}),
            "0.segmentation.counts: ",
        ),
    ],
)
def test_another_structure_is_one_sentence(root: Path, tmp_path: Path, content, words: str) -> None:
    with pytest.raises(ReclipError, match=f"not the structure of .*{words}.*get it again"):
        context.read(root, make_json(tmp_path, content))


def test_a_mask_that_is_too_long_is_one_sentence(root: Path, tmp_path: Path) -> None:
    bad = {"size": [HEIGHT, WIDTH], "counts": "OOOOOO"}
    labels = make_json(tmp_path, changed(("annos_segmentation", 0, "segmentation"), bad))
    with pytest.raises(ReclipError, match="has a damaged mask of image 2010000001"):
        context.read(root, labels)


def test_what_a_short_mask_leaves_in_memory_is_refused(
    root: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(
        context_json.run_lengths, "decode", lambda rle: np.full(rle["size"], 7, np.uint8)
    )
    with pytest.raises(ReclipError, match="has a damaged mask of image"):
        context.read(root, make_json(tmp_path))


def test_a_mask_of_another_size_is_one_sentence(root: Path, tmp_path: Path) -> None:
    content = annotations()
    content["annos_segmentation"][0] = region(IDS[0], 2, np.ones((WIDTH, HEIGHT)))
    with pytest.raises(ReclipError, match=f"mask of 32×48 for .*{IDS[0]}.jpg', which is 48×32"):
        context.read(root, make_json(tmp_path, content))


def test_a_mask_of_an_impossible_size_is_never_decoded(root: Path, tmp_path: Path) -> None:
    content = annotations()
    content["annos_segmentation"][0]["segmentation"]["size"] = [-4, 600_000]
    with pytest.raises(ReclipError, match="mask of 600000×-4"):
        context.read(root, make_json(tmp_path, content))


def test_a_region_of_no_image_is_one_sentence(root: Path, tmp_path: Path) -> None:
    labels = make_json(tmp_path, changed(("annos_segmentation", 3, "image_id"), 7))
    with pytest.raises(ReclipError, match="has regions of image 7"):
        context.read(root, labels)


@pytest.mark.parametrize("name", ["../2008_000001.jpg", "a b.jpg", ""])
def test_an_invalid_file_name_is_one_sentence(root: Path, tmp_path: Path, name: str) -> None:
    labels = make_json(tmp_path, changed(("images", 0, "file_name"), name))
    with pytest.raises(ReclipError, match="not the id of a photo"):
        context.read(root, labels)


# ---------------------------------------------------------------- folders of maps


def test_an_id_above_59_shows_the_numbering_of_8_bit_maps(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 59, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 6), 255, np.uint8)).save(tmp_path / "b.png")
    maps = sorted(tmp_path.iterdir())
    assert not context_maps.hold_all_classes(maps)
    Image.fromarray(np.full((4, 6), 207, np.uint8)).save(tmp_path / "c.png")
    assert context_maps.hold_all_classes([*maps, tmp_path / "c.png"])


@pytest.mark.parametrize("wrong", [460, 65535])
@pytest.mark.parametrize("suffix", [".mat", ".png"])
def test_an_id_above_459_is_refused(root: Path, tmp_path: Path, suffix: str, wrong: int) -> None:
    labels = make_mat(tmp_path / "maps") if suffix == ".mat" else make_png_459(tmp_path / "maps")
    (path,) = labels.rglob(f"{VAL[0]}{suffix}")
    ids = np.full((HEIGHT, WIDTH), wrong, np.uint16)
    if suffix == ".mat":
        savemat(path, {"LabelMap": ids})
    else:
        Image.fromarray(ids).save(path)
    with pytest.raises(ReclipError, match=f"{VAL[0]}{suffix}' holds id {wrong}, .* 0..459"):
        prepare(root, labels)


def test_negative_ids_are_refused() -> None:
    with pytest.raises(ReclipError, match="holds id -1"):
        context.ALL.convert(np.array([[3, -1]], np.int16), Path("a.mat"))


def test_a_map_of_another_size_is_refused(root: Path, tmp_path: Path) -> None:
    labels = make_mat(tmp_path / "maps")
    savemat(labels / "trainval" / f"{VAL[0]}.mat", {"LabelMap": all_ids(4).T})
    with pytest.raises(ReclipError, match=f"{VAL[0]}.jpg' is 32×48, the photo.* 48×32"):
        prepare(root, labels)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MATLAB 5.0 MAT-file" + bytes(200),
        {"Other": np.zeros((2, 2))},
        {"LabelMap": np.zeros((2, 2, 2), np.uint16)},
        {"LabelMap": np.full((HEIGHT, WIDTH), 0.5)},
        {"LabelMap": "text"},
    ],
)
def test_an_unreadable_mat_is_one_sentence(root: Path, tmp_path: Path, content) -> None:
    labels = make_mat(tmp_path / "maps")
    path = labels / "trainval" / f"{VAL[0]}.mat"
    path.write_bytes(content) if isinstance(content, bytes) else savemat(path, content)
    with pytest.raises(ReclipError, match=f"{VAL[0]}.mat' .*get it again"):
        prepare(root, labels)


def test_a_truncated_mat_is_one_sentence(root: Path, tmp_path: Path) -> None:
    labels = make_mat(tmp_path / "maps")
    path = labels / "trainval" / f"{VAL[0]}.mat"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ReclipError, match="cannot be read as a MATLAB file"):
        prepare(root, labels)


@pytest.mark.parametrize("id", [TRAIN[0], VAL[1]])
def test_a_missing_map_is_one_sentence(root: Path, tmp_path: Path, id: str) -> None:
    labels = make_png_59(tmp_path / "maps")
    (labels / f"{id}.png").unlink()
    with pytest.raises(ReclipError, match=f"{id}.jpg' has no label map '.*maps/{id}.png'"):
        prepare(root, labels)


def test_training_needs_no_maps(root: Path, tmp_path: Path) -> None:
    labels = make_png_59(tmp_path / "maps")
    for id in TRAIN:
        (labels / f"{id}.png").unlink()
    data = prepare(root, labels)
    assert [item.id for item in data.items("train")] == TRAIN
    assert data.train_labels() == {}
    assert len(data.items("val")) == 2


@pytest.mark.parametrize("make", [make_mat, make_png_59])
def test_dot_files_are_no_maps(root: Path, tmp_path: Path, make) -> None:
    maps = context_maps.find_maps(make(tmp_path / "maps"))
    (maps[0].parent / f"._{maps[0].name}").write_bytes(b"of macOS")
    (tmp_path / "maps/__MACOSX").mkdir()
    (tmp_path / "maps/__MACOSX" / f"._{maps[0].name}").write_bytes(b"of macOS")
    assert context_maps.find_maps(tmp_path / "maps") == maps


def test_maps_are_found_among_other_images(root: Path, tmp_path: Path) -> None:
    """As mmsegmentation puts them, beside VOC's own."""
    make_png_59(root / "SegmentationClassContext")
    maps = context_maps.find_maps(root)
    assert {path.parent.name for path in maps} == {"SegmentationClassContext"}
    make_mat(root)
    with pytest.raises(ReclipError, match="may both be the label maps"):
        context_maps.find_maps(root)


def test_no_labels_are_one_sentence(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReclipError, match="holds no label maps"):
        context.read(root, tmp_path / "empty")
    with pytest.raises(ReclipError, match="there is no '.*nowhere'.*source.labels"):
        context.read(root, tmp_path / "nowhere")


# ---------------------------------------------------------------- VOC 2010


@pytest.mark.parametrize("form", ["json", "png, 59"])
def test_a_listed_photo_that_is_missing_is_one_sentence(
    root: Path, tmp_path: Path, form: str
) -> None:
    (root / f"JPEGImages/{VAL[0]}.jpg").unlink()
    with pytest.raises(ReclipError, match=f"lists '{VAL[0]}' but there is no .*restore it"):
        context.read(root, FORMS[form](tmp_path))


def test_only_maps_need_the_lists(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "ImageSets")
    assert len(context.read(root, make_json(tmp_path)).photos["val"]) == 2
    with pytest.raises(ReclipError, match="there is no '.*Main/train.txt': restore this list"):
        context.read(root, make_png_59(tmp_path / "maps"))


@pytest.mark.parametrize("depth", ["", "VOCdevkit", "VOCdevkit/VOC2010"])
def test_the_root_is_found_at_or_below_a_folder(root: Path, tmp_path: Path, depth: str) -> None:
    assert context.find_root(tmp_path / depth) == root


def test_of_several_years_2010_is_taken(root: Path, tmp_path: Path) -> None:
    other = make_voc2010(tmp_path, "VOC2007")
    assert context.find_root(tmp_path) == root
    assert context.find_root(other) == other  # as asked


def test_a_folder_without_photos_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReclipError, match="holds no photos of VOC 2010 .*VOCdevkit/VOC2010"):
        context.find_root(tmp_path)


def test_the_file_is_parsed_once(root: Path, tmp_path: Path, monkeypatch) -> None:
    loads = []
    load = json.load
    monkeypatch.setattr(json, "load", lambda *a, **k: loads.append(1) or load(*a, **k))
    layout = context.read(root, make_json(tmp_path))
    prepare_photos(layout, None, tmp_path / "data")
    assert loads == [1]
