"""Image-level hypotheses: the classes that an image may hold (paper Sec. 3.4)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.common.tables import read_table, write_table

COLUMNS = ("id", "classes")


def scores_of(features: FeatureCache, split: str, w_query: torch.Tensor) -> torch.Tensor:
    """Return 100 × cosine of each image-level feature and each Query embedding, (N, C).

    Raises ReclipError: a score is not finite, because cached features or embeddings are damaged.
    """
    scores = 100 * F.normalize(features.globals(split), dim=-1) @ w_query.T
    if not scores.isfinite().all():
        row = int(scores.isfinite().all(1).int().argmin())
        raise ReclipError(
            f"The scores of photo '{features.images(split)[row]['id']}' are not finite: the cached "
            f"features or text embeddings are damaged. Run embed-text and cache-features again "
            f"with --force."
        )
    return scores


def hypothesise(scores: torch.Tensor, threshold: float, fallback_k: int) -> torch.Tensor:
    """Return the classes of each image that reach the threshold; if none does, its top K.

    Args:
        scores: (N, C), see `scores_of`.

    Returns:
        bool (N, C), at least one True per row.
    """
    passed = scores >= threshold
    best = scores.topk(min(fallback_k, scores.shape[1]), dim=1).indices
    top = torch.zeros_like(passed).scatter_(1, best, True)
    return torch.where(passed.any(1, keepdim=True), passed, top)


def write_hypotheses(path: Path, ids: list[str], hypotheses: torch.Tensor) -> None:
    """Write a row per image: its id and the indices of its classes."""
    rows = [
        (id, " ".join(str(int(k)) for k in row.nonzero().ravel()))
        for id, row in zip(ids, hypotheses, strict=True)
    ]
    write_table(path, COLUMNS, rows)


def read_hypotheses(path: Path, ids: list[str], num_classes: int) -> torch.Tensor:
    """Return hypotheses bool (N, C) in the order of `ids`.

    Rows are found by id, so their order in the file does not matter.
    Raises ReclipError: an id has no row, or a class index is out of range.
    """
    found = {
        row["id"]: [int(k) for k in row["classes"].split()] for row in read_table(path, COLUMNS)
    }
    hypotheses = torch.zeros(len(ids), num_classes, dtype=torch.bool)
    again = "run its stage again with --force"
    for i, id in enumerate(ids):
        if id not in found:
            raise ReclipError(f"'{path}' has no row for image '{id}': {again}")
        if not all(0 <= k < num_classes for k in found[id]):
            raise ReclipError(
                f"'{path}': image '{id}' has a class outside 0 to {num_classes - 1}: {again}"
            )
        hypotheses[i, found[id]] = True
    return hypotheses
