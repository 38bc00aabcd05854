"""Findings without labels, and the advice that follows from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reclip.evaluate.advice import Found, advise
from reclip.evaluate.findings import Cells, Pair, count_cells, count_pixels, pairs
from reclip.pipeline.recipes import gallery_files
from support.at_the_shell import Project, reclip
from support.folder_of_scenes import SIZE, draw, params, source
from support.gallery_content import gallery_content

NAMES = ["cat", "dog", "grass", "sky"]


def test_pixels_and_photos_of_masks() -> None:
    masks = [np.array([[0, 0], [1, 255]]), np.repeat([0, 2], [995, 5]).reshape(10, 100)]
    pixels, photos = count_pixels(masks, 4)
    assert pixels.tolist() == [997, 1, 5, 0]
    assert photos.tolist() == [2, 1, 0, 0]  # half a percent of a photo does not show


def test_cells_that_are_nearly_a_tie_or_moved() -> None:
    rectified = torch.tensor([[0.3, 0.295, 0.0], [0.3, 0.1, 0.0], [0.0, 0.2, 0.1]])
    query = torch.tensor([[0.0, 0.3, 0.1], [0.3, 0.0, 0.1], [0.0, 0.0, 0.3]])
    cells = count_cells([(rectified, query), (rectified[1:], query[1:])], 3)
    assert cells.won.tolist() == [3, 2, 0]
    assert cells.runner_up.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert cells.turned.tolist() == [[0, 0, 0], [1, 0, 0], [0, 2, 0]]


def test_every_pair_has_its_parts() -> None:
    texts = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    supposed = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 1]], bool)
    cells = Cells(
        np.array([6, 4, 0]),
        np.array([[0, 2, 0], [1, 0, 0], [0, 0, 0]]),
        np.array([[0, 3, 0], [0, 0, 0], [0, 1, 0]]),
    )
    first, second, third = pairs(texts, supposed, cells)
    assert (first.a, first.b, first.text, first.nearest) == (0, 1, pytest.approx(0.8), True)
    assert (first.together, first.lift) == (pytest.approx(2 / 3), pytest.approx(4 / 3))
    assert first.contested == pytest.approx(3 / 10)
    assert first.turned == pytest.approx(3 / 9)  # by Query 9 cells were of the two, 1 of the third
    assert (second.nearest, third.nearest, second.turned) == (False, False, 0)


def found(**changes) -> Found:
    """200 photos in which nothing stands out: each shows two classes of four."""
    supposed = np.tile(np.array([[1, 0, 1, 0], [0, 1, 0, 1]], bool), (100, 1))
    given = {
        "names": NAMES,
        "scores": np.where(supposed, 25.0, 15.0),
        "setting": "threshold",
        "limit": 23.0,
        "supposed": supposed,
        "pixels": np.full(4, 100),
        "shown": np.full(4, 100),
        "cells": Cells(np.full(4, 100), *np.zeros((2, 4, 4), int)),
    }
    return Found(**(given | changes))


def pair(**changes) -> Pair:
    given = {"a": 0, "b": 1, "text": 0.9, "nearest": True, "together": 0.1, "lift": 1.0}
    return Pair(**(given | {"contested": 0.0, "turned": 0.0} | changes))


def test_many_classes_with_one_problem_do_not_hide_other_advice() -> None:
    supposed = np.ones((200, 30), bool)
    many = found(
        names=[f"c{k}" for k in range(30)], scores=np.full((200, 30), 25.0), supposed=supposed,
        pixels=np.full(30, 100), shown=np.where(np.arange(30) < 15, 0, 100),
        cells=Cells(np.full(30, 100), *np.zeros((2, 30, 30), int)),
    )  # fmt: skip
    said = advise(many)
    assert sum("its pixels went to other classes" in sentence for sentence in said) == 10
    assert "The same holds for 5 more classes: see the table below." in said
    assert said[-1].startswith("A photo is supposed to hold 30.0 of 30 classes")


def without(k: int) -> np.ndarray:
    return found().supposed & (np.arange(4) != k)


def counts(k: int, value: int) -> np.ndarray:
    return np.where(np.arange(4) == k, value, 100)


MOVED = np.zeros((4, 4), int)
MOVED[2, 3] = 50

SAID = {
    "nothing": ({}, ["Nothing stands out"]),
    "never found": (
        {"supposed": without(1), "shown": counts(1, 0)},
        ["'dog' was found in no photo: remove such a class from the list or, if the"],
    ),
    "no pixels": (
        {"shown": counts(2, 0), "cells": Cells(np.full(4, 100), np.zeros((4, 4), int), MOVED)},
        ["'grass' was supposed in 100 photos, but its pixels went to other classes, mostly to"
         " 'sky': name it more precisely, or remove it."],
    ),
    "no pixels, for no known reason": (
        {"shown": counts(2, 0)},
        ["'grass' was supposed in 100 photos, but its pixels went to other classes: name it"],
    ),
    "rare": (
        {"supposed": without(1) | (np.arange(200)[:, None] < 2) & (np.arange(4) == 1),
         "shown": counts(1, 2)},
        ["'dog' was supposed in 2 photos only: too few to learn from, so add photos"],
    ),
    "nearly a tie": (
        {"pairs": [pair(contested=0.2)]},
        ["'cat' and 'dog' compete (nearly a tie in 20% of their pixels): make them synonyms"
         " of one class, `[cat, dog]`, if you need not tell them apart; otherwise use names that"],
    ),
    "moved": (
        {"pairs": [pair(turned=0.3, nearest=False)]},
        ["'cat' and 'dog' compete (rectification moved 30% of their pixels between them): remove"],
    ),
    "together": (
        {"pairs": [pair(a=0, b=2, together=1.0, lift=2.0)]},
        ["'cat' and 'grass' compete (supposed together in 100 photos)"],
    ),
    "together as often as by chance": (
        {"pairs": [pair(a=0, b=2, together=1.0, lift=1.0)]}, ["Nothing stands out"],
    ),
    "one class takes all": (
        {"pixels": counts(3, 900)},
        ["'sky' takes 75% of all pixels: every pixel must go to some class"],
    ),
    "the rest goes somewhere": (
        {"supposed": without(2) | (np.arange(200)[:, None] % 20 == 0) & (np.arange(4) == 2),
         "shown": counts(2, 190)},
        ["'grass': far more masks show it than photos are supposed to hold it. Pixels of"
         " things without a name in the list go there: add names for the rest of the photos, such"
         " as wall, sky or grass."],
    ),
    "threshold too high": (
        {"limit": 26.0},
        ["In 200 of 200 photos no class reaches the threshold of 26: lower hypotheses.threshold to"
         " 25, which nine photos of ten reach"],
    ),
    "threshold too low": (
        {"supposed": np.ones((200, 4), bool), "limit": 10.0,
         "scores": np.tile([13.0, 12.0, 11.04, 10.5], (200, 1))},
        ["A photo is supposed to hold 4.0 of 4 classes on average: raise hypotheses.threshold to"
         " 11.1, which leaves about 3."],
    ),
    "windows too small": (
        {"supposed": np.ones((200, 4), bool), "setting": "window", "limit": 56, "scores": None},
        ["A photo is supposed to hold 4.0 of 4 classes on average: raise hypotheses.window above 56"
         " and hypotheses.stride with it, so that fewer windows name fewer classes."],
    ),
    "windows of few winners": (
        {"setting": "window", "limit": 56, "scores": None}, ["Nothing stands out"],
    ),
    "relative limit too low": (
        {"supposed": np.ones((200, 4), bool), "setting": "relative", "limit": 0.1,
         "scores": np.tile([1.0, 0.8, 0.714, 0.2], (200, 1))},
        ["A photo is supposed to hold 4.0 of 4 classes on average: raise hypotheses.relative to"
         " 0.72, which leaves about 3."],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_advice(case: str) -> None:
    changes, expected = SAID[case]
    said = advise(found(**changes))
    assert len(said) == len(expected), said
    for sentence, begin in zip(said, expected, strict=True):
        assert sentence.startswith(begin), sentence


def test_few_photos_are_mentioned() -> None:
    few = found(supposed=found().supposed[:30], scores=found().scores[:30], shown=np.full(4, 15))
    assert advise(few) == [
        "30 photos teach little: add more of the same kind if you have them; they need no labels."
    ]


@pytest.fixture(scope="module", params=["whole", "windows"])
def summary(request, tmp_path_factory) -> Path:
    """Run the stage on drawn scenes by its command; return the folder of its files."""
    folder = tmp_path_factory.mktemp(request.param)
    hypotheses = {"image": request.param, "window": 30, "stride": 9}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        draw(folder / "photos", 6)
        (folder / "photos/bad.jpg").write_bytes(b"no photo")
        twelve_bits = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
        Image.fromarray(twelve_bits).save(folder / "photos/dark.tif")
        own = source(classes=["red stripes", "blue dots", ["sea", "lake"]])
        project = Project(params(own, hypotheses=hypotheses))
        for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
            assert project.run(stage).code == 0
        for stage in ("rectify", "pseudo-mask"):
            assert project.run(stage, id="rectified").code == 0
        said = reclip("summarise")
        assert said.code == 0, said
        first = {p.name: p.read_bytes() for p in (project.results / "summary").iterdir()}
        assert reclip("summarise", "--force").code == 0
        assert first == {p.name: p.read_bytes() for p in (project.results / "summary").iterdir()}
    return folder / project.results / "summary"


def test_the_summary_names_what_was_found(summary: Path) -> None:
    data = json.loads((summary / "summary.json").read_text(encoding="utf-8"))["voc"]
    assert (data["photos"], data["left_out"]) == (7, ["photos/bad.jpg"])
    assert [c["name"] for c in data["classes"]] == ["red stripes", "blue dots", "sea"]
    assert sum(c["percent_of_pixels"] for c in data["classes"]) == pytest.approx(100, abs=0.02)
    assert all(0 <= c["supposed_in_photos"] <= 7 for c in data["classes"])
    text = (summary / "summary.md").read_text(encoding="utf-8")
    assert "7 photos were read and 1 left out" in text and "- left out: `photos/bad.jpg`" in text
    assert f"The reason for each is in `{data['left_out_why']}`." in text
    assert data["left_out_why"].endswith("data/voc/left-out.csv")
    assert all(f"- {sentence}" in text for sentence in data["advice"])
    assert all(f"| {c['name']} | {c['supposed_in_photos']} |" in text for c in data["classes"])
    assert "7 photos teach little" in text
    assert "photos/dark.tif' has 16 bits" in data["doubtful"][0] and "dark.tif' has 16" in text


def test_the_summary_names_the_setting_that_decides_the_hypotheses(summary: Path) -> None:
    data = json.loads((summary / "summary.json").read_text(encoding="utf-8"))["voc"]
    text = (summary / "summary.md").read_text(encoding="utf-8")
    on_windows = data["hypotheses"] == {"window": 30}
    assert on_windows or data["hypotheses"] == {"threshold": 23.0}
    assert ("raise `hypotheses.window` (30)" in text) == on_windows
    assert ("if it scores best in one of its windows" in text) == on_windows
    assert ("by CLIP's image-level score alone" in text) != on_windows


def test_the_gallery_shows_every_photo_by_its_place_with_its_mask(summary: Path) -> None:
    facts, pictures = gallery_content(summary / "gallery.html")
    assert [p["name"] for p in facts["photos"]] == [
        "0.png", "1.png", "3.png", "4.png", "dark.tif", "more/2.png", "more/5.png"
    ]  # fmt: skip
    assert [c["name"] for c in facts["classes"]] == ["red stripes", "blue dots", "sea"]
    data = json.loads((summary / "summary.json").read_text(encoding="utf-8"))["voc"]
    total = sum(p["total"] for p in facts["photos"])
    for k, found in enumerate(data["classes"]):
        pixels = sum(p["pixels"].get(str(k), 0) for p in facts["photos"])
        assert found["percent_of_pixels"] == pytest.approx(100 * pixels / total, abs=0.01)
    for photo, mask in pictures:
        assert photo.size == mask.size == SIZE[::-1]
    assert str(summary).encode() not in (summary / "gallery.html").read_bytes()


def test_each_dataset_of_own_photos_has_its_gallery() -> None:
    assert gallery_files(["pets"]) == {"pets": "gallery.html"}
    assert gallery_files(["a", "b"]) == {"a": "gallery-a.html", "b": "gallery-b.html"}
