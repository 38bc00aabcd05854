"""Scenes and captions with planted biases: the training data of mini-clip, and of nothing else.

The benchmark's scenes are uniform, so any preference of mini-clip on them comes from these biases.
All are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reclip.data.world.scenes import Thing, World, paint_scene


@dataclass(frozen=True)
class PlantedBias:
    """How far pre-training scenes and captions depart from uniform ones.

    Attributes:
        zipf: class frequency: the class of rank r is drawn with a weight of r ** -zipf.
        companion: co-occurrence: the chance that a caption which mentions the first class of a
            confusable pair mentions the second as well, though the scene does not show it.
        central: space: the share of classes near the centre; the others lie near the edge.
        spread: standard deviation of a position around its class's preferred one, in image sizes.
        stuff: the chance that a scene has a background of stuff instead of a neutral one.
        seed: deals the ranks, the order within each pair and the places, independently.
    """

    zipf: float = 0.9
    companion: float = 0.9
    central: float = 0.85
    spread: float = 0.1
    stuff: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Roles:
    """What a :class:`PlantedBias` assigns to the C classes of a world.

    Attributes:
        weights: (C,) relative frequencies.
        companion: from a class to the class that captions mention along with it.
        is_central: (C,) bool.
    """

    weights: np.ndarray
    companion: dict[int, int]
    is_central: np.ndarray


def deal_roles(world: World, bias: PlantedBias) -> Roles:
    """Return the roles of `world`'s classes, a function of `bias` alone."""
    rng = np.random.default_rng(bias.seed)
    count = len(world.class_names)
    ranks = 1 + rng.permutation(count)
    pairs = [tuple(int(c) for c in rng.permutation(pair)) for pair in world.confusable]
    is_central = rng.permutation(count) < bias.central * count
    return Roles(ranks ** -float(bias.zipf), dict(pairs), is_central)


def draw_captioned_scene(
    world: World, bias: PlantedBias, roles: Roles, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a square pre-training scene and the classes that its caption mentions.

    They are image uint8 (S, S, 3), label uint8 (S, S) as `reclip.data.world.scenes.draw_scene`, and
    mentioned bool (C,): the visible classes, and companions that may be invisible.
    """
    things = []
    for label in _draw(world.objects, roles, rng, rng.integers(1, 4)):
        place = _place(bool(roles.is_central[label]), bias, rng, size)
        things.append(Thing(label, place, rng.uniform(0.2, 0.35) * size))
    stuff = []
    if rng.uniform() < bias.stuff:
        stuff = _draw(world.stuff, roles, rng, rng.integers(1, 3))
    image, label = paint_scene(world, things, stuff, rng, (size, size))
    count = len(world.class_names)
    mentioned = np.bincount(label.ravel(), minlength=256)[:count] >= size * size // 100
    for shown in np.flatnonzero(mentioned):
        if shown in roles.companion and rng.uniform() < bias.companion:
            mentioned[roles.companion[shown]] = True
    return image, label, mentioned


def draw_close_up(
    world: World, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return an unbiased image, uint8 (S, S, 3), full of one class, and mentioned, bool (C,)."""
    shown = int(rng.integers(len(world.class_names)))
    image, _ = paint_scene(world, [], [shown], rng, (size, size))
    return image, np.arange(len(world.class_names)) == shown


def _draw(classes: np.ndarray, roles: Roles, rng: np.random.Generator, count: int) -> list[int]:
    weights = roles.weights[classes]
    return rng.choice(classes, count, replace=False, p=weights / weights.sum()).tolist()


def _place(
    is_central: bool, bias: PlantedBias, rng: np.random.Generator, size: int
) -> tuple[float, float]:
    """Return a centre (y, x) in pixels, near the middle or near a circle at the edge."""
    angle, reach = rng.uniform(0, 2 * np.pi), 0.0 if is_central else 0.48
    middle = 0.5 + reach * np.array([np.sin(angle), np.cos(angle)])
    y, x = size * np.clip(middle + rng.normal(0, bias.spread, 2), 0, 1)
    return float(y), float(x)
