"""Floating-point operations of the networks, from their dimensions.

An operation is a multiplication or an addition: FLOPs are 2 × multiply-adds of matrix products and
convolutions. Norms, activations, softmaxes and optimisers are not counted; they are below 1 %.
The text tower is frozen but its input learns: backward is one product for each frozen matrix (the
gradient of its input) and two for each product of attention, whose both sides carry a gradient.
`tests/cost/test_flops.py` holds every formula against PyTorch's own counter on the real modules.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from reclip.clip.shape import ClipShape, Tower


def linear(rows: float, inputs: int, outputs: int) -> float:
    """`rows` vectors times a matrix."""
    return 2.0 * rows * inputs * outputs


def attention(queries: float, keys: float, width: int) -> float:
    """Scores of all heads together, and the sums that they weigh."""
    return 4.0 * queries * keys * width


def _own(tokens: float, tower: Tower) -> float:
    """What a block computes of each token by itself: projections and MLP."""
    width = tower.width
    return linear(tokens, width, 4 * width) + 2 * linear(tokens, width, tower.hidden)


def block(tokens: float, tower: Tower) -> float:
    """Forward of a transformer's block on one sequence."""
    return _own(tokens, tower) + attention(tokens, tokens, tower.width)


def grid(height: int, width: int, patch: int) -> tuple[int, int]:
    """(h, w) in patches of an image in pixels; the last of a row or column may reach over."""
    return -(-height // patch), -(-width // patch)


def _patches(cells: int, clip: ClipShape) -> float:
    return linear(cells, 3 * clip.patch**2, clip.image.width)


def dense_features(clip: ClipShape, cells: int, mlp: bool, with_global: bool = False) -> float:
    """Forward of `reclip.clip.dense.dense_features` on an image of `cells` patches."""
    tower, tokens = clip.image, cells + 1
    total = _patches(cells, clip) + (tower.layers - 1) * block(tokens, tower)
    total += 2 * linear(cells, tower.width, tower.width)  # value and output projection
    total += 2 * linear(cells, tower.width, tower.hidden) if mlp else 0
    total += linear(cells, tower.width, clip.dim)
    if with_global:
        keys_and_values = linear(tokens, tower.width, 2 * tower.width)
        own = 2 * linear(1, tower.width, tower.width) + 2 * linear(1, tower.width, tower.hidden)
        total += keys_and_values + own + attention(1, tokens, tower.width)
        total += linear(1, tower.width, clip.dim)
    return total


def image_embedding(clip: ClipShape) -> float:
    """Forward of CLIP as it is on one image of its own size."""
    cells = (clip.image_size // clip.patch) ** 2
    tower = clip.image
    return (
        _patches(cells, clip)
        + tower.layers * block(cells + 1, tower)
        + linear(1, tower.width, clip.dim)
    )


def text_embedding(clip: ClipShape, tokens: float) -> float:
    """Forward of the text tower on one text of so many tokens."""
    tower = clip.text
    return tower.layers * block(tokens, tower) + linear(1, tower.width, clip.dim)


def reference(clip: ClipShape, classes: int, length: int, slots: int, train: bool = True) -> float:
    """`reclip.clip.text.ReferenceEncoder`: forward, and with `train` backward.

    length: tokens of the prompt, which with the start token are computed once for all classes.
    slots: tokens of each class's own, its end token among them.
    """
    tower, shared, own = clip.text, 1 + length, classes * slots
    frozen = tower.layers * _own(shared + own, tower) + linear(classes, tower.width, clip.dim)
    pairs = attention(shared, shared, tower.width) + attention(own, shared + slots, tower.width)
    both_learn = tower.layers * pairs
    return 2 * frozen + 3 * both_learn if train else frozen + both_learn


def positional_net(
    width: int, hidden: Sequence[int], channels: int, cells: float, train: bool
) -> float:
    """`reclip.rectify.model.PositionalNet`: forward, and with `train` backward.

    Backward is a product for the weights and one for the input, which the first layer has not.
    """
    layers = [
        linear(cells, 9 * inputs, outputs)
        for inputs, outputs in itertools.pairwise((width, *hidden, channels))
    ]
    return 3 * sum(layers) - layers[0] if train else sum(layers)


def contrast(
    dim: int, classes: int, cells: int, backward: bool = True, feature_learns: bool = False
) -> float:
    """Masked pooling of an image's features (D wide), and their comparison with all texts (Eq. 5).

    With `backward` the masks carry a gradient; so does the feature with `feature_learns`.
    """
    pool, compare = linear(cells, dim, classes), linear(classes, dim, classes)
    if not backward:
        return pool + compare
    return (3 if feature_learns else 2) * pool + 2 * compare
