"""Class names of published protocols: the authors' files, in our order of the classes."""

from __future__ import annotations

import hashlib
from itertools import product
from typing import get_args

import pytest

from reclip.common.errors import ReclipError
from reclip.config.models import NamesOfProtocol
from reclip.data.layouts import cityscapes
from reclip.data.layouts.class_names import ADE_CLASSES, CONTEXT_CLASSES, VOC_CLASSES
from reclip.data.layouts.coco_classes import COCO_171
from reclip.data.layouts.protocol_names import PROTOCOLS, names_of

OURS = {"voc": VOC_CLASSES, "context": CONTEXT_CLASSES, "ade": ADE_CLASSES}

FILES = {  # SHA-256 of the authors' lists of names, a line a class, without the last line's end
    ("sclip", "voc"): "c68f65a2b342397cdfe05ff5289517e1e370b1d574a218ff1a17db27f2576db1",
    ("sclip", "context"): "cd808465f06a16169edc25580073f0eda347e64f06cc1c2e24acd0b237f6497d",
    ("sclip", "ade"): "e53ded02c488bdb903ef000a2d207e4ac4f2bb4502a72572e4aab7c2504aef3a",
    ("sclip", "cityscapes"): "6f6782fc1bf92bfd9f5562192e92045e0e093870e613f387f6c98fc66d4ceba4",
    ("sclip", "coco-stuff-171"): "fb98709b9ab1baff4fd930bac4a77772a0458c7d534911de545f9a4081e14a3e",
}

CLEARCLIP_VOC21 = "265d9ede93be451d724981c5ffde13a8eb3082674e98021aa8d5445f81f4498a"


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def written(protocol: str, kind: str) -> list[str]:
    """The names as the authors' files have them."""
    return [", ".join(names) for names in names_of(protocol, kind)]


@pytest.mark.parametrize(("protocol", "kind"), FILES)
def test_names_are_those_of_the_authors_file(protocol: str, kind: str) -> None:
    assert digest(written(protocol, kind)) == FILES[protocol, kind]


def test_clearclip_names_voc_once_a_class() -> None:
    assert digest(["background", *written("clearclip", "voc")]) == CLEARCLIP_VOC21
    assert all(
        names_of("clearclip", kind) == names_of("sclip", kind) for kind in ("context", "ade")
    )


RENAMED = {  # SCLIP's first name: ours of the same class
    "voc": {
        "aeroplane": "airplane",
        "ship": "boat",
        "table": "dining table",
        "pottedplant": "potted plant",
        "television monitor": "tv monitor",
    },
    "context": {
        "aeroplane": "airplane",
        "pottedplant": "potted plant",
        "tvmonitor": "tv monitor",
    },
}


@pytest.mark.parametrize("kind", RENAMED)
def test_each_name_is_of_our_class_of_the_same_number(kind: str) -> None:
    pairs = zip(names_of("sclip", kind), OURS[kind], strict=True)
    assert {theirs[0]: ours[0] for theirs, ours in pairs if theirs[0] != ours[0]} == RENAMED[kind]


def test_ades_names_are_ours_without_blanks() -> None:
    pairs = zip(names_of("sclip", "ade"), ADE_CLASSES, strict=True)
    assert all(theirs == (ours.replace(" ", ""),) for theirs, (ours,) in pairs)
    assert names_of("sclip", "ade")[44] == ("chestofdrawers",)


@pytest.mark.parametrize(
    ("kind", "ours"), [("cityscapes", cityscapes.CLASSES), ("coco-stuff-171", COCO_171)]
)
def test_names_are_ours_without_blanks_and_with_the_kind_of_stuff_last(kind: str, ours) -> None:
    """`wall-brick` is our "brick wall", `sky-other` our "sky": the same letters but for these."""
    for theirs, own in zip(names_of("sclip", kind), ours, strict=True):
        word = theirs[0].removesuffix("-other").removesuffix("-stuff").replace("-", "")
        assert sorted(word) == sorted(own[0].replace(" ", ""))


def test_two_of_voc_have_synonyms() -> None:
    several = {k: names for k, names in enumerate(names_of("sclip", "voc")) if len(names) > 1}
    assert {k: len(names) for k, names in several.items()} == {14: 7, 19: 5}
    assert several[14][0] == "person"


COUNTS = {"voc": 20, "context": 59, "ade": 150, "cityscapes": 19, "coco-stuff-171": 171}


@pytest.mark.parametrize(("protocol", "kind"), product(get_args(NamesOfProtocol), COUNTS))
def test_every_protocol_names_every_class_apart(protocol: str, kind: str) -> None:
    classes = names_of(protocol, kind)
    names = [name for own in classes for name in own]
    assert len(classes) == COUNTS[kind] and all(names) and len(set(names)) == len(names)


def test_settings_and_lists_know_the_same_protocols() -> None:
    assert set(get_args(NamesOfProtocol)) == PROTOCOLS.keys()


@pytest.mark.parametrize("kind", ["folder", "world"])
def test_a_kind_without_names_is_refused(kind: str) -> None:
    with pytest.raises(
        ReclipError, match=f"no classes .*kind '{kind}', only of voc, .*remove `names`"
    ):
        names_of("sclip", kind)
