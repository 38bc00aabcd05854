"""Confidence, entropy and mean probabilities: the same in torch and ONNX, in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from reclip.data.reading import Frame, Piece, Window
from reclip.inference import segmenter, uncertainty
from reclip.inference.segmenter import Segmenter
from reclip.inference.torch_backend import TorchBackend
from reclip.inference.uncertainty import Square, mean_of, squares_by_numpy
from reclip.rectify.upsample import upsample
from support.readings import READINGS, random_logits


def pixel_map(squares: list[Square], size: tuple[int, int], what: str) -> np.ndarray:
    """Put the squares together; a pixel that no square has is NaN."""
    found = np.full(size, np.nan, np.float32)
    for square in squares:
        found[square.place] = getattr(square, what)
    return found


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("side", [7, 128])
def test_squares_equal_the_softmax_of_all_upsampled_logits(
    reading: str, side: int, monkeypatch
) -> None:
    monkeypatch.setattr(uncertainty, "SIDE", side)
    pieces, arrays, frame = random_logits(reading)
    likely = (3 * upsample(pieces, frame)).softmax(0).double()
    entropy = -(likely * likely.log()).sum(0) / np.log(5)
    for squares in (
        TorchBackend().squares(pieces, frame, 3.0),
        squares_by_numpy(arrays, frame, 3.0),
    ):
        found = list(squares)
        assert np.allclose(pixel_map(found, frame.size, "entropy"), entropy, atol=1e-5)
        assert np.allclose(pixel_map(found, frame.size, "confidence"), likely.amax(0), atol=1e-5)
        means = mean_of(found)
        assert np.allclose(means.probabilities, likely.mean((1, 2)), atol=1e-5)
        assert means.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert means.entropy == pytest.approx(entropy.mean().item(), abs=1e-5)


def test_a_segmentation_s_means_are_those_of_its_probabilities(student, exported, noise) -> None:
    both = [Segmenter.load(path, device="cpu")(noise) for path in (student, exported)]
    for found in both:
        likely, means = found.probabilities(), found.uncertainty()
        assert found.entropy().shape == (61, 90) and found.entropy().dtype == np.float32
        assert means.entropy == pytest.approx(found.entropy().mean(), abs=1e-5)
        assert means.confidence == pytest.approx(likely.max(0).mean(), abs=1e-5)
        assert np.allclose(means.probabilities, likely.mean((1, 2)), atol=1e-5)
    assert np.allclose(both[0].entropy(), both[1].entropy(), atol=1e-4)


def test_torch_and_onnx_agree_in_tiles(student, exported, noise, monkeypatch) -> None:
    for name, value in (("WHOLE_CELLS", 100), ("TILE_CELLS", 48), ("STEP_CELLS", 16)):
        monkeypatch.setattr(segmenter, name, value)
    photo = np.tile(noise, (8, 7, 1))
    first, second = (Segmenter.load(path, device="cpu")(photo) for path in (student, exported))
    assert np.allclose(first.entropy(), second.entropy(), atol=1e-4)
    likely = first.probabilities()
    assert first.uncertainty().confidence == pytest.approx(likely.max(0).mean(), abs=1e-5)


def logits_of(*values: float) -> tuple[list[Piece], Frame]:
    logits = np.broadcast_to(np.float32(values)[:, None, None], (len(values), 2, 2))
    return [Piece(Window(0, 0, 16, 16), logits)], Frame(8, (16, 16), (16, 16))


@pytest.mark.parametrize(
    ("values", "confidence", "entropy"),
    [
        ((1.0, 1.0, 1.0, 1.0), 0.25, 1),
        ((0.0, -1e4, -1e4), 1, 0),
        ((5.0, 5.0, -1e4, -1e4), 0.5, 0.5),
        ((7.0,), 1, 0),
        ((-100.0, -100.0), 0.5, 1),  # a rectified CLIP that removed all classes
    ],
)
def test_entropy_is_0_if_certain_and_1_if_nothing_is_known(values, confidence, entropy) -> None:
    pieces, frame = logits_of(*values)
    tensors = [Piece(p.window, torch.from_numpy(p.logits.copy())) for p in pieces]
    for squares in (
        squares_by_numpy(pieces, frame, 100.0),
        TorchBackend().squares(tensors, frame, 100.0),
    ):
        means = mean_of(squares)
        assert means.confidence == pytest.approx(confidence, abs=1e-6)
        assert means.entropy == pytest.approx(entropy, abs=1e-6)


def test_a_large_photo_s_uncertainty_takes_little_memory() -> None:
    """All its probabilities would take 600 MB."""
    size = (1500, 2000)
    logits = np.random.default_rng(0).normal(size=(50, 188, 250)).astype(np.float32)
    tracemalloc.start()
    mean_of(squares_by_numpy([Piece(Window(0, 0, *size), logits)], Frame(8, size, size), 1.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
