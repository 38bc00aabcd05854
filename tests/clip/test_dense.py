from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from reclip.clip.attention import VARIANTS, attend
from reclip.clip.dense import dense_features, interpolate_positional
from reclip.config.models import Attention
from support.tiny_clip import tiny_clip


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def images(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def last_block_input(clip, x: torch.Tensor) -> torch.Tensor:
    """Return the tokens before the last block, by open_clip's own code (native size)."""
    visual = clip.model.visual
    x = visual._embeds(x)
    for block in visual.transformer.resblocks[:-1]:
        x = block(x)
    return x


def head(clip, v: torch.Tensor) -> torch.Tensor:
    return F.normalize(clip.model.visual.ln_post(v) @ clip.model.visual.proj, dim=-1)


def test_value_path_is_attention_to_oneself(clip):
    """If each token may attend only to itself, open_clip's last block equals our default."""
    x = images(2, 3, 32, 32)
    tokens = last_block_input(clip, x)
    alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
    v = clip.model.visual.transformer.resblocks[-1](tokens, attn_mask=alone)
    z, z_global = dense_features(clip, x)
    assert z_global is None
    torch.testing.assert_close(z.flatten(1, 2), head(clip, v[:, 1:]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("mlp", [False, True])
def test_residual_and_mlp(clip, residual, mlp):
    x = images(1, 3, 32, 32)
    tokens = last_block_input(clip, x)[:, 1:]
    last = clip.model.visual.transformer.resblocks[-1]
    weight, bias = (t.chunk(3)[2] for t in (last.attn.in_proj_weight, last.attn.in_proj_bias))
    v = last.attn.out_proj(last.ln_1(tokens) @ weight.T + bias)
    if residual:
        v = v + tokens
    if mlp:
        v = v + last.mlp(last.ln_2(v))
    z, _ = dense_features(clip, x, residual=residual, mlp=mlp)
    torch.testing.assert_close(z.flatten(1, 2), head(clip, v), rtol=0, atol=1e-5)


def test_global_feature_is_clips(clip):
    x = images(3, 3, 32, 32)
    z, z_global = dense_features(clip, x, with_global=True)
    torch.testing.assert_close(z_global, clip.model.encode_image(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(z, dense_features(clip, x)[0])


def test_any_size_is_padded_with_zeros_at_the_right_and_the_bottom(clip):
    x = images(1, 3, 41, 20)
    padded = torch.zeros(1, 3, 48, 24)
    padded[:, :, :41, :20] = x
    z, z_global = dense_features(clip, x, with_global=True)
    assert z.shape == (1, 6, 3, 12)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(1, 6, 3))
    whole, whole_global = dense_features(clip, padded, with_global=True)
    assert torch.equal(z, whole)
    assert torch.equal(z_global, whole_global)


def test_rows_and_columns_are_not_exchanged(clip):
    """Changing one patch moves its own feature most."""
    x = images(1, 3, 24, 40)
    changed = x.clone()
    changed[:, :, 8:16, 32:40] += 2
    moved = (dense_features(clip, changed)[0] - dense_features(clip, x)[0]).norm(dim=-1)[0]
    assert moved.shape == (3, 5)
    assert divmod(int(moved.argmax()), 5) == (1, 4)


def test_positional_embedding_of_another_grid():
    pe = images(1 + 12, 6)
    assert torch.equal(interpolate_positional(pe, (3, 4), (3, 4)), pe[1:])
    wider = interpolate_positional(pe, (3, 4), (5, 9))
    image = pe[1:].reshape(1, 3, 4, 6).permute(0, 3, 1, 2)
    wanted = F.interpolate(image, (5, 9), mode="bicubic", align_corners=False)
    torch.testing.assert_close(wider.reshape(5, 9, 6), wanted[0].permute(1, 2, 0))


# ---------------------------------------------------------------- later extractors


def plain_weights(kind: str, q, k, grid) -> torch.Tensor:
    """The weights of one head (n, n) of all tokens, from the papers' formulas, token by token."""
    places = [None, *((r, c) for r in range(grid[0]) for c in range(grid[1]))]
    rows = []
    for i, place in enumerate(places):

        def softmax(of, against, place=place, i=i, window=False):
            scores = [float(of[i] @ other) / len(of[i]) ** 0.5 for other in against]
            if window:
                for j, other in enumerate(places):
                    if place and other:
                        d2 = (place[0] - other[0]) ** 2 + (place[1] - other[1]) ** 2
                        scores[j] += math.exp(-d2 / 50)
            total = sum(map(math.exp, scores))
            return torch.tensor([math.exp(s) / total for s in scores], dtype=torch.float64)

        rows.append(
            {
                "vanilla": lambda s=softmax: s(q, k),
                "sclip": lambda s=softmax: s(q, q) + s(k, k),
                "clearclip": lambda s=softmax: s(q, q),
                "kk": lambda s=softmax: s(k, k),
                "naclip": lambda s=softmax: s(k, k, window=True),
            }[kind]()
        )
    return torch.stack(rows)


def plain_attention(attention, normed: torch.Tensor, kind: str, grid) -> torch.Tensor:
    """The output (n, width) of the patches of one image, head by head."""
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    q, k, v = (normed @ w.T + b for w, b in zip(weight.chunk(3), bias.chunk(3), strict=True))
    d = attention.embed_dim // attention.num_heads
    heads = []
    for h in range(attention.num_heads):
        cut = slice(h * d, (h + 1) * d)
        heads.append(plain_weights(kind, q[:, cut], k[:, cut], grid) @ v[:, cut])
    return attention.out_proj(torch.cat(heads, dim=1))[1:]


@pytest.fixture(scope="module")
def exact():
    clip = tiny_clip()
    clip.model.double()
    return clip


def test_every_extractor_of_the_settings_exists():
    assert {"value", *VARIANTS} == set(get_args(Attention))


@pytest.mark.parametrize("kind", VARIANTS)
@pytest.mark.parametrize("size", [(32, 32), (24, 40)], ids=str)
def test_an_extractor_is_its_formula(exact, kind, size):
    attention = exact.model.visual.transformer.resblocks[-1].attn
    grid = size[0] // 8, size[1] // 8
    normed = images(2, 1 + grid[0] * grid[1], attention.embed_dim).double()
    found = attend(attention, normed, kind, grid)
    for one, tokens in zip(found, normed, strict=True):
        wanted = plain_attention(attention, tokens, kind, grid)
        torch.testing.assert_close(one, wanted, rtol=0, atol=1e-10)


def test_the_ordinary_block_is_clips_own(clip):
    x = images(2, 3, 32, 32)
    block = clip.model.visual.transformer.resblocks[-1]
    z, _ = dense_features(clip, x, attention="vanilla")
    v = block(last_block_input(clip, x))[:, 1:]
    torch.testing.assert_close(z.flatten(1, 2), head(clip, v), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_batch_gives_what_its_images_give(clip, kind):
    x = images(3, 3, 41, 20)
    z, vectors = dense_features(clip, x, attention=kind, with_global=True)
    for one, vector, image in zip(z, vectors, x, strict=True):
        alone, alone_vector = dense_features(clip, image[None], attention=kind, with_global=True)
        torch.testing.assert_close(one, alone[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(vector, alone_vector[0], rtol=0, atol=1e-5)


def test_the_image_level_feature_does_not_depend_on_the_extractor(clip):
    x = images(1, 3, 32, 32)
    value = dense_features(clip, x, with_global=True)[1]
    assert torch.equal(dense_features(clip, x, attention="naclip", with_global=True)[1], value)
