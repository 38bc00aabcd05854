"""PAMR against a plain version, and what must hold for every photo."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reclip.cli.stages import run_stage
from reclip.clip.feature_cache import FeatureCache
from reclip.common.files import read_json
from reclip.config.models import RefinementSettings
from reclip.data.images import read_image, read_label
from reclip.data.index import DataSet
from reclip.data.reading import Frame, Piece, Window
from reclip.pipeline.plan import Plan
from reclip.rectify import refine
from reclip.rectify.class_map import class_map
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import feature_frame, predict_from_features, rectified_logits
from reclip.rectify.refine import Refiner, colours
from reclip.rectify.upsample import upsample

CPU = torch.device("cpu")


def settings(times: int, *dilations: int) -> RefinementSettings:
    return RefinementSettings(pamr=times, pamr_dilations=dilations or (8, 16))


def photo(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def seen(image: np.ndarray) -> torch.Tensor:
    size = image.shape[:2]
    return colours(image, Frame(8, size, size), CPU)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain_weights(image: np.ndarray, dilations: tuple[int, ...]) -> dict[tuple, dict]:
    """Return the weight of each place's neighbours, by place and neighbour (y, x, dilation)."""
    height, width = image.shape[:2]
    found = {}
    for y in range(height):
        for x in range(width):
            places, values = [], []
            for d in dilations:
                for dy in (-d, 0, d):
                    for dx in (-d, 0, d):
                        at = min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)
                        values.append(image[at])
                        places.append((*at, dy, dx))
            deviation = np.std(np.array(values), axis=0, ddof=1)
            likeness = {
                place: np.mean(-np.abs(image[y, x] - value) / (1e-8 + 0.1 * deviation))
                for place, value in zip(places, values, strict=True)
                if place[2:] != (0, 0)
            }
            total = sum(np.exp(value) for value in likeness.values())
            found[y, x] = {place: np.exp(v) / total for place, v in likeness.items()}
    return found


def plain(image: np.ndarray, maps: np.ndarray, times: int, dilations: tuple) -> np.ndarray:
    """Refine maps (C, H, W) pixel by pixel in float64."""
    weights = plain_weights(image.astype(float), dilations)
    for _ in range(times):
        before, maps = maps, np.empty_like(maps)
        for (y, x), around in weights.items():
            maps[:, y, x] = sum(w * before[:, py, px] for (py, px, *_), w in around.items())
    return maps


@pytest.mark.parametrize(
    ("size", "times", "dilations"),
    [((7, 9), 1, (1,)), ((9, 7), 3, (1, 2)), ((11, 6), 2, (2, 4, 3)), ((5, 8), 10, (8, 16)),
     ((1, 1), 2, (1,)), ((1, 6), 2, (1, 3))],
)  # fmt: skip
def test_it_equals_the_plain_version(size, times, dilations) -> None:
    image, maps = photo(*size), noise(3, *size)
    image[: size[0] // 2, : size[1] // 2] = 90  # a flat corner
    wanted = plain(image, maps.double().numpy(), times, dilations)
    found = Refiner(seen(image), settings(times, *dilations))(maps)
    assert np.abs(found.numpy() - wanted).max() < 1e-5
    assert 1 in size or np.abs(found.numpy() - maps.numpy()).max() > 0.1


def test_a_photo_of_one_colour_gives_the_mean_of_the_neighbours() -> None:
    maps = noise(2, 9, 9)
    found = Refiner(seen(np.full((9, 9, 3), 255, np.uint8)), settings(1, 1))(maps)
    box = maps.unfold(1, 3, 1).unfold(2, 3, 1).sum((-1, -2))
    wanted = (box - maps[:, 1:-1, 1:-1]) / 8
    assert torch.allclose(found[:, 1:-1, 1:-1], wanted, atol=1e-6)


def test_no_iteration_changes_nothing() -> None:
    maps = noise(3, 20, 30)
    assert torch.equal(Refiner(seen(photo(20, 30)), settings(0))(maps), maps)


def test_weights_of_a_pixel_add_up_to_one() -> None:
    """So probabilities would stay probabilities, and a removed class stays removed."""
    refiner = Refiner(seen(photo(33, 47)), settings(10))
    assert refiner.weights.shape == (16, 33, 47)
    assert torch.allclose(refiner.weights.sum(0), torch.ones(1))
    found = refiner(noise(4, 33, 47).softmax(0))
    assert torch.allclose(found.sum(0), torch.ones(1), atol=1e-5)
    assert torch.allclose(refiner(torch.full((1, 33, 47), -100.0)), torch.tensor(-100.0))


@pytest.mark.parametrize("values", [1, 5000, 10**9])
def test_maps_refined_together_or_one_by_one_are_the_same(monkeypatch, values: int) -> None:
    refiner, maps = Refiner(seen(photo(33, 47)), settings(10)), noise(7, 33, 47)
    alone = torch.cat([refiner(one[None]) for one in maps])
    monkeypatch.setattr(refine, "VALUES_IN_CACHE", values)
    assert torch.equal(refiner(maps), alone)


@pytest.mark.parametrize("values", [1, 47 * 16 * 5])
def test_weights_do_not_depend_on_the_bands_in_which_they_are_computed(monkeypatch, values) -> None:
    image = seen(photo(33, 47))
    once = Refiner(image, settings(1)).weights
    monkeypatch.setattr(refine, "VALUES_OF_A_BAND", values)
    assert torch.allclose(Refiner(image, settings(1)).weights, once, atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 40 * 50 * 3, 10**9])
def test_a_few_classes_at_a_time_give_the_same_map(monkeypatch, at_once: int) -> None:
    logits, frame = noise(7, 4, 5), Frame(8, (32, 40), (40, 50))
    logits[3] = logits[1]  # of equal classes the first is taken
    pieces = [Piece(Window(0, 0, 32, 40), logits)]
    refiner = Refiner(colours(photo(40, 50), frame, CPU), settings(3, 2, 4))
    wanted = refiner(upsample(pieces, frame)).argmax(0)
    assert 3 not in wanted and 1 in wanted
    assert not torch.equal(wanted, upsample(pieces, frame).argmax(0))
    monkeypatch.setattr("reclip.rectify.class_map.VALUES_AT_ONCE", at_once)
    assert torch.equal(class_map(pieces, frame, refiner), wanted.to(torch.int16))


def test_a_boundary_moves_to_the_edge_of_the_colours() -> None:
    """Of two flat halves; the logits' boundary is 6 pixels off and noisy."""
    image = np.full((64, 64, 3), (40, 90, 200), np.uint8)
    image[:, 32:] = (200, 120, 30)
    maps = 0.3 * noise(2, 64, 64)
    maps[0, :, :38] += 0.2
    maps[1, :, 38:] += 0.2
    truth = torch.arange(64).expand(64, 64) >= 32
    found = Refiner(seen(image), settings(20, 1, 2, 4, 8))(maps).argmax(0) == 1
    before = ((maps.argmax(0) == 1) != truth).float().mean()
    assert before > 0.25 and ((found != truth).float().mean()) == 0


def test_colours_are_those_of_the_image_as_read() -> None:
    """A photo that was read small is blurred; a flat one stays flat to the last bit."""
    image = photo(48, 64)
    small = Frame(8, (24, 32), (48, 64))
    found = colours(image, small, CPU)
    assert found.shape == (3, 48, 64) and found.std() < seen(image).std() / 1.5
    assert torch.equal(seen(image), torch.from_numpy(image).permute(2, 0, 1).float())
    odd = Frame(8, (25, 33), (48, 64))
    assert (colours(np.full((48, 64, 3), 251, np.uint8), odd, CPU) == 251).all()


def test_an_experiment_refines_where_it_is_asked_to(
    tmp_path: Path, tiny_plan: Callable[..., Plan]
) -> None:
    """The metrics say so; a run without PAMR and a student of the same settings do not."""
    asked = {"pamr": 3, "pamr_dilations": [2, 4]}
    changes = {
        "evaluate": asked,
        "pseudo_mask": asked,
        "image": {"short_side": 40},  # smaller than the photos
        "seeds": {"rectify": [0]},
        "check": None,
        "runs": {
            "plain": {"dataset": "voc", "method": "rectify", "evaluate": {"pamr": 0}},
            "probe": None,
        },
    }
    with contextlib.chdir(tmp_path):
        plan = tiny_plan(changes)
        for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
            run_stage(plan, stage, "voc")
        for run in ("ref-pe", "plain"):
            run_stage(plan, "rectify", run, 0)
        run_stage(plan, "pseudo-mask", "ref-pe", 0)
        run_stage(plan, "distill", "distill", 0)
        for run in ("ref-pe", "plain", "distill"):
            run_stage(plan, "evaluate", run, 0)
        jobs = {run: plan.job("evaluate", run, 0) for run in ("ref-pe", "plain", "distill")}
        scores = {run: read_json(job.folder / "scores.json") for run, job in jobs.items()}
        assert {run: one["post_processing"] for run, one in scores.items()} == {
            "ref-pe": "PAMR 3 at 2/4", "plain": "none", "distill": "none"
        }  # fmt: skip
        confusions = [np.load(jobs[run].folder / "confusion.npy") for run in ("ref-pe", "plain")]
        assert not np.array_equal(*confusions)
        assert_masks_are_refined(plan)


def assert_masks_are_refined(plan: Plan) -> None:
    """Compare the pseudo masks with maps of all classes at once."""
    masks = plan.job("pseudo-mask", "ref-pe", 0)
    features = FeatureCache(masks.inputs["features"].folder)
    teacher = Rectifier.load(masks.inputs["teacher"].folder / "weights.safetensors")
    moved = 0
    for i, item in enumerate(DataSet(masks.inputs["data"].folder).items("train")):
        frame = feature_frame(features, "train", i, item)
        assert frame.read != frame.size
        with torch.inference_mode():
            pieces = rectified_logits(teacher, features.pieces("train", i), settings(0))
            logits = upsample(pieces, frame)
            refiner = Refiner(colours(read_image(item.image), frame, CPU), settings(3, 2, 4))
            wanted = refiner(logits).argmax(0).numpy()
            # Without PAMR nobody reads the photo.
            absent = replace(item, image=Path("absent.png"))
            plain = predict_from_features(teacher, features, "train", i, absent, settings(0))
            assert torch.equal(plain, logits.argmax(0).to(plain.dtype))
        assert np.array_equal(read_label(masks.folder / f"{item.id}.png"), wanted)
        moved += (wanted != logits.argmax(0).numpy()).sum()
    assert moved
