"""The student's operations and size: counted on the network itself, whose tensors hold no data.

Any timm backbone may be named in the settings, so that a formula would know only some of them.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from reclip.distill.deeplab import OUTPUT_STRIDE, DeepLabV2


class StudentShape(NamedTuple):
    """Of DeepLabV2 without its head, FLOPs for an image of `crop`² pixels.

    Attributes:
        forward: FLOPs of a prediction.
        train: FLOPs of forward and backward.
        size: bytes of its weights and running statistics.
    """

    crop: int
    forward: float
    train: float
    size: int

    @property
    def cells(self) -> int:
        """Cells of the feature of a crop."""
        return (-(-self.crop // OUTPUT_STRIDE)) ** 2


def student_shape(backbone: str, arguments: dict[str, Any], dim: int, crop: int) -> StudentShape:
    """Raises ReclipError if timm has no such backbone."""
    return _counted(backbone, json.dumps(arguments, sort_keys=True), dim, crop)


@lru_cache
def _counted(backbone: str, arguments: str, dim: int, crop: int) -> StudentShape:
    with torch.device("meta"):
        net = DeepLabV2(backbone, dim, backbone_args=json.loads(arguments))
        image = torch.empty(1, 3, crop, crop)
    forward, train = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with forward, torch.no_grad():
        net(image)
    with train:
        net(image).sum().backward()
    size = sum(t.numel() * t.element_size() for t in net.state_dict().values())
    return StudentShape(crop, forward.get_total_flops(), train.get_total_flops(), size)
