"""From a patch grid to the photo's pixels: where each logit lands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reclip.config.models import DenoisingSettings, ImageSettings, RefinementSettings
from reclip.data.reading import Frame, Piece, Window, windows
from reclip.rectify.class_map import class_map
from reclip.rectify.predict import denoise, post_processing, protocol
from reclip.rectify.upsample import upsample


def one(logits: torch.Tensor, read: tuple[int, int]) -> list[Piece]:
    return [Piece(Window(0, 0, *read), logits)]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def centres(count: int, cell: float) -> np.ndarray:
    return (np.arange(count) + 0.5) * cell - 0.5


def test_a_ramp_stays_a_ramp_through_both_steps() -> None:
    """Bilinear steps are exact on a linear function between the outermost cell centres."""
    grid_y, grid_x = np.meshgrid(centres(5, 8), centres(7, 8), indexing="ij")
    logits = torch.from_numpy(np.stack([grid_y, grid_x])).float()
    read, size = (37, 50), (74, 100)  # the padding to 40×56 is cut; the photo is twice as large
    full = upsample(one(logits, read), Frame(8, read, size))
    assert full.shape == (2, *size)
    y, x = np.meshgrid(centres(74, 0.5), centres(100, 0.5), indexing="ij")
    inner = (y > 4.5) & (y < 35) & (x > 4.5) & (x < 48)
    assert np.abs(full[0].numpy() - y)[inner].max() < 1e-4
    assert np.abs(full[1].numpy() - x)[inner].max() < 1e-4


def test_padding_is_cut_and_not_squeezed_into_the_photo() -> None:
    logits = torch.zeros(2, 2, 2)
    logits[1, :, 1] = 1.0  # the right cell, which is mostly padding
    full = upsample(one(logits, (16, 10)), Frame(8, (16, 10), (16, 10)))
    assert full.shape == (2, 16, 10)
    expected = np.clip((centres(10, 1) - 3.5) / 8, 0, 1)
    assert np.allclose(full[1].numpy(), expected, atol=1e-6)


def test_a_photo_read_at_its_own_size_takes_one_step() -> None:
    logits = noise(3, 4, 5)
    full = upsample(one(logits, (16, 20)), Frame(4, (16, 20), (16, 20)))
    once = torch.nn.functional.interpolate(
        logits[None], (16, 20), mode="bilinear", align_corners=False
    )[0]
    assert torch.equal(full, once)


@pytest.mark.parametrize(
    ("grid", "read", "size"), [((1, 1), (3, 5), (7, 2)), ((2, 3), (9, 17), (1, 1))]
)
def test_any_size_goes(grid, read, size) -> None:
    full = upsample(one(torch.ones(2, *grid), read), Frame(8, read, size))
    assert full.shape == (2, *size) and torch.allclose(full, torch.ones(1))


def test_classes_keep_their_places() -> None:
    logits = torch.zeros(4, 2, 2)
    for k in range(4):
        logits[k, k // 2, k % 2] = 1.0
    label = class_map(one(logits, (16, 16)), Frame(8, (16, 16), (32, 48)))
    corners = label[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [0, 1, 2, 3]


def test_a_squeezed_overhang_moves_the_padding_into_the_photo() -> None:
    """The official code's way, which `compat: official` asks for."""
    logits = noise(2, 3, 4)
    full = upsample(one(logits, (20, 27)), Frame(8, (20, 27), (20, 27), "squeezed"))
    once = torch.nn.functional.interpolate(
        logits[None], (20, 27), mode="bilinear", align_corners=False
    )[0]
    assert torch.equal(full, once)
    assert not torch.equal(full, upsample(one(logits, (20, 27)), Frame(8, (20, 27), (20, 27))))


@pytest.mark.parametrize("size", [(90, 130), (60, 60), (64, 200), (65, 64), (30, 300), (1, 1)])
def test_windows_cover_every_pixel_and_stay_inside(size) -> None:
    settings = ImageSettings(protocol="slide", window=64, stride=48)
    covered = np.zeros(size, int)
    for top, left, height, width in windows(size, settings):
        assert (height, width) == (min(64, size[0]), min(64, size[1]))
        assert top >= 0 and top + height <= size[0] and left >= 0 and left + width <= size[1]
        covered[top : top + height, left : left + width] += 1
    assert covered.min() >= 1
    assert windows(size, ImageSettings()) == [Window(0, 0, *size)]


def test_a_window_as_large_as_the_image_is_the_whole_protocol() -> None:
    settings = ImageSettings(protocol="slide", window=64, stride=32)
    assert windows((64, 64), settings) == [Window(0, 0, 64, 64)]
    assert windows((40, 50), settings) == [Window(0, 0, 40, 50)]


def test_overlapping_windows_are_averaged() -> None:
    left = Piece(Window(0, 0, 8, 16), noise(3, 1, 2))
    right = Piece(Window(0, 8, 8, 16), noise(3, 1, 2, seed=1))
    full = upsample([left, right], Frame(8, (8, 24), (8, 24)))
    alone = [upsample(one(p.logits, (8, 16)), Frame(8, (8, 16), (8, 16))) for p in (left, right)]
    assert torch.equal(full[..., :8], alone[0][..., :8])
    assert torch.equal(full[..., 16:], alone[1][..., 8:])
    assert torch.allclose(full[..., 8:16], (alone[0][..., 8:] + alone[1][..., :8]) / 2)


@pytest.mark.parametrize("at_once", [1, 40 * 50 * 3, 10**9])
def test_a_few_classes_at_a_time_give_the_same_map(monkeypatch, at_once: int) -> None:
    logits = noise(7, 4, 5)
    logits[3] = logits[1]  # of equal classes the first is taken
    pieces = one(logits, (32, 40))
    plain = upsample(pieces, Frame(8, (32, 40), (40, 50))).argmax(0)
    assert 3 not in plain and 1 in plain
    monkeypatch.setattr("reclip.rectify.class_map.VALUES_AT_ONCE", at_once)
    assert torch.equal(class_map(pieces, Frame(8, (32, 40), (40, 50))), plain)


def test_denoising_removes_classes_that_no_cell_is_sure_of() -> None:
    logits = torch.tensor([[0.30, 0.10], [0.27, 0.10], [0.10, 0.50]])[:, None]
    pieces = one(logits, (8, 16))
    settings = DenoisingSettings(prompt_denoising=True, denoising_threshold=0.5, denoising_scale=10)
    # softmax of (3, 2.7, 1) is (.53, .39, .07) and of (1, 1, 5) is (.02, .02, .96)
    (left,) = denoise(pieces, settings)
    assert torch.equal(left.logits[[0, 2]], logits[[0, 2]])
    assert (left.logits[1] == -100).all()
    assert denoise(pieces, DenoisingSettings()) == pieces
    all_gone = settings.model_copy(update={"denoising_threshold": 0.99})
    assert (class_map(denoise(pieces, all_gone), Frame(8, (8, 16), (8, 16))) == 0).all()


def test_denoising_looks_at_all_windows_of_an_image() -> None:
    unsure, sure = torch.tensor([0.2, 0.2])[:, None, None], torch.tensor([0.0, 0.9])[:, None, None]
    pieces = [Piece(Window(0, 0, 8, 8), unsure), Piece(Window(0, 8, 8, 8), sure)]
    settings = DenoisingSettings(prompt_denoising=True, denoising_threshold=0.6, denoising_scale=10)
    kept = denoise(pieces, settings)
    assert kept[0].logits[0] == -100 and kept[0].logits[1] == unsure[1]


def kept(logits: torch.Tensor, threshold: float, scale: float = 1.0) -> list[bool]:
    """Whether each class of logits (C, cells) stays."""
    settings = DenoisingSettings(
        prompt_denoising=True, denoising_threshold=threshold, denoising_scale=scale
    )
    (piece,) = denoise(one(logits[:, None], (8, 8)), settings)
    return (piece.logits != -100).any(-1).flatten().tolist()


def old_rule(logits: torch.Tensor, threshold: float, scale: float) -> list[bool]:
    """By the softmax in the precision of the logits (official code)."""
    return ((scale * logits).softmax(0).amax(1) >= threshold).tolist()


@pytest.mark.parametrize("threshold", [0.6, 0.85, 0.95, 1.0])
def test_denoising_does_not_depend_on_the_precision(threshold: float) -> None:
    """Near the border, where a softmax in half precision decides by its rounding."""
    border = np.log(1 / max(1 - threshold, 2.0**-25) - 1)  # of a logit over one other class' 0
    decisions = []
    for step in range(-20, 21):
        logits = torch.tensor([[border * (1 + step * 2.0**-9)], [0.0]]).half()
        wanted = float(logits[0, 0]) >= border
        for dtype in (torch.float16, torch.float32, torch.float64):
            assert kept(logits.to(dtype), threshold)[0] == wanted
        decisions.append(wanted)
    assert set(decisions) == {True, False}


def test_a_threshold_of_one_is_where_float32_rounds_to_one() -> None:
    border = 25 * np.log(2.0)
    for step in range(-50, 51):
        if step == 0:
            continue
        logits = torch.tensor([[border * (1 + step * 1e-4)], [0.0]], dtype=torch.float64)
        stays = bool(logits.softmax(0).amax().float() == 1)
        assert kept(logits, 1.0)[0] == stays == (step > 0)
    # Half precision rounds to 1 far earlier: the old rule kept a class that has a doubt of 2^-12.
    early = torch.tensor([[12 * np.log(2.0)], [0.0]]).half()
    assert old_rule(early, 1.0, 1.0)[0] and not kept(early, 1.0)[0]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.85, 0.95])
@pytest.mark.parametrize("scale", [10.0, 100.0])
def test_denoising_is_the_old_rule_away_from_the_border(threshold: float, scale: float) -> None:
    found = []
    for seed in range(50):
        logits = 3 / scale * noise(9, 12, seed=seed)
        found += zip(
            kept(logits, threshold, scale), old_rule(logits, threshold, scale), strict=True
        )
    assert all(new == old for new, old in found)
    assert {new for new, _ in found} == {True, False}


def test_two_equal_classes_both_stay_at_one_half() -> None:
    assert kept(torch.tensor([[0.3], [0.3]]), 0.5) == [True, True]


def test_metrics_say_how_photos_were_read() -> None:
    assert protocol(ImageSettings()) == "whole, own size"
    assert protocol(ImageSettings(short_side=512)) == "whole, short side 512"
    slide = ImageSettings(short_side=336, protocol="slide", window=224, stride=112)
    assert protocol(slide) == "slide 224/112, short side 336"
    assert post_processing(RefinementSettings()) == "none"
    assert post_processing(RefinementSettings(prompt_denoising=True)) == "prompt denoising 0.5"
    both = RefinementSettings(prompt_denoising=True, pamr=10)
    assert post_processing(both) == "prompt denoising 0.5, PAMR 10"
    assert post_processing(RefinementSettings(pamr=2, pamr_dilations=(1, 4))) == "PAMR 2 at 1/4"
