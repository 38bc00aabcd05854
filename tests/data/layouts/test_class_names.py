"""The classes of the datasets, in their official orders."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from open_clip.tokenizer import SimpleTokenizer

from reclip.data.layouts import cityscapes
from reclip.data.layouts.class_names import (
    ADE_CLASSES,
    CONTEXT_ALL,
    CONTEXT_CLASSES,
    CONTEXT_IDS,
    CONTEXT_NAMES,
    CONTEXT_OTHER_SPELLINGS,
    VOC_CLASSES,
)
from reclip.data.layouts.coco_classes import COCO_27, COCO_171


@pytest.mark.parametrize(
    ("classes", "count"),
    [
        (VOC_CLASSES, 20), (CONTEXT_CLASSES, 59), (ADE_CLASSES, 150), (cityscapes.CLASSES, 19),
        (COCO_27, 27), (COCO_171, 171),
    ],
)  # fmt: skip
def test_each_class_has_names_and_no_two_the_same(classes, count: int) -> None:
    assert len(classes) == count
    names = [name for synonyms in classes for name in synonyms]
    assert all(names) and len(set(names)) == len(names)
    assert all(name == " ".join(name.split()).lower() for name in names)


def test_voc_is_in_the_order_of_its_masks() -> None:
    assert VOC_CLASSES[0] == ("airplane",)
    assert VOC_CLASSES[14] == ("person",)
    assert VOC_CLASSES[19] == ("tv monitor",)


def test_context_is_in_the_order_of_its_ids_which_is_alphabetical() -> None:
    assert list(CONTEXT_IDS) == sorted(set(CONTEXT_IDS))
    assert CONTEXT_IDS[0] > 0 and CONTEXT_IDS[-1] <= CONTEXT_ALL
    assert list(CONTEXT_NAMES) == sorted(CONTEXT_NAMES)
    assert set(CONTEXT_OTHER_SPELLINGS.values()) <= set(CONTEXT_NAMES)


def test_context_is_prompted_with_voc_names_of_the_same_classes() -> None:
    named = dict(zip(CONTEXT_NAMES, CONTEXT_CLASSES, strict=True))
    assert named["aeroplane"] == ("airplane",)
    assert named["pottedplant"] == ("potted plant",)
    assert named["tvmonitor"] == ("tv monitor",)
    assert {*VOC_CLASSES} - {*CONTEXT_CLASSES} == {("dining table",)}
    assert named["table"] == ("table",)


def test_the_blank_after_bed_made_no_difference() -> None:
    tokens = SimpleTokenizer()
    assert ADE_CLASSES.index(("bed",)) == 7
    for template in ("a photo of a {}.", "there is the {} in the scene.", "a {} in a video game."):
        both = tokens([template.format("bed "), template.format("bed")]).numpy()
        assert np.array_equal(*both)


def test_names_cost_no_import_of_torch() -> None:
    code = "import reclip.data.layouts.class_names, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
