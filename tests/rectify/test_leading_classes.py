"""The class map is that of all upsampled logits, to the last bit, however close classes are."""

from __future__ import annotations

import pytest
import torch

from reclip.data.reading import Frame, Piece, Window
from reclip.rectify import leading_classes as fast
from reclip.rectify import predict
from reclip.rectify.class_map import _axis, class_map
from reclip.rectify.upsample import upsample

ONE_STEP = Frame(8, (61, 90), (61, 90))
FRAMES = {
    "one step": ONE_STEP,
    "grown": Frame(8, (61, 90), (122, 180)),
    "shrunk": Frame(8, (130, 90), (59, 71)),
    "one side": Frame(8, (61, 90), (61, 111)),
    "cells of 14": Frame(14, (70, 82), (64, 103)),
    "squeezed": Frame(8, (61, 90), (64, 90), "squeezed"),
    "a row of cells": Frame(16, (9, 133), (20, 113)),
    "small result": Frame(8, (61, 90), (37, 50)),
    "single pixel": Frame(4, (9, 13), (1, 1)),
}
FOLLOWED = [frame for name, frame in FRAMES.items() if not name.startswith("s")]
FOLLOWED += [FRAMES["shrunk"], FRAMES["squeezed"]]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def cosines(frame: Frame, classes: int) -> torch.Tensor:
    """Logits as of CLIP: far from 0, close to each other, smooth with some noise."""
    coarse = torch.nn.functional.interpolate(noise(1, classes, 3, 3), grid(frame), mode="bicubic")
    return 0.2 + 0.02 * coarse[0] + 0.005 * noise(classes, *grid(frame), seed=1)


def grid(frame: Frame) -> tuple[int, int]:
    return tuple(-(-side // frame.cell) for side in frame.read)


def whole(logits: torch.Tensor, frame: Frame) -> list[Piece]:
    return [Piece(Window(0, 0, *frame.read), logits)]


def plain(logits: torch.Tensor, frame: Frame) -> torch.Tensor:
    return upsample(whole(logits, frame), frame).argmax(0).to(torch.int16)


def leaders(logits: torch.Tensor, frame: Frame) -> fast.Leaders | None:
    sides = zip(logits.shape[1:], frame.read, frame.size, strict=True)
    axes = (_axis(frame.cell, *side, frame.overhang) for side in sides)
    return fast.leading_classes(logits, *axes, 1 if frame.read == frame.size else 2)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("classes", [2, 3, 20, 150, 300])
def test_logits_of_any_kind(frame: Frame, classes: int) -> None:
    for logits in (
        noise(classes, *grid(frame)),
        cosines(frame, classes),
        cosines(frame, classes) - 7,
        noise(classes, *grid(frame)).round(),  # many ties
        1e-30 * noise(classes, *grid(frame)),
    ):
        assert torch.equal(class_map(whole(logits, frame), frame), plain(logits, frame))


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("ulps", [0, 1, 3, 20, 1000])
def test_classes_that_nearly_tie(frame: Frame, ulps: int) -> None:
    """A second copy of each class, moved by a few roundings, in some of its cells."""
    logits = cosines(frame, 8)
    moved = logits + ulps * 2.0**-26 * noise(*logits.shape, seed=2).round()
    both = torch.cat([logits, moved])[
        torch.randperm(16, generator=torch.Generator().manual_seed(3))
    ]
    for given in (both, both.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        assert torch.equal(class_map(whole(given, frame), frame), plain(given, frame))


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_some_cells_that_tie(frame: Frame) -> None:
    """Two classes are equal in one corner only: these pixels are open, the others are not."""
    logits = noise(5, *grid(frame))
    logits[4, 0, 0] = logits[2, 0, 0] = 9
    assert torch.equal(class_map(whole(logits, frame), frame), plain(logits, frame))


def test_removed_classes_and_a_single_one() -> None:
    logits = cosines(ONE_STEP, 30)
    logits[torch.arange(30) % 4 > 0] = predict.REMOVED
    found = class_map(whole(logits, ONE_STEP), ONE_STEP)
    assert torch.equal(found, plain(logits, ONE_STEP)) and len(found.unique()) > 2
    logits[torch.arange(30) != 8] = predict.REMOVED
    assert (class_map(whole(logits, ONE_STEP), ONE_STEP) == 8).all()
    assert (class_map(whole(logits[8:9], ONE_STEP), ONE_STEP) == 0).all()


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_a_logit_that_is_not_finite(value: float) -> None:
    logits = noise(6, *grid(ONE_STEP))
    logits[3, 2, 2] = value
    assert leaders(logits, ONE_STEP) is None
    assert torch.equal(class_map(whole(logits, ONE_STEP), ONE_STEP), plain(logits, ONE_STEP))


@pytest.mark.parametrize("name", ["VALUES_IN_CACHE", "VALUES_AT_ONCE"])
def test_parts_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    frame, logits = FRAMES["grown"], cosines(FRAMES["grown"], 20)
    monkeypatch.setattr(fast, name, 3000)
    assert torch.equal(class_map(whole(logits, frame), frame), plain(logits, frame))


@pytest.mark.parametrize(
    "frame", [Frame(16, (112, 150), (125, 167)), Frame(16, (96, 96), (96, 96))]
)
def test_nearly_all_pixels_are_settled(frame: Frame) -> None:
    """Else this way would be right, but slow."""
    for logits in (noise(20, *grid(frame)), cosines(frame, 20)):
        found = leaders(logits, frame)
        assert found is not None and len(found.rows) <= 5
        still_open = torch.zeros(frame.size, dtype=torch.bool)
        still_open[found.rows, found.columns] = True
        assert ((found.best == plain(logits, frame)) | still_open).all()


@pytest.mark.parametrize("frame", FOLLOWED)
def test_rounding_stays_below_its_bound(frame: Frame) -> None:
    """Of `upsample`, against the same weights in float64."""
    logits = 3 + noise(9, *grid(frame))
    sides = zip(logits.shape[1:], frame.read, frame.size, strict=True)
    rows, columns = (_axis(frame.cell, *side, frame.overhang) for side in sides)
    exact = rows.weights @ logits.double() @ columns.weights.T
    sizes = rows.weights @ logits.double().abs() @ columns.weights.T
    away = (upsample(whole(logits, frame), frame).double() - exact).abs()
    steps = 1 if frame.read == frame.size else 2
    assert (away <= steps * fast.UPSAMPLING * sizes).all()


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("at_once", [3, 6, 17, 100])
def test_classes_that_are_last_in_memory(
    monkeypatch: pytest.MonkeyPatch, frame: Frame, at_once: int
) -> None:
    """As the models give them; PyTorch rounds in another way, but not of a part of the classes."""
    largest = max(frame.read[0] * frame.read[1], frame.size[0] * frame.size[1])
    monkeypatch.setattr("reclip.rectify.class_map.VALUES_AT_ONCE", at_once * largest)
    for logits in (noise(20, *grid(frame)), cosines(frame, 20)):
        last = logits.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        parts = [upsample(whole(part, frame), frame) for part in last.split(at_once)]
        assert torch.equal(
            class_map(whole(last, frame), frame), torch.cat(parts).argmax(0).to(torch.int16)
        )


@pytest.mark.parametrize("frame", FOLLOWED)
def test_neighbours_that_are_open_between_other_classes(
    monkeypatch: pytest.MonkeyPatch, frame: Frame
) -> None:
    """Each class has a second copy, a rounding away, and many pixels must be settled alone."""
    monkeypatch.setattr(fast, "OPEN_SHARE", 1)
    logits = cosines(frame, 8)
    logits = torch.cat([logits, logits + 2.0**-26 * noise(*logits.shape, seed=2).round()])
    last = logits.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for given in (logits, last):
        found = leaders(given, frame)
        assert found is not None and len(found.rows) > 1000
        assert torch.equal(class_map(whole(given, frame), frame), plain(given, frame))


def test_gradients_are_not_needed() -> None:
    logits = noise(5, *grid(ONE_STEP)).requires_grad_()
    assert torch.equal(class_map(whole(logits, ONE_STEP), ONE_STEP), plain(logits, ONE_STEP))
