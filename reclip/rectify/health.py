"""Health of a trained rectification, judged without labels: did it diverge?

Three signs, each against the unrectified CLIP (Query) or the start of the same training:
the smoothed loss ends above its start; positional logits dwarf the Query's, so the place decides
instead of the content; one class takes almost all cells.

The limits are our choices, from these three figures alone and never from mIoU. Measured on `mini`:
the 33 trainings of its tables; 10 that learn or stand still under other settings (learning rates of
1e-9 to 4 times the default, batch 1 at a twentieth of the rate, batch 4, 1 to 48 epochs); and six
that diverge (lr 0.16 on two datasets; batch 1 at lr 0.01 for 1 epoch, and for 12 with three seeds).
Least to most:

==============================  ============  ==============  ============
..                              tables        other settings  diverged
==============================  ============  ==============  ============
loss, end over start            0.88 to 1.01  0.60 to 1.01    1.03 to 1.35
positional over Query logits    0.38 to 0.64  0.26 to 1.73    2.7 to 6.6
share of the largest class      0.08 to 0.41  0.15 to 0.40    0.12 to 0.81
==============================  ============  ==============  ============

Each of the six shows at least one sign, four of them two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import RectifySettings
from reclip.rectify.model import Rectifier
from reclip.training.advice import lower_rate

START_STEPS = 8
"""Steps at the start: a training that diverges does so within the first ten."""

END_SHARE = 0.1
"""Share of the curve's rows that the end is, but at least START_STEPS."""

MIN_STEPS = 32
"""With fewer steps, a training is too short to tell: it has hardly left its start."""

RISE, ERRORS = 0.05, 3.0
"""The loss rises if its end is above its start by this share and by so many standard errors."""

DWARFED = 2.0
"""Positional logits dwarf the Query's if they spread over the classes this many times as wide."""

LARGEST, GROWN = 0.75, 0.1
"""A class takes almost all cells beyond this share. It must also be more than the Query gives that
class by GROWN, and more than the share of photos that are supposed to hold it."""

PHOTOS = 100
"""Photos from which the logits and shares are measured, at equal distances in the list."""


@dataclass(frozen=True)
class Health:
    """What was measured of one seed. Shares are of the cells of some training photos.

    Attributes:
        steps: of the training.
        loss_start, loss_end: means of the first and last steps.
        loss_error: standard error of their difference.
        positional: spread of the positional logits over the Query's; 0 without a positional net.
        positional_spread: mean over cells of their standard deviation over the classes.
        largest: name of the class with most cells.
        share, query_share: of that class, by the rectified and by the Query's logits.
        supposed: share of the photos that are supposed to hold that class.
    """

    steps: int
    loss_start: float
    loss_end: float
    loss_error: float
    positional: float
    positional_spread: float
    largest: str
    share: float
    query_share: float
    supposed: float

    @property
    def too_short(self) -> bool:
        return self.steps < MIN_STEPS

    @property
    def dwarfed(self) -> bool:
        return self.positional > DWARFED

    @property
    def signs(self) -> list[str]:
        """Return what shows that the training diverged, in words; empty if it is healthy."""
        if self.too_short:
            return []
        found, rise = [], self.loss_end - self.loss_start
        if rise > RISE * abs(self.loss_start) and rise > ERRORS * self.loss_error:
            found.append(f"the loss rose from {self.loss_start:.2f} to {self.loss_end:.2f}")
        if self.dwarfed:
            found.append(f"positional logits are {self.positional:.1f} times the Query's")
        if self.share > max(LARGEST, self.query_share + GROWN, self.supposed):
            found.append(
                f"class '{self.largest}' takes {self.share:.0%} of all cells, by the Query alone "
                f"{self.query_share:.0%}"
            )
        return found

    @property
    def verdict(self) -> str:
        if self.too_short:
            return f"too short to tell ({self.steps} steps)"
        return "; ".join(self.signs) or "healthy"


def examine(
    weights: Path,
    curve: Path,
    query: Rectifier,
    features: FeatureCache,
    hypotheses: torch.Tensor,
    names: Sequence[str],
) -> Health:
    """Measure one seed from its files and the training photos' features.

    Args:
        query: the unrectified CLIP.
        hypotheses: bool (N, C) of the training photos.
        names: the C classes.
    """
    rows = np.atleast_1d(np.genfromtxt(curve, delimiter=",", names=True))
    loss = rows["loss"]
    model = Rectifier.load(weights, query.w_query.device)
    count = len(hypotheses)
    chosen = np.unique(np.linspace(0, count - 1, min(PHOTOS, count)).round().astype(int))
    cells, query_cells, (spread, query_spread) = _measure(model, query, features, chosen.tolist())
    k = int(cells.argmax())
    return Health(
        int(rows["step"][-1]) + 1,
        *(round(value, 4) for value in loss_ends(loss)),
        round(float(spread / query_spread) if query_spread else 0.0, 4),
        round(float(spread), 4),
        names[k],
        round(float(cells[k] / cells.sum()), 4),
        round(float(query_cells[k] / query_cells.sum()), 4),
        round(float(hypotheses[:, k].float().mean()), 4),
    )


def loss_ends(loss: np.ndarray) -> tuple[float, float, float]:
    """Return the mean loss (T,) at the start, at the end, and the difference's standard error."""
    first = loss[:START_STEPS]
    last = loss[-max(START_STEPS, round(END_SHARE * len(loss))) :]
    error = sum(part.var(ddof=1) / len(part) if len(part) > 1 else 0.0 for part in (first, last))
    return float(first.mean()), float(last.mean()), float(np.sqrt(error))


@torch.inference_mode()
def _measure(
    model: Rectifier, query: Rectifier, features: FeatureCache, photos: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cells (C,) by rectified and by Query logits, and the spread (2,) of positional and
    Query logits: the mean deviation over the classes. A constant would not change a mask."""
    classes = len(query.w_query)
    counts, spreads = torch.zeros(2, classes, dtype=torch.int64), np.zeros(2)
    for i in photos:
        for _, z in features.pieces("train", i):
            z = z.to(query.w_query.device)[None]
            pairs = model(z), query(z)
            for count, logits in zip(counts, pairs, strict=True):
                count += torch.bincount(logits.argmax(-1).flatten(), minlength=classes).cpu()
            bias = model.positional_logits(z.shape[1:3])
            if bias is not None:
                spreads[0] += float(bias.std(-1, correction=0).sum())
            spreads[1] += float(pairs[1].std(-1, correction=0).sum())
    return counts[0].numpy(), counts[1].numpy(), spreads / counts[0].sum().item()


def notes(job_name: str, found: Health, settings: RectifySettings) -> dict[str, Any]:
    """Return what the receipt says: the figures, and a warning if the training diverged."""
    warnings = []
    if found.signs:
        said = ", ".join(found.signs)
        ends, advice = _advice(settings, found)
        warnings = [f"{job_name} {ends}, so its masks are not to be trusted ({said}). {advice}"]
    return {"health": asdict(found) | {"verdict": found.verdict}, "warnings": warnings}


def _advice(settings: RectifySettings, bad: Health) -> tuple[str, str]:
    """Return how the training ended, and which setting to change.

    On `mini` with positional_init 1, positional logits are 3.4 times the Query's after 12 epochs
    and 1.2 times after 48.
    """
    large = settings.positional_init  # batch normalisation: the first positional logits' spread
    began_large = settings.model == "reclip" and bad.positional_spread < 2 * large
    if len(bad.signs) == 1 and bad.dwarfed and began_large:
        return "has not converged", (
            f"Positional logits began large: raise rectify.epochs ({settings.epochs}), or lower "
            f"rectify.positional_init ({large:g}), e.g. to {large / 20:.1g}."
        )
    return "diverged", f"{lower_rate('rectify', settings)}."
