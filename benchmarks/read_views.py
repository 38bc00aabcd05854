"""Measure how much cheaper a view is when only its cut is resized: a ratio per scale.

    python benchmarks/read_views.py

Both versions take a photo of VOC's size to a crop of 512 at some scales of the paper's range, on
one thread. The plain version resizes the whole photo first; the pixels are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from reclip.data.resize import resize_linear

PHOTO, SHORT, CROP = (375, 500), 512, 512
REPEATS = 15


def seconds(read: Callable[[], np.ndarray]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        read()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), np.uint8)
    print("| scale | whole, ms | cut, ms | ratio |\n|---|---|---|---|")
    for scale in (0.5, 1.0, 1.5, 2.0):
        size = tuple(round(side * SHORT / PHOTO[0] * scale) for side in PHOTO)
        edges = [((side - min(side, CROP)) // 2, min(side, CROP)) for side in size]
        cut = tuple(slice(start, start + length) for start, length in edges)
        whole = seconds(lambda size=size, cut=cut: resize_linear(photo, *size)[cut])
        alone = seconds(lambda size=size, cut=cut: resize_linear(photo, *size, *cut))
        assert (resize_linear(photo, *size)[cut] == resize_linear(photo, *size, *cut)).all()
        print(f"| {scale} | {1000 * whole:.1f} | {1000 * alone:.1f} | {whole / alone:.1f} |")


if __name__ == "__main__":
    main()
