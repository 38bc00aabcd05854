"""ReCLIP++ once more, in plain sums over patches: no convolution, no batch norm, no einsum."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 5  # of the decoder's neighbourhood


class Plain(NamedTuple):
    """B (h, w, C); M and D (batch, h, w, C), D by the batch's own statistics."""

    bias: Tensor
    m: Tensor
    d: Tensor


def plain_logits(
    weights: dict[str, Tensor], z: Tensor, places: Tensor, w_query: Tensor, w_reference: Tensor
) -> Plain:
    """Return the logits of features z (batch, h, w, D).

    Args:
        weights: of a ReCLIP++, by their names in a BiasModel.
        places: the positional embedding of each cell (h, w, width).
        w_query, w_reference: (C, D), the latter divided by its matrix norm.
    """
    p = places @ weights["positional.weight"].flatten(1).T + weights["positional.bias"]
    bias = p @ w_reference.T
    m = z @ w_query.T - bias
    read, (height, width) = torch.cat([z, m], dim=-1), z.shape[1:3]
    kernel, d = weights["decoder.conv.weight"], weights["decoder.conv.bias"]
    padded = F.pad(read, (0, 0, *[SIDE // 2] * 4))
    for row in range(SIDE):
        for column in range(SIDE):
            shifted = padded[:, row : row + height, column : column + width]
            d = d + shifted @ kernel[:, :, row, column].T
    cells = d.flatten(0, 2)
    mean = cells.mean(0)
    deviation = ((cells - mean).square().mean(0) + 1e-5).sqrt()
    d = (d - mean) / deviation * weights["decoder.norm.weight"] + weights["decoder.norm.bias"]
    return Plain(bias, m, d)


def plain_loss(d: Tensor, z: Tensor, w_query: Tensor, classes: list[list[int]]) -> Tensor:
    """Return the loss of logits d without noise; classes: the hypotheses of each image."""
    of_images = []
    for logits, features, present in zip(d.flatten(1, 2), z.flatten(1, 2), classes, strict=True):
        soft = (100 * logits).softmax(-1)
        hard = F.one_hot(soft.argmax(-1), len(w_query)).to(soft)
        masks = hard + soft - soft.detach()
        terms = []
        for k in present:
            pooled = (masks[:, k, None] * features).mean(0)
            scores = 100 * pooled @ w_query.T
            terms.append(scores.logsumexp(0) - scores[k])
        of_images.append(sum(terms) / len(terms))
    return sum(of_images) / len(d)
