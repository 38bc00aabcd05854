"""Advice on a list of classes and on the threshold, from findings without labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reclip.common.text import listed
from reclip.evaluate.findings import Cells, Pair

# Our choices: the limits from which advice is given.
FEW_PHOTOS = 100
RARE, LEAST_PHOTOS = 0.02, 3  # share and number of photos
TOGETHER, LIFT, CONTESTED, TURNED = 0.5, 1.5, 0.1, 0.25
DOMINANT = 0.6  # share of all pixels
STRAY, EVERYWHERE = 3, 0.3  # masks a supposed photo, and share of all photos
MISSED = 0.2  # share of photos without a class above the threshold
USUAL_CLASSES, MANY = 3, 0.6  # classes a photo; share of all classes that is too many
MOST_PAIRS = MOST_CLASSES = 10


@dataclass(frozen=True)
class Found:
    """The findings in one dataset's N photos, with C classes.

    Attributes:
        scores: (N, C), 100 × cosine of photo and text.
        supposed: bool (N, C), the image-level hypotheses from these scores.
        pixels: (C,), pixels of each class in the masks.
        shown: (C,), masks that show each class.
    """

    names: list[str]
    scores: np.ndarray
    threshold: float
    supposed: np.ndarray
    pixels: np.ndarray
    shown: np.ndarray
    cells: Cells
    pairs: list[Pair] = field(default_factory=list)

    @property
    def photos(self) -> int:
        return len(self.scores)

    @property
    def never(self) -> list[int]:
        """Classes in no hypothesis and no mask."""
        return np.flatnonzero((self.in_photos == 0) & (self.shown == 0)).tolist()

    @property
    def in_photos(self) -> np.ndarray:
        """Photos (C,) supposed to hold each class."""
        return self.supposed.sum(0)

    @property
    def competing(self) -> list[Pair]:
        """Pairs that compete for some reason, the most contested first."""
        notable = [p for p in self.pairs if _reasons(p, self)]
        return sorted(notable, key=lambda p: (-p.contested, -p.turned, -p.together, p.a, p.b))


def advise(found: Found) -> list[str]:
    """Return what to change, a sentence or two each, the most important first."""
    said = [*_too_much(found), *_missing(found), *_competing(found), *_threshold(found)]
    if found.photos < FEW_PHOTOS:
        teach = "teaches" if found.photos == 1 else "teach"
        said.append(
            f"{in_number(found.photos, 'photo')} {teach} little: add more of the same kind if you "
            f"have them; they need no labels."
        )
    return said or ["Nothing stands out: look at the masks before changing anything."]


def _missing(found: Found) -> list[str]:
    said = []
    if found.never:
        some = listed([f"'{found.names[k]}'" for k in found.never], most=10)
        said.append(
            f"{some} {'was' if len(found.never) == 1 else 'were'} found in no photo: remove such "
            f"a class from the list or, if the photos do show it, name it as a caption would."
        )
    each = []
    for k, name in enumerate(found.names):
        supposed, shown = int(found.in_photos[k]), int(found.shown[k])
        if supposed and not shown:
            rivals = found.cells.turned[k] + found.cells.runner_up[:, k]
            by = f", mostly to '{found.names[rivals.argmax()]}'" if rivals.any() else ""
            each.append(
                f"'{name}' was supposed in {in_number(supposed, 'photo')}, but its pixels went to "
                f"other classes{by}: name it more precisely, or remove it."
            )
        elif 0 < supposed < RARE * found.photos or 0 < supposed < LEAST_PHOTOS <= found.photos:
            each.append(
                f"'{name}' was supposed in {in_number(supposed, 'photo')} only: too few to learn "
                f"from, so add photos that show it, or remove it."
            )
    said += each[:MOST_CLASSES]
    if len(each) > MOST_CLASSES:
        more = in_number(len(each) - MOST_CLASSES, "more class", "es")
        said.append(f"The same holds for {more}: see the table below.")
    return said


def _competing(found: Found) -> list[str]:
    said = []
    for pair in found.competing[:MOST_PAIRS]:
        a, b = found.names[pair.a], found.names[pair.b]
        why = " and ".join(_reasons(pair, found))
        if pair.nearest:
            change = (
                f"make them synonyms of one class, `[{a}, {b}]`, if you need not tell them apart; "
                f"otherwise use names that say how they differ"
            )
        else:
            change = "remove one if it is not in these photos; otherwise use more precise names"
        said.append(f"'{a}' and '{b}' compete ({why}): {change}.")
    if len(found.competing) > MOST_PAIRS:
        said.append(f"{len(found.competing) - MOST_PAIRS} more pairs compete: see summary.json.")
    return said


def _reasons(pair: Pair, found: Found) -> list[str]:
    reasons = []
    if pair.contested >= CONTESTED:
        reasons.append(f"nearly a tie in {pair.contested:.0%} of their pixels")
    if pair.turned >= TURNED:
        reasons.append(f"rectification moved {pair.turned:.0%} of their pixels between them")
    both = int((found.supposed[:, pair.a] & found.supposed[:, pair.b]).sum())
    if pair.together >= TOGETHER and pair.lift >= LIFT and both >= LEAST_PHOTOS:
        reasons.append(f"supposed together in {in_number(both, 'photo')}")
    return reasons


def _too_much(found: Found) -> list[str]:
    parts = found.pixels / max(1, found.pixels.sum())
    stray = (found.shown > STRAY * found.in_photos) & (found.shown > EVERYWHERE * found.photos)
    if stray.any():
        names = [f"'{found.names[k]}'" for k in np.flatnonzero(stray)]
        return [
            f"{listed(names, most=10)}: far more masks show it than photos are supposed to hold "
            f"it. Pixels of things without a name in the list go there: add names for the rest of "
            f"the photos, such as wall, sky or grass."
        ]
    return [
        f"'{found.names[k]}' takes {parts[k]:.0%} of all pixels: every pixel must go to some "
        f"class, so if the photos show less of it, add names for the rest, such as wall or sky."
        for k in np.flatnonzero(parts > DOMINANT)
    ]


def _threshold(found: Found) -> list[str]:
    """Advise on the threshold: hypotheses should name the few classes that a photo holds."""
    best = found.scores.max(1)
    missed = int((best < found.threshold).sum())
    if missed > MISSED * found.photos:
        lower = np.floor(np.quantile(best, 0.1) * 10) / 10
        return [
            f"In {missed} of {in_number(found.photos, 'photo')} no class reaches the threshold of "
            f"{found.threshold:g}: lower hypotheses.threshold to {lower:g}, which nine photos of "
            f"ten reach, or add names of things in these photos."
        ]
    mean, classes = found.supposed.sum(1).mean(), len(found.names)
    if mean > min(2 * USUAL_CLASSES, MANY * classes) and classes > USUAL_CLASSES:
        kept = np.sort(found.scores.ravel())[::-1][USUAL_CLASSES * found.photos - 1]
        return [
            f"A photo is supposed to hold {mean:.1f} of {classes} classes on average: raise "
            f"hypotheses.threshold to {np.ceil(kept * 10) / 10:g}, which leaves about "
            f"{USUAL_CLASSES}."
        ]
    return []


def in_number(number: int, what: str, plural: str = "s") -> str:
    """Return e.g. "1 photo" or "2 photos"."""
    return f"{number:,} {what}{'' if number == 1 else plural}"
