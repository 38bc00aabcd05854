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
        unnamed: space: the mean number of further objects at the edge of a scene, of any class,
            that its caption does not mention. A photographer's subject is in the middle.
        framed: space: the chance that a close-up shows its class in the middle only, and another
            class around it that its caption does not mention.
        middle: side of that middle, as a share of the image's.
        seed: deals the ranks, the order within each pair and the places, independently.
    """

    zipf: float = 0.9
    companion: float = 0.3
    central: float = 1.0
    spread: float = 0.06
    stuff: float = 0.5
    unnamed: float = 2.0
    framed: float = 1.0
    middle: float = 0.7
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
    mentioned bool (C,): the visible classes but unnamed ones, and companions that may be invisible.
    """
    things = []
    for label in _draw(world.objects, roles, rng, rng.integers(1, 4)):
        place = _place(bool(roles.is_central[label]), bias, rng, size)
        things.append(Thing(label, place, rng.uniform(0.2, 0.35) * size))
    unnamed = [_at_edge(world, rng, size) for _ in range(rng.poisson(bias.unnamed))]
    stuff = []
    if rng.uniform() < bias.stuff:
        stuff = _draw(world.stuff, roles, rng, rng.integers(1, 3))
    image, label = paint_scene(world, unnamed + things, stuff, rng, (size, size))
    count = len(world.class_names)
    named = np.isin(np.arange(count), [*stuff, *(thing.label for thing in things)])
    mentioned = named & (np.bincount(label.ravel(), minlength=256)[:count] >= size * size // 100)
    for shown in np.flatnonzero(mentioned):
        if shown in roles.companion and rng.uniform() < bias.companion:
            mentioned[roles.companion[shown]] = True
    return image, label, mentioned


def draw_close_up(
    world: World, bias: PlantedBias, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, uint8 (S, S, 3), of one class, and what its caption mentions, bool (C,).

    All classes are equally frequent. The class fills the image, or its middle; then another class
    frames it.
    """
    count = len(world.class_names)
    shown = int(rng.integers(count))
    image, _ = paint_scene(world, [], [shown], rng, (size, size))
    if rng.uniform() < bias.framed:
        frame, _ = paint_scene(world, [], [int(rng.integers(count))], rng, (size, size))
        edge = round(size * (1 - bias.middle) / 2)
        inside = slice(edge, size - edge)
        frame[inside, inside] = image[inside, inside]
        image = frame
    return image, np.arange(count) == shown


def _draw(classes: np.ndarray, roles: Roles, rng: np.random.Generator, count: int) -> list[int]:
    weights = roles.weights[classes]
    return rng.choice(classes, count, replace=False, p=weights / weights.sum()).tolist()


def _at_edge(world: World, rng: np.random.Generator, size: int) -> Thing:
    """Return an object of any class, near a circle at the edge."""
    label, angle = int(rng.choice(world.objects)), rng.uniform(0, 2 * np.pi)
    middle = 0.5 + 0.55 * np.array([np.sin(angle), np.cos(angle)])
    y, x = size * np.clip(middle + rng.normal(0, 0.05, 2), 0, 1)
    return Thing(label, (float(y), float(x)), rng.uniform(0.15, 0.3) * size)


def _place(
    is_central: bool, bias: PlantedBias, rng: np.random.Generator, size: int
) -> tuple[float, float]:
    """Return a centre (y, x) in pixels, near the middle or near a circle at the edge."""
    angle, reach = rng.uniform(0, 2 * np.pi), 0.0 if is_central else 0.48
    middle = 0.5 + reach * np.array([np.sin(angle), np.cos(angle)])
    y, x = size * np.clip(middle + rng.normal(0, bias.spread, 2), 0, 1)
    return float(y), float(x)
