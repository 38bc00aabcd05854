"""Image-level hypotheses: which classes an image may hold (paper Sec. 3.4)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional

from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.common.tables import read_table, write_table

COLUMNS = ("id", "classes")


def hypothesise(scores: torch.Tensor, threshold: float, fallback_k: int) -> torch.Tensor:
    """Classes that score at least the threshold; where none does, the top K.

    Args:
        scores: (N, C), 100 × cosine of image-level feature and Query text.

    Returns:
        bool (N, C), at least one True a row.
    """
    passed = scores >= threshold
    top = torch.zeros_like(passed).scatter_(
        1, scores.topk(min(fallback_k, scores.shape[1]), dim=1).indices, True
    )
    return torch.where(passed.any(1, keepdim=True), passed, top)


def write_hypotheses(path: Path, ids: list[str], hypotheses: torch.Tensor) -> None:
    rows = [
        (id, " ".join(str(int(k)) for k in row.nonzero().ravel()))
        for id, row in zip(ids, hypotheses, strict=True)
    ]
    write_table(path, COLUMNS, rows)


def read_hypotheses(path: Path, ids: list[str], num_classes: int) -> torch.Tensor:
    """bool (N, C) in the order of `ids`, looked up by id, never by line.

    Raises ReclipError: an id without a line, or a class index out of range.
    """
    lines = {
        row["id"]: [int(k) for k in row["classes"].split()] for row in read_table(path, COLUMNS)
    }
    hypotheses = torch.zeros(len(ids), num_classes, dtype=torch.bool)
    for i, id in enumerate(ids):
        if id not in lines:
            raise ReclipError(f"'{path}' has no line for image '{id}': make it again")
        if not all(0 <= k < num_classes for k in lines[id]):
            raise ReclipError(f"'{path}': image '{id}' has a class beyond {num_classes - 1}")
        hypotheses[i, lines[id]] = True
    return hypotheses


def scores_of(features: FeatureCache, split: str, w_query: torch.Tensor) -> torch.Tensor:
    """(N, C): 100 × cosine of each photo's image-level feature and each class's Query text."""
    return 100 * functional.normalize(features.globals(split), dim=-1) @ w_query.T
