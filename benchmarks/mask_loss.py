"""The mask loss of the student, forward and backward: classes last in memory, against first.

    python benchmarks/mask_loss.py

Compares `reclip.distill.losses.mask_loss` with the plain cross-entropy of resized logits, in turns,
at the sizes of `mini` (16 views of 72 pixels) on one thread. Both give the same loss and gradient.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from reclip.data.images import IGNORED
from reclip.data.resize_maps import resize
from reclip.distill.losses import mask_loss

CLASSES, IMAGES, CELLS, PIXELS, ROUNDS = (20, 42), 16, 9, 72, 15


def plain(logits: Tensor, labels: Tensor) -> Tensor:
    """Return Eq. 6 as it is written."""
    grown = resize(logits, labels.shape[-2:])
    return F.cross_entropy(grown, labels, ignore_index=IGNORED)


def run(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> tuple:
    """Return the loss, its gradient, and the milliseconds of both."""
    own = logits.clone().requires_grad_()
    start = time.perf_counter()
    value = loss(own, labels)
    value.backward()
    return value.item(), own.grad, 1000 * (time.perf_counter() - start)


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    print("| classes | first | last | ratio |")
    print("| --- | --- | --- | --- |")
    for classes in CLASSES:
        logits = torch.randn(IMAGES, classes, CELLS, CELLS, generator=generator)
        labels = torch.randint(classes, (IMAGES, PIXELS, PIXELS), generator=generator)
        labels[:, :10] = IGNORED
        slow, fast = run(plain, logits, labels), run(mask_loss, logits, labels)
        torch.testing.assert_close(slow[0], fast[0], rtol=1e-5, atol=0)
        torch.testing.assert_close(slow[1], fast[1])
        times = [
            (run(plain, logits, labels)[2], run(mask_loss, logits, labels)[2])
            for _ in range(ROUNDS)
        ]
        first, last = (statistics.median(t) for t in zip(*times, strict=True))
        print(f"| {classes} | {first:.1f} ms | {last:.1f} ms | {first / last:.1f} |")


if __name__ == "__main__":
    main()
