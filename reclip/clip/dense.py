"""Patch features of CLIP's image tower in the joint embedding space (paper Sec. 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from reclip.clip.attention import attend
from reclip.config.models import Attention
from reclip.device.precision import autocast, widened

if TYPE_CHECKING:
    from reclip.clip.load import Clip


def interpolate_positional(
    positional_embedding: Tensor, native_grid: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """Return the positional embedding (h*w, width) of another patch grid (h, w).

    The interpolation is bicubic, with corners not aligned. An equal grid changes nothing.

    Args:
        positional_embedding: (1 + h0*w0, width), the class position first; the result has none.
        native_grid: (h0, w0).
    """
    patches = positional_embedding[1:]
    if tuple(grid) == tuple(native_grid):
        return patches
    image = patches.T.reshape(1, -1, *native_grid)
    image = F.interpolate(image, size=tuple(grid), mode="bicubic", align_corners=False)
    return image.flatten(2)[0].T


def dense_features(
    clip: Clip,
    images: Tensor,
    *,
    attention: Attention = "value",
    residual: bool = True,
    mlp: bool = True,
    with_global: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return features (B, h, w, D) of unit length of every patch, and the global image feature.

    Both are float32, in whichever precision the image tower computes (`Clip.compute_in`).
    images (B, 3, H, W) are normalised and of any size. They are padded with zeros at the right and
    the bottom to whole patches. The global feature is the class-token embedding (B, D), not
    normalised; it is None without `with_global`.

    In the last block, the patches look at one another as `attention` says
    (`reclip.clip.attention`): v = out_proj(A v_proj(ln_1 x)), then + x with `residual`, then
    + mlp(ln_2 v) with `mlp`. ln_post and the joint projection follow. The paper (Sec. 3.1)
    describes v alone, with A the identity. The official code and MaskCLIP add both terms, so both
    are the defaults.
    """
    height, width = images.shape[-2:]
    patch = clip.patch_size
    images = F.pad(images, (0, -width % patch, 0, -height % patch))
    with autocast(clip.precision, images.device):
        found, grid, vectors = _projected(clip, images, attention, residual, mlp, with_global)
    z = F.normalize(widened(found), dim=-1).unflatten(1, grid)
    return z, None if vectors is None else widened(vectors)


def _projected(
    clip: Clip, images: Tensor, attention: Attention, residual: bool, mlp: bool, with_global: bool
) -> tuple[Tensor, tuple[int, int], Tensor | None]:
    """Return projected patches (B, h*w, D), their grid, and the class token's (B, D) or None.

    The arguments are those of `dense_features`; the images are of whole patches.
    """
    visual = clip.model.visual
    x = visual.conv1(images)
    grid = tuple(x.shape[-2:])
    positional = visual.positional_embedding
    tokens = x.flatten(2).transpose(1, 2) + interpolate_positional(positional, clip.grid, grid)
    class_token = (visual.class_embedding + positional[0]).expand(len(x), 1, -1)
    x = visual.ln_pre(torch.cat([class_token.to(tokens.dtype), tokens], dim=1))
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = block(x)
    normed = last.ln_1(x)

    v = attend(last.attn, normed, attention, grid)
    if residual:
        v = v + x[:, 1:]
    if mlp:
        v = v + last.mlp(last.ln_2(v))
    found = visual.ln_post(v) @ visual.proj
    if not with_global:
        return found, grid, None

    # Full attention is needed only for the class token.
    g = x[:, :1] + last.attn(normed[:, :1], normed, normed, need_weights=False)[0]
    g = g + last.mlp(last.ln_2(g))
    return found, grid, visual.ln_post(g[:, 0]) @ visual.proj
