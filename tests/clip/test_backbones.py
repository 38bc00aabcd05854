"""CLIP's other backbones: which of open_clip's models are accepted, and that these are CLIP's."""

from __future__ import annotations

from collections.abc import Iterator

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from open_clip.pretrained import list_pretrained_tags_by_model
from open_clip.transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F

from reclip.clip.architecture import architecture
from reclip.clip.dense import dense_features
from reclip.clip.load import Clip, clip_from_state_dict, published
from reclip.clip.shape import clip_shape, is_plain
from reclip.clip.text import ReferenceEncoder, query_embeddings
from reclip.common.errors import ReclipError
from reclip.config.models import ClipSettings
from reclip.data.reading import MEAN_STD
from support.short_clip import seeded_model, short
from support.tiny_clip import GELU, QUICK, activations

ACCEPTED = {
    "ViT-B-16", "ViT-B-16-plus", "ViT-B-16-plus-240", "ViT-B-16-quickgelu", "ViT-B-32",
    "ViT-B-32-256", "ViT-B-32-plus-256", "ViT-B-32-quickgelu", "ViT-H-14", "ViT-H-14-378",
    "ViT-H-14-378-quickgelu", "ViT-H-14-quickgelu", "ViT-H-16", "ViT-L-14", "ViT-L-14-280",
    "ViT-L-14-336", "ViT-L-14-336-quickgelu", "ViT-L-14-quickgelu", "ViT-L-16", "ViT-L-16-320",
    "ViT-M-16", "ViT-M-32", "ViT-M-32-alt", "ViT-S-16", "ViT-S-16-alt", "ViT-S-32", "ViT-S-32-alt",
    "ViT-bigG-14", "ViT-bigG-14-quickgelu", "ViT-e-14", "ViT-g-14",
}  # fmt: skip

KINDS = {
    "ViT-B-16-SigLIP": "custom_text",
    "EVA02-L-14": "custom_text",
    "coca_ViT-L-14": "multimodal_cfg",
    "convnext_base": "timm_model_name",
    "RN50": None,  # a list of layers
    "ViT-L-14-CLIPA": "no_ln_pre",
    "ViT-H-14-CLIPA": "no_causal_mask",
    "ViT-M-16-alt": "ls_init_value",
    "ViT-L-14-worldwide": "hf_tokenizer_name",
    "xlm-roberta-base-ViT-B-32": "hf_model_name",
    "PE-Core-L-14-336": "custom_text",
}
"""Models that are refused: a part of their configs that CLIP's own have not."""


def test_the_plain_models_of_open_clip_are_accepted() -> None:
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    assert {name for name, config in configs.items() if is_plain(config)} >= ACCEPTED


@pytest.mark.parametrize("name", open_clip.list_models())
def test_what_is_accepted_is_clips(name: str) -> None:
    """A model either has all parts that the dense features and the Reference read, or is refused.

    Newer versions of open_clip have more models.
    """
    try:
        with torch.device("meta"):
            config = architecture(ClipSettings(model=name), (), None).config
            model = CLIP(**config).eval()
    except ReclipError as error:
        assert name not in ACCEPTED and "is not a plain CLIP" in str(error)
        with pytest.raises(ReclipError, match="differ from CLIP's ViT"):
            clip_shape(name)
        return
    visual, grid = model.visual, model.visual.grid_size
    assert type(visual) is VisionTransformer
    assert visual.pool_type == "tok" and visual.attn_pool is None and not visual.final_ln_after_pool
    assert isinstance(visual.ln_pre, nn.LayerNorm) and isinstance(visual.patch_dropout, nn.Identity)
    assert visual.conv1.bias is None and grid[0] == grid[1]
    assert visual.positional_embedding.shape == (1 + grid[0] ** 2, visual.conv1.out_channels)
    # CLIP's text: causal attention, read at the largest token id, which is the end token.
    assert model.text_pool_type == "argmax" and model.attn_mask.shape == (77, 77)
    assert (model.vocab_size, model.context_length) == (49408, 77)
    assert isinstance(model.text_projection, nn.Parameter)
    for tower in (visual.transformer, model.transformer):
        for block in tower.resblocks:
            assert isinstance(block.ls_1, nn.Identity) and isinstance(block.ls_2, nn.Identity)
            assert isinstance(block.attn, nn.MultiheadAttention) and block.attn.batch_first
            assert block.attn.in_proj_bias is not None and block.attn.bias_k is None
    shape = clip_shape(name)
    assert shape == (visual.patch_size[0], 77, visual.output_dim)


@pytest.mark.parametrize(("name", "part"), KINDS.items())
def test_other_kinds_of_models_are_refused(name: str, part: str | None) -> None:
    config = open_clip.get_model_config(name)
    if part:
        assert part in {*config, *config["vision_cfg"], *config["text_cfg"]}
    with pytest.raises(ReclipError, match=f"^{name} is not a plain CLIP"):
        architecture(ClipSettings(model=name), (), None)


@pytest.mark.parametrize("key", ["no_ln_pre", "ls_init_value", "patch_dropout", "pool_type"])
def test_a_part_that_changes_the_image_tower_is_refused(key: str) -> None:
    config = open_clip.get_model_config("ViT-L-14")
    assert is_plain(config)
    config["vision_cfg"][key] = 0
    assert not is_plain(config)


def tags() -> list[tuple[str, str]]:
    return [(name, tag) for name in sorted(ACCEPTED) for tag in list_pretrained_tags_by_model(name)]


@pytest.mark.parametrize(("name", "tag"), tags())
def test_each_tag_has_a_normalisation_and_an_activation(name: str, tag: str) -> None:
    """LAION's and DataComp's weights have GELU; OpenAI's, MetaCLIP's and DFN's have QuickGELU.

    Exceptions: LAION's first ViT-B/32, MetaCLIP's `altogether`, DFN's later ViT-L/14.
    """
    norm = "inception" if (name, tag) == ("ViT-L-14", "laion2b_s32b_b82k") else "clip"
    spec = ClipSettings(model=name, pretrained=tag, norm=norm)
    assert published(spec)["mean"] == pytest.approx([v / 255 for v in MEAN_STD[norm][0]], abs=1e-3)
    quick = tag.startswith(("openai", "metaclip", "dfn"))
    quick |= name.startswith("ViT-B-32") and tag.startswith("laion400m")
    quick &= tag not in ("metaclip_altogether", "dfn2b_s39b")
    found = architecture(spec, (), None)
    assert bool(found.config.get("quick_gelu")) == quick, found.activation


# Patch 32 on 7×7, patch 14 on 16×16 and 24×24; heads of 80.
SHAPES = {
    "ViT-B-32": (32, (7, 7), 768, 512, 512),
    "ViT-L-14": (14, (16, 16), 1024, 768, 768),
    "ViT-L-14-336": (14, (24, 24), 1024, 768, 768),
    "ViT-H-14": (14, (16, 16), 1280, 1024, 1024),
}
"""Patch, native grid, width of the image tower, width of the text tower, D."""


@pytest.fixture(scope="module", params=SHAPES)
def clip(request) -> Iterator[tuple[str, Clip]]:
    """A model of real width with two layers in each tower, and its name."""
    name = request.param
    with short(name):
        state = seeded_model(name).state_dict()
        yield name, clip_from_state_dict(ClipSettings(model=name), state)


def test_attributes(clip) -> None:
    name, own = clip
    patch, grid, width, text_width, dim = SHAPES[name]
    assert (own.patch_size, own.grid, own.embed_dim) == (patch, grid, dim)
    assert own.positional_embedding.shape == (1 + grid[0] * grid[1], width)
    assert own.text_width == text_width and clip_shape(name).dim == dim
    heads = own.model.visual.transformer.resblocks[0].attn.num_heads
    assert width // heads == (80 if name == "ViT-H-14" else 64)


def test_dense_features_are_those_of_open_clips_own_blocks(clip) -> None:
    """At the native size: if each token attends only to itself, the last block is our default."""
    _, own = clip
    visual, side = own.model.visual, own.grid[0] * own.patch_size
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first, last = visual.transformer.resblocks
        tokens = first(visual._embeds(x))
        alone = torch.full((tokens.shape[1],) * 2, -torch.inf).fill_diagonal_(0)
        v = last(tokens, attn_mask=alone)[:, 1:]
        wanted = F.normalize(visual.ln_post(v) @ visual.proj, dim=-1)
        z, vector = dense_features(own, x, with_global=True)
        torch.testing.assert_close(z.flatten(1, 2), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(vector, own.model.encode_image(x), rtol=1e-4, atol=1e-5)


def test_patches_look_at_one_another_with_the_heads_of_the_backbone(clip) -> None:
    """As they were trained to, the last block is open_clip's own."""
    _, own = clip
    visual, side = own.model.visual, own.grid[0] * own.patch_size
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        v = visual.transformer(visual._embeds(x))[:, 1:]
        wanted = F.normalize(visual.ln_post(v) @ visual.proj, dim=-1)
        z, _ = dense_features(own, x, attention="vanilla")
    torch.testing.assert_close(z.flatten(1, 2), wanted, rtol=0, atol=1e-5)


def test_any_size_is_padded_to_whole_patches(clip) -> None:
    name, own = clip
    patch = SHAPES[name][0]
    x = torch.randn(1, 3, 100, 130, generator=torch.Generator().manual_seed(0))
    rows, columns = -(-100 // patch), -(-130 // patch)
    padded = F.pad(x, (0, columns * patch - 130, 0, rows * patch - 100))
    with torch.inference_mode():
        z, _ = dense_features(own, x)
        assert z.shape == (1, rows, columns, own.embed_dim)
        assert torch.equal(z, dense_features(own, padded)[0])
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(1, rows, columns))


def test_texts_are_open_clips_and_the_reference_equals_whole_sequences(clip) -> None:
    _, own = clip
    classes, model = [["dog"], ["potted plant"], ["skyscraper"]], own.model
    tokens = own.tokenizer([f"a photo of a {names[0]}." for names in classes])
    with torch.inference_mode():
        wanted = model.encode_text(tokens, normalize=True)
        found = query_embeddings(own, classes, ["a photo of a {}."])
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    # With the words of a prompt as v, the Reference reads what open_clip reads.
    encoder = ReferenceEncoder(own, classes, words="a photo of a")
    with torch.no_grad():
        wanted = model.encode_text(own.tokenizer([f"a photo of a {n[0]}" for n in classes]))
        torch.testing.assert_close(encoder(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "tag", "wanted"),
    [
        ("ViT-L-14", "laion2b_s32b_b82k", GELU),
        ("ViT-L-14", "metaclip_400m", QUICK),
        ("ViT-L-14-quickgelu", "metaclip_fullcc", QUICK),
        ("ViT-B-32", "laion2b_s34b_b79k", GELU),
        ("ViT-B-32", "openai", QUICK),
    ],
)
def test_both_towers_have_the_activation_of_the_tag(model, tag, wanted) -> None:
    with short(model), torch.device("meta"):
        state = CLIP(**open_clip.get_model_config(model)).state_dict()
        found = clip_from_state_dict(ClipSettings(model=model, pretrained=tag), state, "meta")
    assert activations(found) == wanted
