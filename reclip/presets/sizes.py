"""How large the training for own photos is on a machine without a GPU: sizes to choose from.

Almost all of the time goes into the student, in proportion to the pixels of its crops and to its
steps. docs/own-photos.md says what a smaller size costs on drawn scenes.
"""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    """crop: side of the views in pixels. steps: of the student, 16 photos each."""

    name: str
    crop: int
    steps: int


SIZES = (
    Size("large", 224, 400),
    Size("medium", 160, 400),
    Size("small", 160, 200),
    Size("tiny", 160, 100),
)
"""Largest first. Our choices."""

SHORTEST, MINUTES_A_PHOTO, MORE = 20, 0.3, 0.1
"""Minutes: 20, and 0.3 for each of the first 100 photos, so 50 for 100; then 0.1 for each."""


def usual_hours(photos: int, *, bfloat16: bool) -> float:
    """Return the time that all jobs may take if the user names none; our choice.

    bfloat16: CLIP and the student compute in it. Then half of the time is enough for the same size.
    """
    first = min(photos, 100)
    minutes = SHORTEST + MINUTES_A_PHOTO * first + MORE * (photos - first)
    return (minutes / 2 if bfloat16 else minutes) / 60
