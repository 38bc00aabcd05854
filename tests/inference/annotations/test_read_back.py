"""Other programs read the annotations back to the same masks, pixel by pixel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pytest
from pycocotools.coco import COCO
from scipy import ndimage

from reclip.inference.annotations.results import read_results
from reclip.inference.annotations.write import write
from support.annotating import Masks, made, model_info, read_back
from support.example_masks import made_masks, real_masks
from support.needs import NO_VOC

NAMES = {
    "real": ("background", *(f"class {k}" for k in range(1, 21)), "void"),
    "made": ("sky", "tree & <bush>", '5" nail, bent', "Fußgänger"),
}
# What is written: name, format, its target and its options.
WAYS = (
    ("coco", "coco", "rle.json", {}),
    ("polygons", "coco", "polygons.json", {"shape": "polygon"}),
    ("cvat", "cvat", "voc", {}),
    ("cvat-zip", "cvat", "voc.zip", {}),
    ("label-studio", "label-studio", "brush", {}),
)


class Case(NamedTuple):
    """One output folder, written in one way."""

    masks: str
    way: str
    regions: bool


CASES = [
    case
    for case in map(Case._make, itertools.product(NAMES, (way[0] for way in WAYS), (False, True)))
    if case.way != "cvat-zip" or case == ("made", "cvat-zip", False)  # one is enough: same files
]


def ids(case: Case) -> str:
    return f"{case.masks}-{case.way}{'-regions' * case.regions}"


class Written(NamedTuple):
    paths: dict[Case, Path]
    masks: dict[str, dict[str, np.ndarray]]
    folder: Path

    def path(self, case: Case) -> Path:
        if case not in self.paths:  # real masks; the drawn ones are always there
            pytest.skip(NO_VOC)
        return self.paths[case]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """All cases, written. The photos do not exist: masks are enough."""
    folder = tmp_path_factory.mktemp("annotations")
    masks = {"real": real_masks(), "made": made_masks()}
    outs = {key: made(folder / key, model_info(NAMES[key]), masks[key]) for key in masks}
    paths = {}
    for case in (case for case in CASES if masks[case.masks]):
        _, format, target, options = next(way for way in WAYS if way[0] == case.way)
        paths[case] = folder / ids(case) / target
        results = read_results(outs[case.masks], regions=case.regions)
        write(results, format, paths[case], **options)
    return Written(paths, masks, folder)


@pytest.fixture(scope="module")
def found(written: Written) -> dict[Path, Masks]:
    formats = {way: format for way, format, _, _ in WAYS}
    return read_back(written.folder, {p: formats[case.way] for case, p in written.paths.items()})


def expected(written: Written, case: Case) -> Iterator[tuple[str, str, np.ndarray]]:
    """Item, label and mask of each class of each photo."""
    for photo, mask in written.masks[case.masks].items():
        stem = photo.rsplit(".", 1)[0]
        item = f"/data/local-files/?d={quote(photo)}" if case.way == "label-studio" else stem
        for k in np.unique(mask):
            if not (case.way.startswith("cvat") and NAMES[case.masks][k] == "background"):
                yield item, NAMES[case.masks][k], mask == k


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_another_program_reads_the_same_masks(written: Written, found, case: Case) -> None:
    seen = dict(found[written.path(case)])
    for item, label, mask in expected(written, case):
        count, back = seen.pop((item, label))
        assert back.shape == mask.shape and (back == mask).all(), (item, label)
        regions = ndimage.label(mask, np.ones((3, 3)))[1]
        if case.way.startswith("cvat") and case.regions:
            assert count in (1, regions)  # VOC's layout holds 255 regions
        else:
            assert count == (regions if case.regions else 1)
    assert not seen


@pytest.mark.parametrize("case", [c for c in CASES if c.way in ("coco", "polygons")], ids=ids)
def test_pycocotools_reads_the_same_masks_areas_and_boxes(written: Written, case: Case) -> None:
    coco = COCO(written.path(case))
    names = {k: category["name"] for k, category in coco.cats.items()}
    assert names == dict(enumerate(NAMES[case.masks], start=1))
    photos = {image["file_name"]: image for image in coco.loadImgs(coco.getImgIds())}
    assert photos.keys() == written.masks[case.masks].keys()
    for photo, mask in written.masks[case.masks].items():
        image, rebuilt = photos[photo], np.full(mask.shape, 255, np.uint8)
        assert (image["height"], image["width"]) == mask.shape
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            area = coco.annToMask(annotation) > 0
            assert (rebuilt[area] == 255).all(), "areas overlap"
            rebuilt[area] = annotation["category_id"] - 1
            rows, columns = np.nonzero(area)
            left, top = columns.min(), rows.min()
            box = [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
            assert annotation["bbox"] == box and annotation["area"] == area.sum()
            assert annotation["iscrowd"] == 0
        assert (rebuilt == mask).all()
