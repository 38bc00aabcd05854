"""Advice on a list of classes and on the threshold, from findings without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reclip.common.templates import fill
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
MOST = 10  # sentences on classes, and on pairs of classes


@dataclass(frozen=True)
class Found:
    """The findings in one dataset's N photos, with C classes.

    Attributes:
        scores: (N, C), what the hypotheses compare with `limit`: 100 × cosine of photo and text, or
            how far it rises (`reclip.rectify.hypotheses`). None on windows, whose best classes win.
        setting: the key in the section `hypotheses` that decides how many classes a photo has:
            threshold, relative or window.
        limit: its value.
        supposed: bool (N, C), the image-level hypotheses.
        pixels: (C,), pixels of each class in the masks.
        shown: (C,), masks that show each class.
    """

    names: list[str]
    scores: np.ndarray | None
    setting: str
    limit: float
    supposed: np.ndarray
    pixels: np.ndarray
    shown: np.ndarray
    cells: Cells
    pairs: list[Pair] = field(default_factory=list)

    @property
    def photos(self) -> int:
        return len(self.supposed)

    @property
    def never(self) -> list[int]:
        """Classes in no hypothesis and no mask."""
        return np.flatnonzero((self.in_photos == 0) & (self.shown == 0)).tolist()

    @property
    def in_photos(self) -> np.ndarray:
        """Photos (C,) supposed to hold each class."""
        return self.supposed.sum(0)

    @property
    def classes_a_photo(self) -> np.ndarray:
        """Classes (N,) that each photo is supposed to hold."""
        return self.supposed.sum(1)

    @property
    def competing(self) -> list[Pair]:
        """Pairs that compete for some reason, the most contested first."""
        notable = [p for p in self.pairs if self.reasons(p)]
        return sorted(notable, key=lambda p: (-p.contested, -p.turned, -p.together, p.a, p.b))

    def reasons(self, pair: Pair) -> list[str]:
        """Return why two classes compete; empty if they do not."""
        reasons = []
        if pair.contested >= CONTESTED:
            reasons.append(f"nearly a tie in {pair.contested:.0%} of their pixels")
        if pair.turned >= TURNED:
            reasons.append(f"rectification moved {pair.turned:.0%} of their pixels between them")
        both = int((self.supposed[:, pair.a] & self.supposed[:, pair.b]).sum())
        if pair.together >= TOGETHER and pair.lift >= LIFT and both >= LEAST_PHOTOS:
            reasons.append(f"supposed together in {in_number(both, 'photo')}")
        return reasons


def advise(found: Found) -> list[str]:
    """Return what to change, a sentence or two each, the most important first."""
    names, photos, supposed, shown = found.names, found.photos, found.in_photos, found.shown
    parts = found.pixels / max(1, found.pixels.sum())
    stray = (shown > STRAY * supposed) & (shown > EVERYWHERE * photos)
    few = (supposed < RARE * photos) | ((supposed < LEAST_PHOTOS) & (photos >= LEAST_PHOTOS))
    poor = np.flatnonzero((supposed > 0) & ((shown == 0) | few))
    rivals = found.cells.turned + found.cells.runner_up.T
    # The setting is right if hypotheses name the few classes that a photo holds.
    mean = found.classes_a_photo.mean()
    many = mean > min(2 * USUAL_CLASSES, MANY * len(names)) and len(names) > USUAL_CLASSES
    text = fill(
        Path(__file__).with_suffix(".txt.j2"),
        found=found,
        stray=[f"'{names[k]}'" for k in np.flatnonzero(stray)],
        dominant=[]
        if stray.any()
        else [(names[k], parts[k]) for k in np.flatnonzero(parts > DOMINANT)],
        never=[f"'{names[k]}'" for k in found.never],
        poor=[
            (names[k], supposed[k], shown[k], rivals[k].any() and names[rivals[k].argmax()])
            for k in poor
        ],
        competing=[(names[p.a], names[p.b], p.nearest, found.reasons(p)) for p in found.competing],
        limits=None if found.scores is None else _limits(found, found.scores),
        mean=mean,
        many=many,
        usual=USUAL_CLASSES,
        few=photos < FEW_PHOTOS,
        most=MOST,
        listed=listed,
        in_number=in_number,
    )
    return text.splitlines() or ["Nothing stands out: look at the masks before changing anything."]


class _Limits(NamedTuple):
    """What other limits of the scores would do.

    Attributes:
        missed: photos in which no class reaches the limit; 0 if they are few.
        lower: the limit that nine photos of ten reach.
        higher: the limit that leaves USUAL_CLASSES a photo on average.
    """

    missed: int
    lower: float
    higher: float


def _limits(found: Found, scores: np.ndarray) -> _Limits:
    best = scores.max(1)
    missed = int((best < found.limit).sum())
    digits = 1 if found.setting == "threshold" else 2  # of a limit that is advised
    kept = np.sort(scores.ravel())[::-1][: USUAL_CLASSES * found.photos][-1]
    return _Limits(
        missed if missed > MISSED * found.photos else 0,
        _rounded(np.quantile(best, 0.1), digits, np.floor),
        _rounded(kept, digits, np.ceil),
    )


def _rounded(value: float, digits: int, to: Callable[[float], float]) -> float:
    """Return `value` rounded `to` (floor or ceil) so many decimals."""
    return to(value * 10**digits) / 10**digits


def in_number(number: int, what: str, plural: str = "s") -> str:
    """Return e.g. "1 photo" or "2 photos"."""
    return f"{number:,} {what}{'' if number == 1 else plural}"
