"""Which windows of a photo say what it may hold."""

from __future__ import annotations

import pytest

from reclip.config.models import HypothesisSettings
from reclip.data.window_grid import WindowGrid

GRID = WindowGrid(window=6, stride=3)


@pytest.mark.parametrize(
    ("side", "starts"),
    [
        (7, [0]), (9, [0]), (10, [0, 3]), (12, [0, 3]), (13, [0, 3, 6]), (15, [0, 3, 6]),
        (16, [0, 3, 6, 9]),
    ],
)  # fmt: skip
def test_windows_start_before_the_last_place_where_one_fits(side: int, starts: list[int]) -> None:
    """So the one that ends at the edge is lost, even if the stride meets it."""
    down, right = GRID.windows(side, 7), GRID.windows(7, side)
    assert down == [(start, 0, 6, 6) for start in starts]
    assert right == [(0, start, 6, 6) for start in starts]
    assert all(start + 6 < side for start in starts)
    assert starts[-1] + 3 + 6 >= side


def test_rows_come_first() -> None:
    assert [window[:2] for window in GRID.windows(10, 13)] == [
        (0, 0), (0, 3), (0, 6), (3, 0), (3, 3), (3, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(6, 6), (5, 6), (1, 1), (4, 2)])
def test_a_photo_of_no_more_than_a_window_is_one_itself(size: tuple[int, int]) -> None:
    assert GRID.windows(*size) == [(0, 0, *size)]


def test_a_side_of_no_more_than_a_window_is_taken_whole() -> None:
    assert GRID.windows(4, 11) == [(0, 0, 4, 6), (0, 3, 4, 6)]
    assert GRID.windows(11, 6) == [(0, 0, 6, 6), (3, 0, 6, 6)]


@pytest.mark.parametrize(
    "grid", [GRID, WindowGrid(window=5, stride=7), WindowGrid(window=1, stride=1)]
)
def test_windows_are_counted_without_making_them(grid: WindowGrid) -> None:
    for height in range(1, 20):
        for width in (1, 5, 6, 7, 19):
            windows = grid.windows(height, width)
            assert grid.count(height, width) == len(windows) > 0
            assert all(w.top + w.height <= height and w.left + w.width <= width for w in windows)


def test_hypotheses_on_windows_alone_have_a_grid() -> None:
    settings = HypothesisSettings(image="windows", window=56, stride=28)
    assert WindowGrid.of(settings) == WindowGrid(window=56, stride=28)
    for image in ("whole", "centre_crop"):
        assert WindowGrid.of(HypothesisSettings(image=image)) is None
