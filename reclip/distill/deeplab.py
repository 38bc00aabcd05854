"""The student of section 3.5: DeepLabV2 with a segmentation head inherited from the teacher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from reclip.common.errors import ReclipError
from reclip.data.views import resize
from reclip.distill.backbone import create_backbone
from reclip.distill.output_stride import OUTPUT_STRIDE

ASPP_RATES = (6, 12, 18, 24)
"""Dilations of the four branches (DeepLabV2's ASPP-L; official code)."""

HeadKind = Literal["classifier", "query", "query_reference", "query_reference_positional"]
"""The four rows of Table 6, in its order."""


class DeepLabV2(nn.Module):
    """A dilated timm backbone and atrous spatial pyramid pooling, summed over its branches.

    Arguments:
        backbone, backbone_args, pretrained, checkpoint: see `create_backbone`. Official code:
            ResNet-50 v1c, which is timm's `resnet50c`.
        dim: output channels D, those of CLIP's joint space.
        branch_relu: a ReLU after each branch's batch normalisation, as in the official code. Off
            by default, which is our choice: a sum of ReLUs has no negative entry, so that it
            cannot reach CLIP's features, which have both signs, in the feature loss (Eq. 7). The
            official code does not notice, since its feature loss has no gradient.

    Raises ReclipError as `create_backbone` does.
    """

    def __init__(
        self,
        backbone: str,
        dim: int,
        *,
        backbone_args: dict[str, Any] | None = None,
        branch_relu: bool = False,
        pretrained: bool = False,
        checkpoint: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.config = {
            "backbone": backbone,
            "dim": dim,
            "backbone_args": backbone_args or {},
            "branch_relu": branch_relu,
        }
        self.backbone = create_backbone(
            backbone,
            backbone_args or {},
            OUTPUT_STRIDE,
            pretrained=pretrained,
            checkpoint=checkpoint,
        )
        channels = self.backbone.feature_info.channels()[-1]
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, dim, 3, padding=rate, dilation=rate, bias=False),
                nn.BatchNorm2d(dim),
                nn.ReLU() if branch_relu else nn.Identity(),
            )
            for rate in ASPP_RATES
        )
        self.to(memory_format=torch.channels_last)  # the layout that convolutions are fast in

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to features (B, D, ceil(H/8), ceil(W/8)), not normalised."""
        x = self.backbone(images.contiguous(memory_format=torch.channels_last))[-1]
        return sum(_branch(branch, x) for branch in self.branches)


class SegmentationHead(nn.Module):
    """One of the four heads of Table 6; all but `classifier` are fixed.

    A fixed head takes features of unit length and gives M^D = W_q Z - (W_r Z + M_p) with the
    terms that its kind names, on the scale of the teacher's logits. `classifier` is DeepLab's own
    learnable 1x1 convolution on the features as they are.

    Arguments:
        kind: see `HeadKind`.
        classes, dim: C and D.
        w_q: query embeddings (C, D) with unit rows; for the fixed kinds.
        w_r: reference embeddings (C, D) as the teacher subtracts them, after its normalisation;
            for the kinds with a reference.
        positional: the teacher's positional logits M_p on its own grid, (1, h, w), or (C, h, w)
            where it has a map for every class; for the last kind. They are resized to each input.
        logit_scale: what the mask loss multiplies fixed-head logits by; always 1 for
            `classifier`, which learns its own. Paper: silent. Official code: 1, at which the text
            loss, which has no gradient there, outweighs the mask loss by far. Our choice: CLIP's
            own scale, the 1 / tau of Eq. 5.

    Raises ValueError if a tensor that the kind needs is missing.
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
        needed = [
            ("w_q", w_q, not self.learnable),
            ("w_r", w_r, "reference" in kind),
            ("positional", positional, "positional" in kind),
        ]
        missing = [name for name, tensor, wanted in needed if wanted and tensor is None]
        if missing:
            raise ValueError(f"The head {kind!r} needs {' and '.join(missing)}.")
        bias = positional.detach().clone().float() if "positional" in kind else None
        self.register_buffer("positional", bias)
        if self.learnable:
            self.classifier = nn.Conv2d(dim, classes, 1)
            return
        # Z enters linearly, so that query and reference fold into one convolution.
        weight = w_q - w_r if "reference" in kind else w_q
        self.register_buffer("weight", weight.detach().clone().float())

    def forward(self, feature: Tensor) -> Tensor:
        """Features (B, D, h, w), of unit length for a fixed head, to logits (B, C, h, w)."""
        if self.learnable:
            return self.classifier(feature)
        logits = F.conv2d(feature, self.weight[:, :, None, None])
        if self.positional is None:
            return logits
        return logits - resize(self.positional[None], feature.shape[-2:])


class Student(nn.Module):
    """DeepLabV2 and a segmentation head; one safetensors file holds all that rebuilds it."""

    def __init__(self, deeplab: DeepLabV2, head: SegmentationHead) -> None:
        super().__init__()
        self.deeplab = deeplab
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) to logits (B, C, h, w) and unit-length features (B, D, h, w)."""
        feature = self.deeplab(images)
        unit = F.normalize(feature, dim=1)
        return self.head(feature if self.head.learnable else unit), unit

    def save(self, path: Path) -> None:
        """Write weights and configuration; equal students give equal bytes."""
        # A single metadata key: safetensors does not keep the order of several.
        config = json.dumps(
            {"deeplab": self.deeplab.config, "head": self.head.config}, sort_keys=True
        )
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}
        save_file(tensors, path, metadata={"reclip_student": config})

    @classmethod
    def load(cls, path: Path) -> Student:
        """Rebuild a student, on the CPU and in eval mode, from what `save` wrote.

        Raises ReclipError if the file is missing or was not written by `save`.
        """
        try:
            with safe_open(path, framework="pt") as file:
                config = json.loads((file.metadata() or {})["reclip_student"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError) as error:
            raise ReclipError(
                f"{path} is not a saved student ({error!r}): run `reclip distill` to write one."
            ) from error
        deeplab = DeepLabV2(**config["deeplab"])
        # The file holds W_q - W_r already folded, hence a reference of zero.
        weight = tensors.get("head.weight")
        reference = None if weight is None else torch.zeros_like(weight)
        positional = tensors.get("head.positional")
        head = SegmentationHead(**config["head"], w_q=weight, w_r=reference, positional=positional)
        student = cls(deeplab, head)
        student.load_state_dict(tensors)
        return student.eval()


def _branch(branch: nn.Sequential, x: Tensor) -> Tensor:
    """One branch of the pyramid; exact, but cheaper where its rate exceeds the map.

    Then every tap but the middle one reads padding alone, and the convolution is a 1x1.
    """
    conv, *rest = branch
    if conv.dilation[0] < max(x.shape[-2:]):
        return branch(x)
    x = F.conv2d(x, conv.weight[:, :, 1:2, 1:2])
    for layer in rest:
        x = layer(x)
    return x
