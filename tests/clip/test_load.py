from __future__ import annotations

import re
import subprocess
import sys

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file

from reclip.clip.dense import dense_features
from reclip.clip.load import clip_from_state_dict, load_clip
from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.config.models import ClipSettings
from reclip.data.reading import MEAN_STD
from reclip.weights import releases
from support.tiny_clip import GELU, QUICK, TINY, activations, tiny_model

pytestmark = pytest.mark.usefixtures("tiny_in_registry")


def shapes(name: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return CLIP(**open_clip.get_model_config(name)).state_dict()


@pytest.mark.parametrize(
    ("name", "dim", "patch"),
    [
        ("ViT-B-16", 512, 16),
        ("ViT-B-32", 512, 32),
        ("ViT-L-14", 768, 14),
        ("ViT-L-14-336", 768, 14),
    ],
)
def test_openais_vits(name, dim, patch):
    """Only the shapes are computed, so it takes no memory or time."""
    with torch.device("meta"):
        clip = clip_from_state_dict(ClipSettings(model=name), shapes(name), device="meta")
        z, _ = dense_features(clip, torch.empty(1, 3, 100, 333))
    assert (clip.embed_dim, clip.patch_size) == (dim, patch)
    assert z.shape == (1, -(-100 // patch), -(-333 // patch), dim)


def test_attributes_of_a_clip(model):
    clip = clip_from_state_dict(ClipSettings(model="tiny-ViT"), model.state_dict())
    assert (clip.embed_dim, clip.context_length, clip.text_width) == (12, 16, 16)
    assert (clip.patch_size, clip.grid) == (8, (4, 4))
    assert clip.positional_embedding.shape == (17, 32)
    assert clip.logit_scale == pytest.approx(model.logit_scale.exp().item())
    assert clip.mean == pytest.approx((0.481, 0.458, 0.408), abs=1e-3)
    assert not clip.model.training
    assert not any(p.requires_grad for p in clip.model.parameters())
    assert clip.tokenizer(["a"]).shape == (1, 16)


def test_epsilon_reaches_the_image_blocks_only(model):
    spec = ClipSettings(model="tiny-ViT", block_ln_eps=1e-6)
    clip = clip_from_state_dict(spec, model.state_dict()).model
    assert {b.ln_1.eps for b in clip.visual.transformer.resblocks} == {1e-6}
    assert {b.ln_2.eps for b in clip.visual.transformer.resblocks} == {1e-6}
    assert {b.ln_1.eps for b in clip.transformer.resblocks} == {1e-5}
    assert clip.visual.ln_pre.eps == clip.visual.ln_post.eps == 1e-5


OPENAIS = {"openai": {"quick_gelu": True, "mean": (0.1,) * 3, "std": (0.2,) * 3}}


@pytest.mark.parametrize(
    ("settings", "wanted", "why"),
    [
        ({}, GELU, r"GELU \(clip.model is tiny-ViT\)"),
        ({"activation": "quick_gelu"}, QUICK, r"QuickGELU \(clip.activation says so\)"),
        ({"pretrained": "openai"}, QUICK, r"QuickGELU \(clip.pretrained is openai\)"),
        ({"activation": "gelu"}, GELU, r"GELU in the image tower .* GELU .* in the text tower"),
        (
            {"activation": "gelu", "pretrained": "openai"},
            {("image", torch.nn.GELU), ("text", QuickGELU)},  # as the official code has it
            r"GELU in the image tower .* QuickGELU \(clip.pretrained is openai\) in the text",
        ),
    ],
)
def test_activation(model, monkeypatch, caplog, settings, wanted, why):
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-ViT", OPENAIS)
    caplog.set_level("INFO")
    clip = clip_from_state_dict(ClipSettings(model="tiny-ViT", **settings), model.state_dict())
    assert activations(clip) == wanted
    assert re.search(f"CLIP activation: {why}", caplog.text)
    assert clip.mean == ((0.1,) * 3 if "pretrained" in settings else clip.mean)


@pytest.fixture
def weights(model, tmp_path) -> str:
    """A file with the weights of the tiny model."""
    path = str(tmp_path / "weights.safetensors")
    save_file(model.state_dict(), path)
    return path


def of_norm(norm: str) -> dict[str, object]:
    """Return what open_clip knows of a tag whose weights expect a normalisation."""
    mean, std = (tuple(value / 255 for value in values) for values in MEAN_STD[norm])
    return {"mean": mean, "std": std}


@pytest.mark.parametrize(
    ("wanted", "norm", "fix"),
    [
        ("clip", "clip", None),
        ("clip", "imagenet", None),  # the official code
        ("clip", "inception", r"\(0\.48.* but clip\.norm is inception\. Set clip\.norm to clip"),
        ("inception", "inception", None),
        ("inception", "clip", r"tag of tiny-ViT expect .* \(0\.5, 0.* Set clip\.norm to inception"),
        ("inception", "imagenet", r"but clip\.norm is imagenet\. Set clip\.norm to inception"),
        ("imagenet", "imagenet", None),
        ("imagenet", "clip", r"Set clip\.norm to imagenet"),
        (
            None,
            "clip",
            r"mean \(0\.1, .* reclip cannot give .* set clip\.pretrained to another tag",
        ),
        (None, "imagenet", "reclip cannot give them such photos"),
    ],
)
def test_photos_are_normalised_as_the_tag_expects(weights, monkeypatch, wanted, norm, fix):
    """Dense features are of photos normalised as `clip.norm` says, centre crops as the tag does."""
    known = {"tag": OPENAIS["openai"] if wanted is None else of_norm(wanted)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-ViT", known)
    spec = ClipSettings(model="tiny-ViT", pretrained="tag", norm=norm)
    downloads = []

    def download(tag, **_):
        downloads.append(tag)
        return weights

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", download)
    if fix is None:
        assert load_clip(spec).mean == known["tag"]["mean"]
        return
    with pytest.raises(ReclipError, match=fix):
        load_clip(spec)
    assert not downloads


def test_a_file_of_weights_expects_what_the_user_says(weights, monkeypatch):
    spec = ClipSettings(model="tiny-ViT", checkpoint=weights)
    means = {
        norm: load_clip(spec.model_copy(update={"norm": norm})).mean
        for norm in ("clip", "imagenet", "inception")
    }
    assert means["clip"] == means["imagenet"] == pytest.approx((0.481, 0.458, 0.408), abs=1e-3)
    assert means["inception"] == (0.5, 0.5, 0.5)
    # Of a published file it is known.
    release = releases.Release("LAION's tiny-ViT", "x.pt", "https://x", file_sha256(weights))
    monkeypatch.setattr(releases, "LAION", [release])
    with pytest.raises(ReclipError, match=r"weights\.safetensors of tiny-ViT expect .* to clip\."):
        load_clip(spec.model_copy(update={"norm": "inception"}))
    with pytest.raises(ReclipError, match=r"weights mini-clip expect .* Set clip\.norm to clip"):
        load_clip(ClipSettings(model="mini-clip", norm="inception"))


def test_a_known_sha256_means_quickgelu(model, tmp_path, monkeypatch, caplog):
    path = str(tmp_path / "weights.safetensors")
    save_file(model.state_dict(), path)
    sha256 = file_sha256(path)
    url = "https://example.org/tiny.pt"
    known = releases.Release("OpenAI's tiny-ViT", "tiny.pt", url, sha256, quick_gelu=True)
    spec = ClipSettings(model="tiny-ViT", checkpoint=path)
    caplog.set_level("INFO")
    assert activations(load_clip(spec)) == GELU
    assert f"CLIP weights: {path}, sha256 {sha256}, not a published file we know" in caplog.text
    assert "for OpenAI's weights" in caplog.text
    monkeypatch.setitem(releases.OPENAI, "tiny-ViT", known)
    assert activations(load_clip(spec)) == QUICK
    assert f"sha256 {sha256}, OpenAI's tiny-ViT" in caplog.text
    assert "QuickGELU (the weights are OpenAI's tiny-ViT)" in caplog.text


def test_missing_files_say_what_to_download(tmp_path):
    spec = ClipSettings(model="ViT-B-16-quickgelu", checkpoint=str(tmp_path / "nowhere.pt"))
    wanted = r"no file '.*nowhere\.pt': download https://\S+/5806e77c\S+/ViT-B-16\.pt and put it"
    with pytest.raises(ReclipError, match=wanted):
        load_clip(spec)
    with pytest.raises(ReclipError, match=r"nowhere\.pt': put the weights there"):
        load_clip(ClipSettings(model="tiny-ViT", checkpoint=spec.checkpoint))


def test_a_cut_download_is_named(model, tmp_path):
    path = tmp_path / "ViT-B-16.pt"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ReclipError, match=r"named like OpenAI's ViT-B-16, but its sha256 .* cut"):
        load_clip(ClipSettings(model="ViT-B-16", checkpoint=str(path)))


def test_another_architecture_names_the_model_that_fits(model, tmp_path):
    fitting = (
        r"\(visual.conv1.weight is \(768, 3, 32, 32\) there.*shapes are those of ViT-B-32\. Corr"
    )
    with torch.device("meta"), pytest.raises(ReclipError, match=fitting):
        clip_from_state_dict(ClipSettings(model="ViT-B-16"), shapes("ViT-B-32"))
    unknown = tiny_model(vision_cfg={**TINY["vision_cfg"], "patch_size": 16})
    path = str(tmp_path / "weights.safetensors")
    save_file(unknown.state_dict(), path)
    with pytest.raises(ReclipError, match=r"safetensors' does not fit tiny-ViT .*\)\. Correct"):
        load_clip(ClipSettings(model="tiny-ViT", checkpoint=path))
    cut = {k: t for k, t in model.state_dict().items() if not k.startswith("ln_final")}
    with pytest.raises(ReclipError, match=r"ln_final.bias is absent there.*that differ: 2"):
        clip_from_state_dict(ClipSettings(model="tiny-ViT"), cut)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["visual.layer1.0.conv1.weight", "visual.conv1.weight"], "image tower is a ResNet"),
        (["vision_model.embeddings.class_embedding"], "Hugging Face's transformers"),
        (["conv1.weight", "fc.weight"], "no visual.conv1.weight among 2 tensors"),
    ],
)
def test_weights_of_something_else(names, kind):
    with pytest.raises(ReclipError, match=kind):
        clip_from_state_dict(ClipSettings(model="tiny-ViT"), dict.fromkeys(names, torch.zeros(1)))


def test_unknown_models_and_tags(model):
    with pytest.raises(ReclipError, match="no CLIP model 'ViT-Z'"):
        clip_from_state_dict(ClipSettings(model="ViT-Z"), model.state_dict())
    with torch.device("meta"):
        for name in ("ViT-B-16-SigLIP", "xlm-roberta-base-ViT-B-32", "RN50"):
            with pytest.raises(ReclipError, match="not a plain CLIP"):
                clip_from_state_dict(ClipSettings(model=name), model.state_dict())
    with pytest.raises(ReclipError, match="No weights are named for ViT-B-16"):
        load_clip(ClipSettings(model="ViT-B-16"))


@pytest.mark.parametrize(
    ("model", "tag", "fix"),
    [
        ("ViT-B-16", "open-ai", r"'open-ai'.* a tag that open_clip knows for it \(openai\), or"),
        ("ViT-L-14", "xyz", r"knows for it \(openai, laion400m_e31, laion400m_e32, and \d+ more\)"),
        (
            "ViT-B-16-quickgelu",
            "laion2b_s34b_b88k",
            "of ViT-B-16 with GELU: set clip.model",
        ),
        ("ViT-S-16", "openai", "open_clip knows none for it: set clip.model to another"),
    ],
)
def test_a_tag_that_the_model_has_not(model, tag, fix):
    with pytest.raises(ReclipError, match=fix):
        load_clip(ClipSettings(model=model, pretrained=tag))


def test_names_of_other_places_are_no_models(model):
    """open_clip would ask a server for them."""
    for name in ("hf-hub:laion/CLIP-ViT-B-32", "local-dir:."):
        with pytest.raises(ReclipError, match="There is no CLIP model"):
            clip_from_state_dict(ClipSettings(model=name), model.state_dict())


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
