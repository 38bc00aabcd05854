"""The mini world: three procedural datasets in which every pixel's class is known.

``voc`` has objects on an ignored background, ``context`` objects and stuff, ``ade`` objects and
stuff of more and closer hues. Their scenes are uniform: every class is as frequent as any other,
lies anywhere and appears with any other. (Scenes with planted biases: ``world_bias``.)
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reclip.data.world.textures import HUES, NOISE_SD, fill, neutral, outline

IGNORED = 255
"""Label of a pixel that has no class."""

SCENE_SIZES = ((72, 72), (72, 96), (96, 72), (80, 80), (76, 84), (84, 76))
"""Sizes (H, W) in pixels of benchmark scenes: some are not square, some no multiple of a patch."""

OBJECT_TEXTURES = ("stripes", "waves", "dots", "checks")
STUFF_TEXTURES = ("paint", "sand")
PAIRS = (("stripes", "waves"), ("dots", "checks"), ("paint", "sand"))
"""Textures that look alike."""


@dataclass(frozen=True)
class World:
    """A set of classes: each object hue times each object texture, likewise for stuff."""

    name: str
    hues: tuple[str, ...]
    stuff_textures: tuple[str, ...]

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """ "hue texture", objects before stuff; a class's index is its label."""
        textures = OBJECT_TEXTURES + self.stuff_textures
        return tuple(f"{hue} {texture}" for texture in textures for hue in self.hues)

    @cached_property
    def objects(self) -> np.ndarray:
        """Indices of the object classes."""
        return np.arange(len(self.hues) * len(OBJECT_TEXTURES))

    @cached_property
    def stuff(self) -> np.ndarray:
        """Indices of the stuff classes; empty if the background is ignored."""
        return np.arange(len(self.objects), len(self.class_names))

    @cached_property
    def confusable(self) -> tuple[tuple[int, int], ...]:
        """Pairs of class indices that share a hue and have textures that look alike."""
        index = {name: i for i, name in enumerate(self.class_names)}
        return tuple(
            (index[f"{hue} {a}"], index[f"{hue} {b}"])
            for a, b in PAIRS
            for hue in self.hues
            if f"{hue} {a}" in index
        )


WORLDS: dict[str, World] = {
    "voc": World("voc", tuple(HUES)[:5], ()),
    "context": World("context", tuple(HUES)[:5], STUFF_TEXTURES),
    "ade": World("ade", tuple(HUES), STUFF_TEXTURES),
}
"""The classes of voc are among those of context, and those among ade's, by name."""


@dataclass(frozen=True)
class Thing:
    """An object to draw: class index, centre (y, x) and radius in pixels."""

    label: int
    centre: tuple[float, float]
    radius: float


def scene_rng(seed: int, split: str, i: int) -> np.random.Generator:
    """The generator of scene ``i`` of ``split``; independent of every other scene's."""
    return np.random.default_rng([seed, zlib.crc32(split.encode()), i])


def scene_size(rng: np.random.Generator) -> tuple[int, int]:
    """A benchmark scene's (H, W), one of :data:`SCENE_SIZES`."""
    return SCENE_SIZES[rng.integers(len(SCENE_SIZES))]


def draw_scene(
    world: World, rng: np.random.Generator, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A uniform scene: image uint8 (H, W, 3), label uint8 (H, W) in 0..C-1 or :data:`IGNORED`."""
    height, width = size
    chosen = rng.choice(world.objects, rng.integers(2, 5), replace=False)
    things = [
        Thing(
            int(label),
            (rng.uniform(0, height), rng.uniform(0, width)),
            rng.uniform(0.15, 0.3) * min(size),
        )
        for label in chosen
    ]
    stuff = []
    if len(world.stuff):
        stuff = [int(c) for c in rng.choice(world.stuff, rng.integers(1, 4), replace=False)]
    return paint_scene(world, things, stuff, rng, size)


def paint_scene(
    world: World,
    things: list[Thing],
    stuff: list[int],
    rng: np.random.Generator,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Draws stuff in parallel bands, then things over it: image and label as :func:`draw_scene`."""
    image = neutral(size, rng)
    label = np.full(size, IGNORED, np.uint8)
    regions = list(zip(stuff, _bands(len(stuff), rng, size), strict=True))
    regions += [(thing.label, outline(thing.centre, thing.radius, size, rng)) for thing in things]
    for index, mask in regions:
        hue, texture = world.class_names[index].split()
        image[mask] = fill(hue, texture, size, rng)[mask]
        label[mask] = index
    image = image * rng.uniform(0.8, 1.15) + rng.normal(0, rng.uniform(*NOISE_SD), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), label


def _bands(count: int, rng: np.random.Generator, size: tuple[int, int]) -> list[np.ndarray]:
    """``count`` masks bool (H, W): bands of random direction and width with a wavy edge."""
    y, x = np.mgrid[: size[0], : size[1]] / max(size) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    depth = along + 0.05 * np.sin(2 * np.pi * (across * rng.uniform(1, 3) + rng.uniform()))
    shares = np.linspace(0, 1, count + 1)[1:-1]
    cuts = np.quantile(depth, shares + rng.uniform(-0.1, 0.1, shares.shape))
    band = np.searchsorted(cuts, depth)
    return [band == k for k in range(count)]
