"""The work of a job, in amounts that do not depend on the machine."""

from __future__ import annotations

from dataclasses import dataclass

RESIZE_FLOPS = 8
"""FLOPs of one bilinearly resized value: four neighbours, each a multiply-add."""


@dataclass(frozen=True)
class Work:
    """Amounts of work, which add up and can be multiplied by a number.

    Attributes:
        matmul: FLOPs of matrix products.
        conv: FLOPs of convolutions.
        resized: output values of bilinear resizing, of logits and features.
        steps: optimiser steps.
        calls: forward passes outside training.
        megapixels: millions of pixels of photos and masks resized, read or written on the CPU.
        read: bytes read from the feature cache.
        written: bytes of the outputs.
    """

    matmul: float = 0.0
    conv: float = 0.0
    resized: float = 0.0
    steps: float = 0.0
    calls: float = 0.0
    megapixels: float = 0.0
    read: float = 0.0
    written: float = 0.0

    @property
    def flops(self) -> float:
        return self.matmul + self.conv + RESIZE_FLOPS * self.resized

    def __add__(self, other: Work) -> Work:
        return Work(*map(sum, zip(vars(self).values(), vars(other).values(), strict=True)))

    def __mul__(self, times: float) -> Work:
        return Work(*(times * amount for amount in vars(self).values()))

    __rmul__ = __mul__
