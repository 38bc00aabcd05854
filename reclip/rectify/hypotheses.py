"""Image-level hypotheses: the classes that an image may hold (paper Sec. 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch.nn import functional as F

from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.common.files import result
from reclip.common.rows import Rows
from reclip.common.tables import write_table

COLUMNS = ("id", "classes")

AGAIN = "run its stage again with --force"


def score_shards(
    features: FeatureCache, split: str, w_query: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield 100 × cosine of each image-level feature and each Query embedding, (n, C) a shard.

    Raises ReclipError: a score is not finite, because cached features or embeddings are damaged.
    """
    first = 0
    for vectors in features.globals(split):
        scores = _scores(vectors, w_query)
        finite = scores.isfinite().all(1)
        if not finite.all():
            raise _not_finite(features, split, first + int(finite.int().argmin()))
        yield scores
        first += len(scores)


def window_scores(
    features: FeatureCache, split: str, w_query: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield the scores of each image's windows, (windows, C); see `score_shards`."""
    for i, vectors in enumerate(features.window_globals(split)):
        scores = _scores(vectors, w_query)
        if not scores.isfinite().all():
            raise _not_finite(features, split, i)
        yield scores


def _scores(vectors: torch.Tensor, w_query: torch.Tensor) -> torch.Tensor:
    return 100 * F.normalize(vectors, dim=-1) @ w_query.T


def _not_finite(features: FeatureCache, split: str, image: int) -> ReclipError:
    return ReclipError(
        f"The scores of photo '{features.ids(split)[image]}' are not finite: the cached features "
        f"or text embeddings are damaged. Run embed-text and cache-features again with --force."
    )


def scores_of(features: FeatureCache, split: str, w_query: torch.Tensor) -> torch.Tensor:
    """Return the scores of all images of a split together, (N, C); see `score_shards`."""
    return torch.cat(list(score_shards(features, split, w_query)))


def usual_scores(features: FeatureCache, w_query: torch.Tensor) -> torch.Tensor:
    """Return the usual score of each class, (C,): the mean over the training images."""
    total, count = torch.zeros(len(w_query), dtype=torch.float64), 0
    for scores in score_shards(features, "train", w_query):
        total += scores.double().sum(0)
        count += len(scores)
    return (total / max(1, count)).float()


def rises(scores: torch.Tensor, usual: torch.Tensor) -> torch.Tensor:
    """Return how far each score rises from its class' usual one to the image's best, (N, C).

    1 is the best class. 0 and less is no more than usual. So scores of any CLIP have one scale, and
    a class that scores high everywhere has to rise, too. Our choice, for photos of one's own
    (`benchmarks/hypotheses.py` compares it with other rules).
    """
    best = scores.amax(1, keepdim=True)
    room = best - usual  # none for a class whose usual score is above the image's best
    risen = (scores - usual) / room.clamp(min=1e-6)
    return torch.where(scores == best, 1.0, risen.where(room > 0, 0.0))


def hypothesise(scores: torch.Tensor, threshold: float, fallback_k: int) -> torch.Tensor:
    """Return the classes of each image that reach the threshold; if none does, its top K.

    Args:
        scores: (N, C), see `score_shards` and `rises`.

    Returns:
        bool (N, C), at least one True per row.
    """
    passed = scores >= threshold
    best = scores.topk(min(fallback_k, scores.shape[1]), dim=1).indices
    top = torch.zeros_like(passed).scatter_(1, best, True)
    return torch.where(passed.any(1, keepdim=True), passed, top)


def winners(scores: torch.Tensor) -> torch.Tensor:
    """Return the classes of an image, bool (C,): each that wins one of its windows (ReCLIP++).

    scores: (windows, C), see `window_scores`.
    """
    won = torch.zeros(scores.shape[1], dtype=torch.bool)
    won[scores.argmax(1)] = True
    return won


def write_hypotheses(path: Path, ids: Iterable[str], hypotheses: Iterable[torch.Tensor]) -> None:
    """Write a row per image: its id and the indices of its classes.

    hypotheses: bool (C,) of each image.
    """
    write_table(
        path,
        COLUMNS,
        (
            (id, " ".join(map(str, row.nonzero().ravel().tolist())))
            for id, row in zip(ids, hypotheses, strict=True)
        ),
    )


def read_hypotheses(path: Path, ids: Sequence[str], num_classes: int) -> torch.Tensor:
    """Return hypotheses bool (N, C) in the order of `ids`.

    Rows are found by id, so their order in the file does not matter.
    Raises ReclipError: an id has no row, or a class index is out of range.
    """
    hypotheses = torch.zeros(len(ids), num_classes, dtype=torch.bool)
    for i, row in enumerate(_rows_of(path, ids)):
        with result(path):
            classes = [int(k) for k in row["classes"].split()]
        if not all(0 <= k < num_classes for k in classes):
            raise ReclipError(
                f"'{path}': image '{row['id']}' has a class outside 0 to {num_classes - 1}: {AGAIN}"
            )
        hypotheses[i, classes] = True
    return hypotheses


def _rows_of(path: Path, ids: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the row of each id. Only rows in another order take memory, to be found by id."""
    rows, places = Rows(path, COLUMNS), None
    following = iter(rows)
    for id in ids:
        row = next(following, None)
        if row is None or row["id"] != id:
            places = places or {known: k for k, known in enumerate(rows.column("id"))}
            if id not in places:
                raise ReclipError(f"'{path}' has no row for image '{id}': {AGAIN}")
            row = rows[places[id]]
        yield row
