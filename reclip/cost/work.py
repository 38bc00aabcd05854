"""What a job has to do, in amounts that no machine enters."""

from __future__ import annotations

from dataclasses import dataclass, fields

RESIZE_FLOPS = 8
"""Of a bilinearly resized value: four neighbours, each a multiply-add."""


@dataclass(frozen=True)
class Work:
    """Amounts of work; they add up, and times a number is so many times the work.

    Attributes:
        matmul: FLOPs of matrix products.
        conv: FLOPs of convolutions.
        resized: values that bilinear resizing of logits and features makes.
        steps: optimiser steps.
        calls: forward passes outside of training.
        megapixels: pixels of photos and masks resized or coded on the CPU, in millions.
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
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Work)))

    def __mul__(self, times: float) -> Work:
        return Work(*(times * getattr(self, f.name) for f in fields(Work)))

    __rmul__ = __mul__
