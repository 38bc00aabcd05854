"""COCO-Stuff in its official layout, with 27 and with 171 classes, from a tiny made copy."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from reclip.common.errors import ReclipError
from reclip.data.images import read_label
from reclip.data.index import DataSet
from reclip.data.layouts import coco_stuff
from reclip.data.layouts.coco_classes import COCO_27, COCO_27_IDS, COCO_171, COCO_IDS
from reclip.data.prepare import prepare_photos
from support.tiny_coco import OF_27, OF_171, TRAIN, VAL, make_coco, write_map

KINDS = list(coco_stuff.KINDS)


def maps_of(root: Path) -> Path:
    return root.parent / "annotations"


def prepare(root: Path, folder: Path, kind: str = KINDS[0], limit: int | None = None) -> DataSet:
    prepare_photos(coco_stuff.read(kind, root, maps_of(root)), limit, folder)
    return DataSet(folder)


# The classes. Ids are those of `labels.txt`, less 1.


def test_of_182_ids_the_171_that_maps_have_are_classes_in_their_order() -> None:
    assert len(COCO_171) == len(COCO_IDS) == 171 and list(COCO_IDS) == sorted(set(COCO_IDS))
    # street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush
    assert {*range(182)} - {*COCO_IDS} == {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    named = dict(zip(COCO_IDS, (name for (name,) in COCO_171), strict=True))
    assert {id: named[id] for id in (0, 12, 89, 91, 102, 117, 132, 156, 179, 181)} == {
        0: "person", 12: "stop sign", 89: "toothbrush", 91: "banner", 102: "tile ceiling",
        117: "wood floor", 132: "mirror", 156: "sky", 179: "blind window", 181: "wood",
    }  # fmt: skip


def test_each_id_is_in_one_of_the_27_classes_things_first() -> None:
    assert len(COCO_27) == len(COCO_27_IDS) == 27
    assert sorted(id for ids in COCO_27_IDS for id in ids) == list(COCO_IDS)
    assert {id for ids in COCO_27_IDS[:12] for id in ids} == {id for id in COCO_IDS if id < 91}


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        ("person", "person"),
        ("vehicle", "bicycle, car, motorcycle, airplane, bus, train, truck, boat"),
        ("appliance", "microwave, oven, toaster, sink, refrigerator"),
        ("food stuff", "food, fruit, salad, vegetable"),
        ("raw material", "cardboard, metal, paper, plastic"),
        ("building", "bridge, building, house, roof, skyscraper, tent"),
        ("sky", "clouds, sky"),
        ("solid", "hill, mountain, rock, solid, stone, wood"),
        ("structural", "cage, fence, net, railing, structural"),
        ("water", "fog, river, sea, water, waterdrops"),
    ],
)
def test_the_27_classes_are_the_hierarchys(coarse: str, fine: str) -> None:
    ids = COCO_27_IDS[COCO_27.index((coarse,))]
    assert ", ".join(COCO_171[COCO_IDS.index(id)][0] for id in ids) == fine


def test_the_27_classes_are_in_the_order_of_picie() -> None:
    assert [COCO_27.index((name,)) for name in ("electronic", "person", "ceiling", "water")] == [
        0, 9, 12, 26,
    ]  # fmt: skip


# The layout.


@pytest.mark.parametrize(
    ("kind", "classes"), [("coco-stuff-27", OF_27), ("coco-stuff-171", OF_171)]
)
def test_a_copy_is_indexed_by_name_and_its_ids_are_converted(
    tmp_path: Path, kind: str, classes: list[int]
) -> None:
    root = make_coco(tmp_path)
    data = prepare(root, tmp_path / "data", kind)
    assert [item.id for item in data.items("train")] == TRAIN
    (item,) = data.items("val")
    assert (item.id, item.height, item.width) == (VAL[0], 4, 6)
    assert item.image == root / f"val2017/{VAL[0]}.jpg"
    assert read_label(item.label)[0].tolist() == classes
    assert data.class_names == [list(names) for names in coco_stuff.KINDS[kind].classes]
    assert data.facts["kind"] == kind
    assert list(data.train_labels()) == TRAIN


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [11, 90, 182, 254])
def test_an_id_that_no_map_has_is_refused(tmp_path: Path, kind: str, wrong: int) -> None:
    root = make_coco(tmp_path)
    write_map(maps_of(root), "val2017", VAL[0], np.full((4, 6), wrong, np.uint8))
    with pytest.raises(ReclipError, match=f"{VAL[0]}.png' holds id {wrong}, .* 0..181, except 11"):
        prepare(root, tmp_path / "data", kind)


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    write_map(maps_of(root), "train2017", TRAIN[0], np.zeros((6, 4), np.uint8))
    with pytest.raises(ReclipError, match=f"{TRAIN[0]}.jpg' is 4×6, the photo.* 6×4"):
        prepare(root, tmp_path / "data")


def test_a_missing_map_is_one_sentence(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    (maps_of(root) / f"val2017/{VAL[0]}.png").unlink()
    with pytest.raises(ReclipError, match="has no label map"):
        prepare(root, tmp_path / "data")


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    (root / "val2017").rename(tmp_path / "elsewhere")
    with pytest.raises(ReclipError, match="no folder .*val2017': restore it"):
        prepare(root, tmp_path / "data")
    with pytest.raises(ReclipError, match="holds train2017 but no val2017: unpack val2017.zip"):
        coco_stuff.find_root(root)
    (root / "train2017").rename(tmp_path / "elsewhere, too")
    with pytest.raises(ReclipError, match="holds no photos of COCO 2017 .*coco/images"):
        coco_stuff.find_root(root)
    with pytest.raises(ReclipError, match="holds no label maps of COCO-Stuff .*stuffthingmaps"):
        coco_stuff.read(KINDS[0], root, root)


def test_the_counts_are_compared_with_the_official_ones(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        prepare(make_coco(tmp_path), tmp_path / "data")
    assert "2 train and 1 val photos, officially 118,287 train and 5,000 val" in caplog.text
    caplog.clear()
    prepare(tmp_path / "coco/images", tmp_path / "few", limit=1)
    assert not caplog.records


@pytest.mark.parametrize("depth", ["", "coco", "coco/images"])
def test_photos_and_maps_are_found_as_the_datasets_guide_places_them(
    tmp_path: Path, depth: str
) -> None:
    root = make_coco(tmp_path)
    found = coco_stuff.find_root(tmp_path / depth)
    assert found == root and coco_stuff.labels_beside(found) == maps_of(root)


@pytest.mark.parametrize("beside", ["train2017", "images"])
def test_maps_are_found_in_the_other_usual_place(tmp_path: Path, beside: str) -> None:
    root = make_coco(tmp_path)
    maps = (root if beside == "train2017" else root.parent) / "stuffthingmaps"
    maps_of(root).rename(maps)
    assert coco_stuff.find_root(root.parent) == root
    assert coco_stuff.labels_beside(root) == maps
    (maps / "val2017").rename(tmp_path / "elsewhere")
    assert coco_stuff.labels_beside(root) is None
