"""Evaluate photos in one pass, against all upsampled logits and three counters: a ratio for each.

    python benchmarks/evaluation.py

Both ways take the same logits and label maps in turns, on one thread, after all their integers were
compared. Twenty classes are on photos of VOC's size that are read at a short side of 336, 150 on
photos of ADE's size that are read as they are; ViT-B/16 has cells of 16 pixels.

Two kinds of logits: like cosines of CLIP (smooth, far from 0 and close to each other), and pure
noise, where many classes are best somewhere. The models give logits whose classes are last in
memory. PyTorch resizes them by another kernel, unless it gets a part of them.

Times are of the processor, so other programs disturb them less.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reclip.data.images import IGNORED
from reclip.data.reading import Frame, Piece, Window
from reclip.evaluate.counts import Counts
from reclip.evaluate.location import centre_distance
from reclip.evaluate.rings import ring_map
from reclip.rectify.class_map import class_map

# Classes, how many are in a label map, and how a photo is read.
CASES = (
    (20, 2, Frame(16, (336, 448), (375, 500))),
    (150, 10, Frame(16, (512, 683), (512, 683))),
)
RINGS, PHOTOS = 8, 7


class ThreeCounters:
    """A confusion matrix, distance bins and rings, each from the maps themselves."""

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.rings = np.zeros((RINGS, 3, classes), np.int64)
        self.objects, self.right, self.all = np.zeros((3, classes, RINGS), np.int64)
        self.map: Tensor | None = None

    def update(self, pred: Tensor, label: np.ndarray) -> None:
        """Add one image."""
        self._add_confusion(pred, torch.as_tensor(label))
        self._add_distances(pred.numpy(), label)
        self._add_rings(pred, torch.as_tensor(label))

    def _add_confusion(self, pred: Tensor, label: Tensor) -> None:
        classes = len(self.confusion)
        check(pred, label, classes)
        flat = (label.int() * classes).add_(pred).masked_fill_(label == IGNORED, classes**2)
        found = torch.bincount(flat.flatten(), minlength=classes**2 + 1)[:-1]
        self.confusion += found.reshape(classes, classes).numpy()

    def _add_distances(self, pred: np.ndarray, label: np.ndarray) -> None:
        check(torch.as_tensor(pred), torch.as_tensor(label), len(self.confusion))
        kept = label != IGNORED
        for k in np.unique(label[kept]):
            region, predicted = label == k, (pred == k) & kept
            pixels = np.count_nonzero(region)
            y, x = (
                np.arange(n) @ region.sum(axis=1 - i) / pixels for i, n in enumerate(label.shape)
            )
            b = min(int(centre_distance(y, x, label.shape) * RINGS), RINGS - 1)
            self.objects[k, b] += 1
            self.right[k, b] += np.count_nonzero(region & predicted)
            self.all[k, b] += np.count_nonzero(region | predicted)

    def _add_rings(self, pred: Tensor, label: Tensor) -> None:
        c = len(self.confusion)
        check(pred, label, c)
        if self.map is None:  # all photos of a case are of one size
            self.map = ring_map(*pred.shape, RINGS, pred.device)
        ring = torch.where(label == IGNORED, RINGS, self.map)
        flat = ring.int().mul_(c).add_(label).mul_(c).add_(pred).flatten()
        found = torch.bincount(flat, minlength=RINGS * c * c)[: RINGS * c * c].view(RINGS, c, c)
        right = found.diagonal(dim1=1, dim2=2)
        self.rings += torch.stack([right, found.sum(1), found.sum(2)], 1).numpy()


def check(pred: Tensor, label: Tensor, classes: int) -> None:
    for ids in (pred, label[label != IGNORED]):
        assert int(ids.max()) < classes and int(ids.min()) >= 0


def noise(generator: torch.Generator, classes: int, grid: tuple[int, int]) -> Tensor:
    return torch.randn(classes, *grid, generator=generator)


def cosines(generator: torch.Generator, classes: int, grid: tuple[int, int]) -> Tensor:
    coarse = torch.randn(1, classes, 5, 7, generator=generator)
    smooth = F.interpolate(coarse, grid, mode="bicubic")[0]
    return 0.2 + 0.02 * smooth + 0.005 * noise(generator, classes, grid)


def label_map(rng: np.random.Generator, classes: int, present: int, frame: Frame) -> np.ndarray:
    """Return blocks of `present` classes, a tenth of them ignored."""
    blocks = rng.choice(rng.choice(classes, present, replace=False), (6, 8)).astype(np.uint8)
    blocks[rng.random(blocks.shape) < 0.1] = IGNORED
    rows, columns = (np.arange(n) * k // n for n, k in zip(frame.size, blocks.shape, strict=True))
    return blocks[rows][:, columns]


def unchanged(logits: Tensor) -> Tensor:
    return logits


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    found = action()
    return found, 1000 * (time.process_time() - start)


def main() -> None:
    torch.set_num_threads(1)
    print("| classes | logits | classes in memory | what | before, ms | after, ms | ratio |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    for classes, present, frame in CASES:
        for kind in (cosines, noise):
            for memory in ("last", "first"):
                times = measure(classes, present, frame, kind, memory)
                for what, pairs in times.items():
                    before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
                    ratio = statistics.median(a / b for a, b in pairs)
                    names = (classes, kind.__name__, memory, what)
                    cells = (*names, f"{before:.1f}", f"{after:.1f}", f"{ratio:.1f}")
                    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def measure(
    classes: int, present: int, frame: Frame, kind: Callable[..., Tensor], memory: str
) -> dict[str, list[tuple[float, float]]]:
    """Return the milliseconds before and after, of each photo; the first one warms up."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    grid = tuple(-(-side // frame.cell) for side in frame.read)
    old, new = ThreeCounters(classes), Counts(classes, RINGS)
    times: dict[str, list[tuple[float, float]]] = {"class map": [], "counting": [], "total": []}
    for photo in range(PHOTOS + 1):
        logits = kind(generator, classes, grid)
        if memory == "last":
            logits = logits.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        pieces = [Piece(Window(0, 0, *frame.read), logits)]
        label = label_map(rng, classes, present, frame)
        # With a refinement, even one that changes nothing, all logits are upsampled.
        slow, before = timed(lambda p=pieces: class_map(p, frame, unchanged))
        fast, after = timed(lambda p=pieces: class_map(p, frame))
        assert torch.equal(slow, fast)
        _, before_counts = timed(lambda m=slow, t=label: old.update(m, t))
        _, after_counts = timed(lambda m=fast, t=label: new.update(m, t))
        if photo:
            times["class map"].append((before, after))
            times["counting"].append((before_counts, after_counts))
            times["total"].append((before + before_counts, after + after_counts))
    assert (old.confusion == new.confusion).all() and (old.rings == new.rings).all()
    assert (old.objects.sum(0) == new.distances.counts).all()
    bins = [np.where(old.all > 0, old.right / np.maximum(old.all, 1), 0).sum(0)]
    bins.append(np.maximum((old.all > 0).sum(0), 1))
    np.testing.assert_array_equal(np.nan_to_num(new.distances.miou_per_bin()), bins[0] / bins[1])
    return times


if __name__ == "__main__":
    main()
