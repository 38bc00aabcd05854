"""How the patches look at one another in CLIP's last block: a function for each extractor.

CLIP was trained to describe a whole image, so in its last block every patch gathers what lies
elsewhere. The extractors differ in what a patch looks at there instead. All keep CLIP's weights.
What else they change are settings: `clip.residual` and `clip.mlp`.

To add an extractor, write one function here and add its name to `reclip.config.models.Attention`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from reclip.config.models import Attention

if TYPE_CHECKING:
    from torch.nn import MultiheadAttention

NEAR = 5.0
"""NACLIP: standard deviation of the Gaussian window, in cells."""

Weights = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]
"""From queries and keys (B, heads, 1 + h*w, d), the class token first, and the grid (h, w), to the
weights (B, heads, h*w, 1 + h*w) with which each patch gathers the values of all tokens."""


def _scores(a: Tensor, b: Tensor) -> Tensor:
    """Return scaled products (B, heads, h*w, 1 + h*w) of patches in `a` with all tokens in `b`."""
    return a[..., 1:, :] @ b.transpose(-2, -1) * a.shape[-1] ** -0.5


def vanilla(q: Tensor, k: Tensor, grid: tuple[int, int]) -> Tensor:
    """Look as CLIP was trained to."""
    return _scores(q, k).softmax(-1)


def sclip(q: Tensor, k: Tensor, grid: tuple[int, int]) -> Tensor:
    """Look at tokens of like query, and at tokens of like key (SCLIP). The weights add up to 2."""
    return _scores(q, q).softmax(-1) + _scores(k, k).softmax(-1)


def clearclip(q: Tensor, k: Tensor, grid: tuple[int, int]) -> Tensor:
    """Look at tokens of like query (ClearCLIP, which drops residual and MLP)."""
    return _scores(q, q).softmax(-1)


def kk(q: Tensor, k: Tensor, grid: tuple[int, int]) -> Tensor:
    """Look at tokens of like key (NACLIP without its window)."""
    return _scores(k, k).softmax(-1)


def naclip(q: Tensor, k: Tensor, grid: tuple[int, int]) -> Tensor:
    """Look at tokens of like key, and more at near ones (NACLIP, which drops residual and MLP)."""
    return (_scores(k, k) + _nearness(grid).to(k)).softmax(-1)


def _nearness(grid: tuple[int, int]) -> Tensor:
    """Return exp(-d² / 2σ²) of each patch and each token, (h*w, 1 + h*w).

    d is their distance in cells. The class token has no place and gets 0.
    """
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in grid)
    cells = torch.cartesian_prod(rows, columns).reshape(-1, 2)
    squares = (cells[:, None] - cells).square().sum(-1)
    return F.pad((-squares / (2 * NEAR**2)).exp(), (1, 0))


VARIANTS: dict[Attention, Weights] = {
    "sclip": sclip,
    "clearclip": clearclip,
    "naclip": naclip,
    "kk": kk,
    "vanilla": vanilla,
}
"""The extractors by name; "value" has no weights, because each patch keeps its own value."""


def attend(
    attention: MultiheadAttention, normed: Tensor, kind: Attention, grid: tuple[int, int]
) -> Tensor:
    """Return the output (B, h*w, width) of the attention of the patches on a grid (h, w).

    Args:
        attention: of the last block.
        normed: its input (B, 1 + h*w, width), the class token first.
        kind: "value" gives each patch its own value (MaskCLIP; paper Sec. 3.1); or a name in
            VARIANTS.
    """
    if kind == "value":
        span = slice(-attention.embed_dim, None)  # in_proj holds query, key and value in this order
        weight, bias = attention.in_proj_weight[span], attention.in_proj_bias[span]
        return attention.out_proj(F.linear(normed[:, 1:], weight, bias))
    qkv = F.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    gathered = VARIANTS[kind](q, k, grid) @ v
    return attention.out_proj(gathered.transpose(1, 2).flatten(2))
