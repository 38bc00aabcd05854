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

SHORTEST, MINUTES_A_PHOTO, MORE = 10, 0.15, 0.05
"""Minutes: 10, and 0.15 for each of the first 100 photos, so 25 for 100; then 0.05 for each."""


def usual_hours(photos: int) -> float:
    """Return the time that all jobs may take if the user names none; our choice."""
    first = min(photos, 100)
    return (SHORTEST + MINUTES_A_PHOTO * first + MORE * (photos - first)) / 60
