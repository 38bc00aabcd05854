"""The student (Sec. 3.5): DeepLabV2 with a segmentation head inherited from the teacher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from reclip.common.errors import ReclipError
from reclip.data.resize_maps import resize
from reclip.device.precision import Precision, autocast, widened
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.backbone import create_backbone
from reclip.weights.finite import not_finite

ASPP_RATES = (6, 12, 18, 24)
"""Dilations of the four branches (DeepLabV2's ASPP-L; official code)."""

SPLIT_CHANNELS = 512
"""Input channels that oneDNN takes at a time in a dilated bfloat16 convolution on the CPU.

With 2,048 at a dilation of 24 it is ten times slower (benchmarks/precision.py).
"""

HeadKind = Literal["classifier", "query", "query_reference", "query_reference_positional"]
"""The rows of Table 6, in order."""


class DeepLabV2(nn.Module):
    """A dilated timm backbone and atrous spatial pyramid pooling, summed over its branches.

    Args:
        backbone, backbone_args: see `create_backbone`. Official code: ResNet-50 v1c, timm's
            `resnet50c`. weights: its `pretrained` or `checkpoint`.
        dim: output channels D, as many as CLIP's joint space has.
        branch_relu: a ReLU after each branch's batch normalisation (official code). Off by
            default (our choice): CLIP's features have both signs, and a sum of ReLUs cannot match
            them in the feature loss (Eq. 7). In the official code that loss has no gradient.

    Attributes:
        precision: of the convolutions. Weights, batch statistics and features are float32.

    Raises ReclipError: see `create_backbone`.
    """

    def __init__(
        self,
        backbone: str,
        dim: int,
        *,
        backbone_args: dict[str, Any] | None = None,
        branch_relu: bool = False,
        **weights: Any,
    ) -> None:
        super().__init__()
        self.precision: Precision = "float32"
        args = backbone_args or {}
        self.config = {
            "backbone": backbone, "dim": dim, "backbone_args": args, "branch_relu": branch_relu
        }  # fmt: skip
        self.backbone = create_backbone(backbone, args, OUTPUT_STRIDE, **weights)
        channels = self.backbone.feature_info.channels()[-1]
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, dim, 3, padding=rate, dilation=rate, bias=False),
                nn.BatchNorm2d(dim),
                nn.ReLU() if branch_relu else nn.Identity(),
            )
            for rate in ASPP_RATES
        )
        self.to(memory_format=torch.channels_last)  # convolutions are faster so

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, D, ceil(H/8), ceil(W/8)), not normalised, of images (B, 3, H, W)."""
        with autocast(self.precision, images.device):
            x = self.backbone(images.contiguous(memory_format=torch.channels_last))[-1]
            return sum(widened(_branch(branch, x)) for branch in self.branches)


class SegmentationHead(nn.Module):
    """One of the four heads of Table 6; all but `classifier` are fixed.

    A fixed head takes unit-length features and gives M^D = W_q Z - (W_r Z + M_p), with the terms
    that its kind names, on the scale of the teacher's logits. `classifier` is DeepLab's learnable
    1x1 convolution; it takes features that are not normalised.

    Args:
        kind: see `HeadKind`.
        classes, dim: C and D.
        w_q: Query embeddings (C, D) with unit rows, for the fixed kinds.
        w_r: the teacher's normalised Reference embeddings (C, D), for the kinds with a reference.
        positional: the teacher's positional logits M_p on its grid, (1, h, w) or (C, h, w), for
            the last kind. They are resized to each input.
        logit_scale: factor on the logits of a fixed head in the mask loss; always 1 for
            `classifier`, which learns its scale. The paper names none. The official code uses 1;
            the text loss, without gradient there, is then far larger than the mask loss. Our
            choice: CLIP's scale, 1 / tau of Eq. 5.

    Raises ReclipError: the kind is unknown. Raises ValueError: a tensor of the kind is missing.
    """

    def __init__(
        self,
        kind: HeadKind,
        classes: int,
        dim: int,
        *,
        w_q: Tensor | None = None,
        w_r: Tensor | None = None,
        positional: Tensor | None = None,
        logit_scale: float = 100.0,
    ) -> None:
        super().__init__()
        if kind not in get_args(HeadKind):
            raise ReclipError(
                f"Unknown segmentation head {kind!r}: choose one of {', '.join(get_args(HeadKind))}"
            )
        self.learnable = kind == "classifier"
        self.logit_scale = 1.0 if self.learnable else logit_scale
        self.config = {
            "kind": kind, "classes": classes, "dim": dim, "logit_scale": self.logit_scale
        }  # fmt: skip
        tensors = {"w_q": w_q, "w_r": w_r, "positional": positional}
        parts = zip(("query", "reference", "positional"), tensors, strict=True)
        if missing := [name for part, name in parts if part in kind and tensors[name] is None]:
            raise ValueError(f"The head {kind!r} needs {' and '.join(missing)}.")
        bias = positional.detach().clone().float() if "positional" in kind else None
        self.register_buffer("positional", bias)
        if self.learnable:
            self.classifier = nn.Conv2d(dim, classes, 1)
            return
        # The logits are linear in Z, so query and reference fold into one convolution.
        weight = w_q - w_r if "reference" in kind else w_q
        self.register_buffer("weight", weight.detach().clone().float())

    def forward(self, feature: Tensor) -> Tensor:
        """Return logits (B, C, h, w) of features (B, D, h, w), of unit length for a fixed head."""
        if self.learnable:
            return self.classifier(feature)
        logits = F.conv2d(feature, self.weight[:, :, None, None])
        if self.positional is None:
            return logits
        return logits - resize(self.positional[None], feature.shape[-2:])


class Student(nn.Module):
    """DeepLabV2 and a segmentation head; one safetensors file rebuilds it."""

    def __init__(self, deeplab: DeepLabV2, head: SegmentationHead) -> None:
        super().__init__()
        self.deeplab = deeplab
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, C, h, w) and unit-length features (B, D, h, w) of images."""
        feature = self.deeplab(images)
        unit = F.normalize(feature, dim=1)
        return self.head(feature if self.head.learnable else unit), unit

    def save(self, path: Path) -> None:
        """Write weights and configuration; equal students give equal bytes."""
        # One metadata key: safetensors writes several in no fixed order.
        config = json.dumps(
            {"deeplab": self.deeplab.config, "head": self.head.config}, sort_keys=True
        )
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}
        save_file(tensors, path, metadata={"reclip_student": config})

    @classmethod
    def load(cls, path: Path) -> Student:
        """Return the student that `save` wrote, on the CPU and in eval mode.

        Raises ReclipError: the file is missing, damaged or not written by `save`.
        """
        try:
            with safe_open(path, framework="pt") as file:
                config = json.loads((file.metadata() or {})["reclip_student"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError) as error:
            raise ReclipError(
                f"{path} is not a saved student ({error!r}): run `reclip distill` to write one."
            ) from error
        if trouble := not_finite(tensors):
            raise ReclipError(
                f"{path} holds {trouble}: its training diverged, or the file is damaged. Train the "
                f"student again."
            )
        deeplab = DeepLabV2(**config["deeplab"])
        # The file holds W_q - W_r as one weight, so the reference here is zero.
        weight = tensors.get("head.weight")
        reference = None if weight is None else torch.zeros_like(weight)
        positional = tensors.get("head.positional")
        head = SegmentationHead(**config["head"], w_q=weight, w_r=reference, positional=positional)
        student = cls(deeplab, head)
        student.load_state_dict(tensors)
        return student.eval()


def _branch(branch: nn.Sequential, x: Tensor) -> Tensor:
    """Return `branch(x)`, computed faster if the dilation exceeds the map.

    Then all taps but the middle one read only padding, so a 1x1 convolution is exact.
    """
    conv, *rest = branch
    if conv.dilation[0] >= max(x.shape[-2:]):
        x = F.conv2d(x, conv.weight[:, :, 1:2, 1:2])
    elif x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.shape[1] > SPLIT_CHANNELS:
        x = _in_parts(conv, x)
    else:
        x = conv(x)
    for layer in rest:
        x = layer(x)
    return x


def _in_parts(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return `conv(x)` in float32, as a sum over parts of the input channels."""
    parts = zip(x.split(SPLIT_CHANNELS, 1), conv.weight.split(SPLIT_CHANNELS, 1), strict=True)
    return sum(
        F.conv2d(part, weight, padding=conv.padding, dilation=conv.dilation).float()
        for part, weight in parts
    )
