from __future__ import annotations

import torch

from reclip.evaluate.rings import ring_map


def test_a_ring_begins_where_its_distance_does() -> None:
    # The half diagonal of 3 x 4 pixels is 2.5. Offsets of 0.5 and 1.5 and of 0 and 1 give
    # distances of 0.2 and 0.6 in the middle row, 0.447 and 0.721 in the others.
    found = ring_map(3, 4, 5, torch.device("cpu"))
    assert found.tolist() == [[3, 2, 2, 3], [3, 1, 1, 3], [3, 2, 2, 3]]


def test_the_largest_photos_do_not_overflow() -> None:
    rings = ring_map(1, 60_000, 8, torch.device("cpu"))
    assert rings[0, [0, 30_000, -1]].tolist() == [7, 0, 7]
    assert (rings.flip(1) == rings).all()
