"""CLIP in bfloat16: the image tower alone, and features as in float32."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from reclip.clip.dense import dense_features
from reclip.clip.extract import Extractor, centre_crop_embedding
from reclip.clip.text import query_embeddings
from reclip.clip.window_vectors import _embed
from reclip.config.models import Attention, ClipSettings
from support.tiny_clip import tiny_clip

X = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))
SQUARES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def types_of_outputs(network: nn.Module) -> set[torch.dtype]:
    """Return the set to which each later call adds the type of every linear layer's output."""
    found: set[torch.dtype] = set()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _, __, out: found.add(out.dtype))
    return found


@pytest.mark.parametrize("attention", get_args(Attention))
def test_features_are_float32_unit_vectors_near_those_of_float32(attention: Attention) -> None:
    plain, fast = tiny_clip(), tiny_clip().compute_in("bfloat16")
    types = types_of_outputs(fast.model.visual)
    wanted, wanted_vector = dense_features(plain, X, attention=attention, with_global=True)
    z, vector = dense_features(fast, X, attention=attention, with_global=True)
    assert types == {torch.bfloat16}
    assert z.dtype == vector.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(z.shape[:-1]))
    assert not torch.equal(z, wanted)
    assert F.cosine_similarity(z, wanted, dim=-1).min() > 0.99
    assert F.cosine_similarity(vector, wanted_vector, dim=-1).min() > 0.99


@pytest.mark.parametrize("of", ["windows", "centre crops"])
def test_image_embeddings_are_float32_near_those_of_float32(of: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)

    def embed(clip) -> torch.Tensor:
        return _embed(clip, SQUARES) if of == "windows" else centre_crop_embedding(clip, photo)

    fast = tiny_clip().compute_in("bfloat16")
    types = types_of_outputs(fast.model.visual)
    found, wanted = embed(fast), embed(tiny_clip())
    assert types == {torch.bfloat16} and found.dtype == torch.float32
    assert F.cosine_similarity(found, wanted, dim=-1).min() > 0.99


class Products(TorchDispatchMode):
    """Keeps the shape of the second factor of each batch of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.bmm.default:
            self.shapes.append(tuple(args[1].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("of", ["dense features", "embeddings"])
def test_images_of_a_batch_are_computed_as_alone_without_copies_of_weights(of: str) -> None:
    """torch's attention would copy its weights (32, 96) once a token: see `_tokens_first`."""
    fast, images = tiny_clip().compute_in("bfloat16"), SQUARES

    def compute(x: torch.Tensor) -> torch.Tensor:
        if of == "embeddings":
            return fast.encode_image(x)
        return dense_features(fast, x, attention="vanilla")[0]

    with torch.inference_mode():
        with Products() as products:
            both = compute(images)
        alone = torch.cat([compute(image[None]) for image in images])
    assert not [shape for shape in products.shapes if shape[1:] == (32, 96)]
    torch.testing.assert_close(both, alone, rtol=0.02, atol=0.02)


def test_texts_stay_in_float32_to_the_last_bit() -> None:
    fast = tiny_clip().compute_in("bfloat16")
    types = types_of_outputs(fast.model.transformer)
    names, templates = [["cat"], ["dog"]], ["a {}."]
    found = query_embeddings(fast, names, templates)
    assert types == {torch.float32}
    assert torch.equal(found, query_embeddings(tiny_clip(), names, templates))
    assert torch.equal(fast.positional_embedding, tiny_clip().positional_embedding)


def test_float32_is_what_it_was() -> None:
    """The plain version: open_clip's own call, and nothing cast."""
    clip = tiny_clip().compute_in("float32")
    assert {p.dtype for p in clip.model.parameters()} == {torch.float32}
    assert torch.equal(clip.encode_image(SQUARES), tiny_clip().model.encode_image(SQUARES))


def test_the_cache_gets_features_in_its_own_type() -> None:
    fast = tiny_clip().compute_in("bfloat16")
    extractor = Extractor(fast, ClipSettings(cache_dtype="float16"), loaders=0)
    tokens, vectors = extractor(list(X), ["a", "b"], with_global=True)
    assert (tokens.dtype, vectors.dtype) == (np.float16, np.float32)
