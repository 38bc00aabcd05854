from __future__ import annotations

import numpy as np
import open_clip
import pytest

from reclip.data.world.bias import PlantedBias, deal_roles, draw_captioned_scene, draw_close_up
from reclip.data.world.scenes import IGNORED, SCENE_SIZES, WORLDS, draw_scene, scene_rng, scene_size

SCENES = 300
ADE = WORLDS["ade"]


def uniform_labels(world_name: str, size: tuple[int, int] = (72, 72)) -> np.ndarray:
    world = WORLDS[world_name]
    return np.stack([draw_scene(world, scene_rng(3, "test", i), size)[1] for i in range(SCENES)])


def planted_scenes(bias: PlantedBias) -> tuple[np.ndarray, np.ndarray]:
    roles = deal_roles(ADE, bias)
    drawn = [
        draw_captioned_scene(ADE, bias, roles, scene_rng(3, "test", i), 48) for i in range(SCENES)
    ]
    return np.stack([label for _, label, _ in drawn]), np.stack([m for _, _, m in drawn])


def shown_in(labels: np.ndarray, count: int) -> np.ndarray:
    """bool (N, C): which classes each scene shows."""
    return np.stack([(labels == c).any((1, 2)) for c in range(count)], 1)


def mean_distance(labels: np.ndarray, classes: np.ndarray) -> float:
    """Mean distance from the middle, in image sizes, of the pixels of ``classes``."""
    _, y, x = np.nonzero(np.isin(labels, classes))
    size = labels.shape[1]
    return float(np.hypot((y + 0.5) / size - 0.5, (x + 0.5) / size - 0.5).mean())


def distance_of(labels: np.ndarray, chosen: np.ndarray) -> float:
    """Mean distance from the middle, in image sizes, of the chosen classes (N, C) of scenes."""
    pairs = zip(labels, chosen, strict=True)
    found = [
        mean_distance(label[None], np.array([c]))
        for label, row in pairs
        for c in np.flatnonzero(row)
    ]
    return float(np.mean(found))


@pytest.mark.parametrize("name", WORLDS)
def test_scene_depends_on_its_own_seed_only(name: str) -> None:
    world = WORLDS[name]
    first = draw_scene(world, scene_rng(0, "val", 7), (72, 96))
    draw_scene(world, scene_rng(0, "val", 6), (72, 96))
    again = draw_scene(world, scene_rng(0, "val", 7), (72, 96))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    for other in (scene_rng(0, "train", 7), scene_rng(1, "val", 7), scene_rng(0, "val", 8)):
        assert (draw_scene(world, other, (72, 96))[0] != first[0]).any()


@pytest.mark.parametrize("name", WORLDS)
def test_scene_is_an_image_and_its_labels(name: str) -> None:
    world = WORLDS[name]
    for i in range(20):
        rng = scene_rng(1, "test", i)
        size = scene_size(rng)
        image, label = draw_scene(world, rng, size)
        assert size in SCENE_SIZES
        assert image.dtype == label.dtype == np.uint8
        assert image.shape == (*size, 3) and label.shape == size
        assert set(np.unique(label)) <= {*range(len(world.class_names)), IGNORED}


def test_voc_ignores_its_background_and_the_others_label_nearly_every_pixel() -> None:
    assert 0.4 < (uniform_labels("voc") == IGNORED).mean() < 0.8
    for name in ("context", "ade"):
        assert (uniform_labels(name) == IGNORED).mean() < 0.1


def test_class_names_are_two_tokens_and_worlds_are_nested() -> None:
    encode = open_clip.get_tokenizer("ViT-B-32").encode
    for world in WORLDS.values():
        assert len(set(world.class_names)) == len(world.class_names)
        assert all(len(encode(name)) == 2 for name in world.class_names)
        assert len(world.objects) + len(world.stuff) == len(world.class_names)
    voc, context, ade = (set(WORLDS[name].class_names) for name in ("voc", "context", "ade"))
    assert voc < context < ade
    assert (len(voc), len(context), len(ade)) == (20, 30, 42)


@pytest.mark.parametrize("name", WORLDS)
def test_confusable_pairs_share_a_hue_and_cover_every_class(name: str) -> None:
    world = WORLDS[name]
    for a, b in world.confusable:
        assert world.class_names[a].split()[0] == world.class_names[b].split()[0]
    assert sorted(c for pair in world.confusable for c in pair) == list(
        range(len(world.class_names))
    )


def test_benchmark_is_uniform_where_pre_training_is_not() -> None:
    count = len(ADE.class_names)
    bias = PlantedBias(central=0.8, unnamed=0.0)
    roles = deal_roles(ADE, bias)
    central = np.intersect1d(ADE.objects, np.flatnonzero(roles.is_central))
    edge = np.setdiff1d(ADE.objects, central)

    uniform = uniform_labels("ade")
    frequency = shown_in(uniform, count)[:, ADE.objects].mean(0)
    assert frequency.max() < 3 * frequency.min()
    assert abs(np.corrcoef(frequency, roles.weights[ADE.objects])[0, 1]) < 0.4
    assert abs(mean_distance(uniform, central) - mean_distance(uniform, edge)) < 0.04

    planted, _ = planted_scenes(bias)
    frequency = shown_in(planted, count)[:, ADE.objects].mean(0)
    assert frequency.max() > 8 * np.median(frequency)
    assert np.corrcoef(frequency, roles.weights[ADE.objects])[0, 1] > 0.9
    assert mean_distance(planted, edge) - mean_distance(planted, central) > 0.15


def test_captions_mention_what_is_shown_and_companions() -> None:
    count = len(ADE.class_names)
    labels, mentioned = planted_scenes(PlantedBias(companion=0.0, unnamed=0.0))
    visible = np.stack([(labels == c).sum((1, 2)) >= 23 for c in range(count)], 1)
    np.testing.assert_array_equal(mentioned, visible)

    bias = PlantedBias(companion=0.5, unnamed=0.0)
    labels, mentioned = planted_scenes(bias)
    absent = mentioned & ~shown_in(labels, count)
    companion = deal_roles(ADE, bias).companion
    assert set(np.flatnonzero(absent.any(0))) <= set(companion.values())
    due = sum(visible[:, a].sum() for a in companion)
    assert 0.35 < absent.sum() / due < 0.55


def test_captions_do_not_mention_unnamed_objects_which_lie_at_the_edge() -> None:
    count = len(ADE.class_names)
    few = PlantedBias(companion=0.0, unnamed=3.0)
    labels, mentioned = planted_scenes(few)
    unnamed = shown_in(labels, count) & ~mentioned
    assert unnamed.any(1).mean() > 0.5
    assert not (mentioned & ~shown_in(labels, count)).any()
    things = np.arange(count) < len(ADE.objects)
    assert distance_of(labels, mentioned & things) < 0.25 < 0.35 < distance_of(labels, unnamed)


def test_a_framed_close_up_shows_its_class_in_the_middle_alone() -> None:
    for i in range(20):
        plain, shown = draw_close_up(ADE, PlantedBias(framed=0.0), scene_rng(0, "c", i), 40)
        framed, same = draw_close_up(
            ADE, PlantedBias(framed=1.0, middle=0.5), scene_rng(0, "c", i), 40
        )
        assert (shown == same).all() and shown.sum() == 1
        assert (framed[10:30, 10:30] == plain[10:30, 10:30]).all()
        assert (framed[:10] != plain[:10]).any()


def test_roles_follow_from_the_bias_alone() -> None:
    first, again = deal_roles(ADE, PlantedBias()), deal_roles(ADE, PlantedBias())
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.companion == again.companion
    assert deal_roles(ADE, PlantedBias(zipf=0.0)).weights.tolist() == [1.0] * len(ADE.class_names)
    assert deal_roles(ADE, PlantedBias(seed=1)).companion != first.companion
