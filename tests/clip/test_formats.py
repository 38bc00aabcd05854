"""File formats of CLIP weights: OpenAI's and open_clip's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reclip.clip.dense import dense_features
from reclip.clip.load import Clip, load_clip
from reclip.config.models import ClipSettings
from support import seeded
from support.tiny_clip import GELU, QUICK, activations, tiny_model

pytestmark = pytest.mark.usefixtures("tiny_in_registry")

EXTRAS = {"input_resolution": 32, "context_length": 16, "vocab_size": 49408}


def openai_precision(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights in float16 except layer norms, as in OpenAI's files."""
    return {name: t if ".ln_" in name else t.half() for name, t in state.items()}


def write(model, kind: str, folder: Path) -> str:
    state = model.state_dict()
    path = folder / f"{kind}.{'safetensors' if kind == 'open_clip_model' else 'pt'}"
    if kind == "open_clip_model":
        save_file(state, path)
    elif kind == "state_dict":
        torch.save(state, path)
    elif kind == "training":
        named = {f"module.{name}": t for name, t in state.items()}
        torch.save({"epoch": 3, "name": "run", "state_dict": named, "optimizer": {}}, path)
    elif kind == "openai_state_dict":
        extras = {name: torch.tensor(number) for name, number in EXTRAS.items()}
        torch.save(openai_precision(state) | extras, path)
    elif kind in ("openai_archive", "traced"):
        archive(kind).save(str(path))
    return str(path)


def archive(kind: str) -> torch.jit.ScriptModule:
    """Return a traced archive; OpenAI's has three numbers as buffers, and weights in float16."""
    model = tiny_model().eval()
    for name, number in EXTRAS.items() if kind == "openai_archive" else ():
        vars(model).pop(name, None)  # open_clip's own, a plain number
        model.register_buffer(name, torch.tensor(number))
    inputs = (torch.zeros(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.long))
    traced = torch.jit.trace(model, inputs, check_trace=False)
    if kind == "openai_archive":
        for name, parameter in traced.named_parameters():
            parameter.data = openai_precision({name: parameter.data})[name]
    return traced


def features(clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(2, 3, 40, 24, generator=torch.Generator().manual_seed(4))
    return dense_features(clip, images)[0], clip.model.encode_text(clip.tokenizer(["a cat", "b"]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind",
    ["open_clip_model", "state_dict", "training", "traced", "openai_state_dict", "openai_archive"],
)
def test_every_format_gives_the_same_features(model, kind, tmp_path, monkeypatch):
    path = write(model, kind, tmp_path)
    monkeypatch.setattr("torch.jit.load", None)  # no code in the file is run
    clip = load_clip(ClipSettings(model="tiny-ViT", checkpoint=path))
    of_openai = kind.startswith("openai")
    assert activations(clip) == (QUICK if of_openai else GELU)
    assert {t.dtype for t in clip.model.state_dict().values()} == {torch.float32}

    state = openai_precision(model.state_dict()) if of_openai else model.state_dict()
    wanted = {name: t.float() for name, t in state.items()}
    reference = tiny_model(quick_gelu=of_openai)
    reference.load_state_dict(wanted)
    wanted_clip = Clip(reference, clip.tokenizer, clip.mean, clip.std)
    for ours, expected in zip(features(clip), features(wanted_clip), strict=True):
        assert torch.equal(ours, expected)


@pytest.fixture(scope="module")
def seeded_state() -> dict[str, torch.Tensor]:
    """ViT-B/16 of the golden tests, in OpenAI's precision."""
    return openai_precision({k: torch.from_numpy(t) for k, t in seeded.clip_state().items()})


def test_vit_b_16_from_a_file_like_openais(seeded_state, tmp_path):
    path = tmp_path / "seeded.pt"
    torch.save(seeded_state | {name: torch.tensor(n) for name, n in EXTRAS.items()}, path)
    clip = load_clip(ClipSettings(model="ViT-B-16", checkpoint=str(path)))
    path.unlink()
    assert (clip.embed_dim, clip.patch_size, clip.grid) == (512, 16, (14, 14))
    assert activations(clip) == QUICK
    for name, tensor in clip.model.state_dict().items():
        assert torch.equal(tensor, seeded_state[name].float()), name
