"""The mini world: three procedural datasets in which every pixel's class is known.

`voc` has objects on an ignored background, `context` objects and stuff, `ade` objects and stuff of
more and closer hues. Their scenes are uniform: every class is equally frequent, lies anywhere and
appears with any other class. (`reclip.data.world.bias` draws scenes with planted biases.)
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reclip.data.images import IGNORED
from reclip.data.world.textures import HUES, TEXTURES, fill, neutral, outline, photograph

# Sizes (H, W) in pixels of benchmark scenes: some are not square, some no multiple of a patch.
SCENE_SIZES = ((72, 72), (72, 96), (96, 72), (80, 80), (76, 84), (84, 76))

OBJECT_TEXTURES, STUFF_TEXTURES = TEXTURES[:4], TEXTURES[4:]
PAIRS = tuple(zip(TEXTURES[::2], TEXTURES[1::2], strict=True))  # textures that look alike


@dataclass(frozen=True)
class World:
    """A set of classes: each hue times each object texture, and each hue times each stuff texture.

    Attributes:
        stuff_textures: empty if the background is ignored.
    """

    name: str
    hues: tuple[str, ...]
    stuff_textures: tuple[str, ...]

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names "hue texture", objects before stuff; a class's index is its label."""
        textures = OBJECT_TEXTURES + self.stuff_textures
        return tuple(f"{hue} {texture}" for texture in textures for hue in self.hues)

    @cached_property
    def objects(self) -> np.ndarray:
        """The indices of the object classes."""
        return np.arange(len(self.hues) * len(OBJECT_TEXTURES))

    @cached_property
    def stuff(self) -> np.ndarray:
        """The indices of the stuff classes."""
        return np.arange(len(self.objects), len(self.class_names))

    @cached_property
    def confusable(self) -> tuple[tuple[int, int], ...]:
        """Pairs of class indices that share a hue and have textures that look alike."""
        index = {name: i for i, name in enumerate(self.class_names)}
        names = [(f"{hue} {a}", f"{hue} {b}") for a, b in PAIRS for hue in self.hues]
        return tuple((index[a], index[b]) for a, b in names if a in index)


# The classes of voc are among the classes of context, and those of context among ade's, by name.
WORLDS: dict[str, World] = {
    "voc": World("voc", tuple(HUES)[:5], ()),
    "context": World("context", tuple(HUES)[:5], STUFF_TEXTURES),
    "ade": World("ade", tuple(HUES), STUFF_TEXTURES),
}


@dataclass(frozen=True)
class Thing:
    """An object to draw: class index, centre (y, x) and radius in pixels."""

    label: int
    centre: tuple[float, float]
    radius: float


def scene_rng(seed: int, split: str, i: int) -> np.random.Generator:
    """Return the generator of scene `i` of `split`; it is independent of every other scene's."""
    return np.random.default_rng([seed, zlib.crc32(split.encode()), i])


def scene_size(rng: np.random.Generator) -> tuple[int, int]:
    """Return a benchmark scene's (H, W), one of :data:`SCENE_SIZES`."""
    return SCENE_SIZES[rng.integers(len(SCENE_SIZES))]


def draw_scene(
    world: World, rng: np.random.Generator, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a uniform scene: image uint8 (H, W, 3), label uint8 (H, W) in 0..C-1 or IGNORED."""
    height, width = size
    things = []
    for label in rng.choice(world.objects, rng.integers(2, 5), replace=False):
        centre = rng.uniform(0, height), rng.uniform(0, width)
        things.append(Thing(int(label), centre, rng.uniform(0.15, 0.3) * min(size)))
    stuff = []
    if len(world.stuff):
        stuff = rng.choice(world.stuff, rng.integers(1, 4), replace=False).tolist()
    return paint_scene(world, things, stuff, rng, size)


def paint_scene(
    world: World,
    things: list[Thing],
    stuff: list[int],
    rng: np.random.Generator,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Draw stuff in parallel bands, then things over it; return the same as :func:`draw_scene`."""
    image = neutral(size, rng)
    label = np.full(size, IGNORED, np.uint8)
    regions = list(zip(stuff, _bands(len(stuff), rng, size), strict=True))
    regions += [(thing.label, outline(thing.centre, thing.radius, size, rng)) for thing in things]
    for index, mask in regions:
        hue, texture = world.class_names[index].split()
        image[mask] = fill(HUES[hue], texture, size, rng)[mask]
        label[mask] = index
    return photograph(image, rng), label


def _bands(count: int, rng: np.random.Generator, size: tuple[int, int]) -> list[np.ndarray]:
    """Return `count` masks, bool (H, W): bands of random direction and width with a wavy edge."""
    y, x = np.mgrid[: size[0], : size[1]] / max(size) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    depth = along + 0.05 * np.sin(2 * np.pi * (across * rng.uniform(1, 3) + rng.uniform()))
    shares = np.linspace(0, 1, count + 1)[1:-1]
    cuts = np.quantile(depth, shares + rng.uniform(-0.1, 0.1, shares.shape))
    band = np.searchsorted(cuts, depth)
    return [band == k for k in range(count)]
