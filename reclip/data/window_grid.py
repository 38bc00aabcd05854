"""The windows of a photo that say which classes it may hold (ReCLIP++). Without numpy."""

from __future__ import annotations

from typing import NamedTuple, Self

from reclip.config.base import Settings
from reclip.config.models import HypothesisSettings


class Window(NamedTuple):
    """A part of an image, in pixels of the size at which it is read."""

    top: int
    left: int
    height: int
    width: int


class WindowGrid(Settings):
    """Square windows of side `window` every `stride` pixels, both in pixels of the photo."""

    window: int
    stride: int

    @classmethod
    def of(cls, settings: HypothesisSettings) -> Self | None:
        """Return the windows of hypotheses; None if these are made on something else."""
        if settings.image != "windows":
            return None
        return cls(window=settings.window, stride=settings.stride)

    def windows(self, height: int, width: int) -> list[Window]:
        """Return the windows of a photo, row by row from its top left.

        They start at every `stride` pixels before the last place where a window fits. So no window
        ends at the bottom or right edge (official code). Officially, a photo with a side of no more
        than a window has no window. It would have no hypotheses, and would not train. Ours: such a
        side is taken whole, so a photo smaller than a window is one window itself.
        """
        tall, wide = min(height, self.window), min(width, self.window)
        return [
            Window(top, left, tall, wide)
            for top in self._starts(height)
            for left in self._starts(width)
        ]

    def count(self, height: int, width: int) -> int:
        """Return the number of windows of a photo."""
        return len(self._starts(height)) * len(self._starts(width))

    def _starts(self, side: int) -> range:
        return range(0, max(1, side - self.window), self.stride)
