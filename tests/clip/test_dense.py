from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from reclip.clip.dense import dense_features, interpolate_positional
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
