from __future__ import annotations

import math

import pytest

from reclip.evaluate.location import centre_distance


def test_distance_runs_from_the_centre_to_a_corner() -> None:
    assert centre_distance(29.5, 39.5, (60, 80)) == 0
    assert centre_distance(0, 0, (60, 80)) == pytest.approx(math.hypot(29.5, 39.5) / 50)
    assert centre_distance(29.5, 0, (60, 80)) == pytest.approx(39.5 / 50)
    assert centre_distance(0, 0, (1, 1)) == 0
