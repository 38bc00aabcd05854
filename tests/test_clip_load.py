from __future__ import annotations

import json
import subprocess
import sys

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from tiny_clip import TINY, tiny_model

from reclip.clip.load import clip_from_state_dict, load_clip
from reclip.config import ClipSettings
from reclip.errors import ReclipError


@pytest.fixture(scope="module", autouse=True)
def tiny_in_registry(tmp_path_factory):
    """open_clip knows the tiny architecture as "tiny-ViT"."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny-ViT.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    open_clip.factory._rescan_model_configs()


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def write(model, kind: str, folder) -> str:
    state = model.state_dict()
    path = folder / ("weights.safetensors" if kind == "safetensors" else "weights.pt")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "state dict":
        torch.save(state, path)
    elif kind == "training checkpoint":
        named = {f"module.{name}": t for name, t in state.items()}
        torch.save({"epoch": 3, "state_dict": named}, path)
    elif kind == "half":
        torch.save({name: t.half() for name, t in state.items()}, path)
    elif kind == "torchscript":
        inputs = (torch.zeros(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.long))
        torch.jit.trace(model.eval(), inputs, check_trace=False).save(str(path))
    return str(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", ["safetensors", "state dict", "training checkpoint", "half", "torchscript"]
)
def test_checkpoint_files(model, kind, tmp_path):
    clip = load_clip(ClipSettings(model="tiny-ViT", checkpoint=write(model, kind, tmp_path)))
    for name, ours in clip.model.state_dict().items():
        wanted = model.state_dict()[name]
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, wanted.half().float() if kind == "half" else wanted)
    gelu = clip.model.visual.transformer.resblocks[0].mlp.gelu
    assert isinstance(gelu, QuickGELU) == (kind == "torchscript")  # OpenAI's own archives


def test_what_a_clip_tells(model):
    clip = clip_from_state_dict(ClipSettings(model="tiny-ViT"), model.state_dict())
    assert (clip.embed_dim, clip.context_length, clip.text_width) == (12, 16, 16)
    assert (clip.patch_size, clip.grid) == (8, (4, 4))
    assert clip.positional_embedding.shape == (17, 32)
    assert clip.logit_scale == pytest.approx(model.logit_scale.exp().item())
    assert clip.mean == pytest.approx((0.481, 0.458, 0.408), abs=1e-3)
    assert not clip.model.training
    assert not any(p.requires_grad for p in clip.model.parameters())
    assert clip.tokenizer(["a"]).shape == (1, 16)


def test_activation_and_epsilon_reach_the_image_blocks_only(model):
    spec = ClipSettings(model="tiny-ViT", activation="quick_gelu", block_ln_eps=1e-6)
    clip = clip_from_state_dict(spec, model.state_dict()).model
    for block in clip.visual.transformer.resblocks:
        assert isinstance(block.mlp.gelu, QuickGELU)
        assert block.ln_1.eps == block.ln_2.eps == 1e-6
    for block in clip.transformer.resblocks:
        assert isinstance(block.mlp.gelu, torch.nn.GELU)
        assert block.ln_1.eps == block.ln_2.eps == 1e-5
    assert clip.visual.ln_pre.eps == clip.visual.ln_post.eps == 1e-5


def test_the_openai_tag_means_quickgelu(model, monkeypatch):
    """OpenAI's weights in another file format still run with the activation they know."""
    tags = {"openai": {"quick_gelu": True, "mean": (0.1,) * 3, "std": (0.2,) * 3}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-ViT", tags)
    clip = clip_from_state_dict(
        ClipSettings(model="tiny-ViT", pretrained="openai"), model.state_dict()
    )
    assert isinstance(clip.model.transformer.resblocks[0].mlp.gelu, QuickGELU)
    assert clip.mean == (0.1,) * 3


def test_missing_file(tmp_path):
    with pytest.raises(ReclipError, match=r"no file of CLIP weights at .*nowhere\.pt"):
        load_clip(ClipSettings(model="tiny-ViT", checkpoint=str(tmp_path / "nowhere.pt")))


def test_another_architecture(tmp_path):
    other = tiny_model(vision_cfg={**TINY["vision_cfg"], "patch_size": 16})
    path = write(other, "safetensors", tmp_path)
    with pytest.raises(ReclipError, match=r"do not fit tiny-ViT: visual\.conv1\.weight is \(32, 3"):
        load_clip(ClipSettings(model="tiny-ViT", checkpoint=path))


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_that_holds_no_weights(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"no weights")
    with pytest.raises(ReclipError, match="cannot be read as CLIP weights"):
        load_clip(ClipSettings(model="tiny-ViT", checkpoint=str(path)))


def test_a_pickled_object_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": subprocess.Popen}, path)
    with pytest.raises(ReclipError, match="cannot be read as CLIP weights"):
        load_clip(ClipSettings(model="tiny-ViT", checkpoint=str(path)))


def test_unknown_models_and_tags(model):
    with pytest.raises(ReclipError, match="no CLIP model 'ViT-Z'"):
        clip_from_state_dict(ClipSettings(model="ViT-Z"), model.state_dict())
    with pytest.raises(ReclipError, match="not a plain CLIP"):
        clip_from_state_dict(ClipSettings(model="ViT-B-16-SigLIP"), model.state_dict())
    with pytest.raises(ReclipError, match="No weights are named for ViT-B-16"):
        load_clip(ClipSettings(model="ViT-B-16"))
    with pytest.raises(ReclipError, match="'open-ai'"):
        load_clip(ClipSettings(model="ViT-B-16", pretrained="open-ai"))


def test_a_failed_download_says_what_to_fetch(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", refuse)
    with pytest.raises(ReclipError, match=r"no route to host.*ViT-B-16\.pt.*clip\.checkpoint"):
        load_clip(ClipSettings(model="ViT-B-16", pretrained="openai"))


def test_mini_clip():
    clip = load_clip(ClipSettings(model="mini-clip"))
    assert clip.model.logit_scale.dtype == torch.float32
    assert clip.positional_embedding.shape[0] == 1 + clip.grid[0] * clip.grid[1]


def test_imports_are_cheap():
    code = (
        "import sys, reclip.clip.prompts, reclip.clip.load;"
        "assert not {'torch', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
