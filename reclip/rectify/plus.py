"""The parts of ReCLIP++, a later bias model by ReCLIP's authors (IJCV 2025; their code).

In ReCLIP the Reference meets the image, and a network reads the position. Here the Reference meets
the position, and a decoder reads features and logits:

- P = a 1x1 convolution of the positional embedding, to the width of the texts;
- B = P W_r^T, the bias, of any sign, and M = M_q - B;
- the logits are D = BN(5x5 convolution of [Z; M]), without an activation.

Query, Reference, loss and training are ReCLIP's (`reclip.rectify.model`, `reclip.rectify.loss`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PositionalTexts(nn.Conv2d):
    """P: maps positional embeddings (1, in_width, h, w) to (1, dim, h, w), which meet W_r.

    Its initial weights are torch's (our choice).
    """

    def __init__(self, in_width: int, dim: int) -> None:
        super().__init__(in_width, dim, 1)
        self.settings = {"in_width": in_width, "dim": dim}


class Decoder(nn.Module):
    """D: maps features and logits to logits, through a 5x5 neighbourhood.

    Batch normalisation is over the cells of all images of a batch, padded ones too (official code).
    The convolution's initial weights are Kaiming's for its outputs, with the gain of a ReLU.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim + classes, classes, 5, padding=2)
        self.norm = GuardedBatchNorm(classes)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)
        self.settings = {"dim": dim, "classes": classes}

    def forward(self, z: Tensor, m: Tensor) -> Tensor:
        """Return D (B, h, w, C) of features z (B, h, w, D) and logits m (B, h, w, C)."""
        x = torch.cat([z, m], dim=-1).permute(0, 3, 1, 2)
        return self.norm(self.conv(x)).permute(0, 2, 3, 1)


class GuardedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose gradients are right however its output is read.

    torch 2.15 on the CPU gives wrong ones, without an error, for a batch of one with a contiguous
    input and a gradient that is channels-last with a batch stride other than its size. Reading
    the output by `flatten(2).transpose(1, 2)` makes such a gradient. A contiguous one is safe.
    """

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        if out.requires_grad:
            out.register_hook(torch.Tensor.contiguous)
        return out
