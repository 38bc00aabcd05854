"""The model and activation of a weights file are known or asked, never guessed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from reclip.clip.architecture import OPENAI_EXTRAS, architecture
from reclip.clip.checkpoint import Chosen, choose_model
from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.config.models import ClipSettings
from reclip.weights import releases
from support.expanded import expanded_clip, save_expanded

FILE = "weights.pt"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with the shapes of ViT-B-16 that shows no activation."""
    monkeypatch.chdir(tmp_path)
    return save_expanded(tmp_path / FILE, "ViT-B-16")


def known(path: str, model: str, *, quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    release = releases.Release(
        "someone's CLIP", "x.pt", "https://x", file_sha256(path), model, quick
    )
    monkeypatch.setattr(releases, "LAION", [release])


@pytest.mark.parametrize("model", [None, "ViT-B-16"])
def test_where_nothing_shows_the_activation_both_commands_are_named(weights, model) -> None:
    words = (
        "does not show whether .* add `--set clip.model=ViT-B-16-quickgelu` or `--set "
        "clip.model=ViT-B-16 --set clip.activation=gelu`"
    )
    with pytest.raises(ReclipError, match=words):
        choose_model(weights, model, None, "gelu")


@pytest.mark.parametrize(
    ("model", "activation", "chosen", "why"),
    [
        ("ViT-B-16-quickgelu", None, "ViT-B-16-quickgelu", "because the model is named so"),
        ("ViT-B-16-quickgelu", "gelu", "ViT-B-16-quickgelu", "because the model is named so"),
        ("ViT-B-16", "gelu", "ViT-B-16", "GELU .*, because clip.activation is set"),
        (None, "gelu", "ViT-B-16", "GELU .*, because clip.activation is set"),
        (None, "quick_gelu", "ViT-B-16-quickgelu", "QuickGELU .*, because clip.activation is set"),
    ],
)
def test_the_user_says_the_activation(weights, model, activation, chosen, why) -> None:
    found = choose_model(weights, model, activation)
    assert found.model == chosen and re.search(f"^activation: .*{why}", found.said), found


@pytest.mark.parametrize("model", [None, "ViT-B-16", "ViT-B-16-quickgelu"])
def test_a_known_checksum_decides(weights, model, monkeypatch) -> None:
    known(weights, "ViT-B-16", quick=False, monkeypatch=monkeypatch)
    said = (
        "activation: GELU (the weights are someone's CLIP), because the weights are someone's CLIP"
    )
    assert choose_model(weights, model, None) == Chosen("ViT-B-16", "GELU", said)
    known(weights, "ViT-B-16-quickgelu", quick=True, monkeypatch=monkeypatch)
    assert choose_model(weights, model, None).model == "ViT-B-16-quickgelu"


def test_the_layout_of_openais_files_decides(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    extras = {name: torch.tensor(1) for name in OPENAI_EXTRAS}
    path = save_expanded(tmp_path / FILE, "ViT-B-32", **extras)
    found = choose_model(path, None, None, "gelu")
    assert found.model == "ViT-B-32-quickgelu"  # also the model, by its shapes
    assert "GELU in the image tower (clip.activation says so), QuickGELU" in found.said
    assert found.said.endswith("because the file has the layout of OpenAI's own")


def test_a_model_of_one_activation_is_not_asked_about(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_expanded(tmp_path / FILE, "ViT-B-32-256")
    assert choose_model(path, None, None).model == "ViT-B-32-256"


def test_a_file_that_may_want_another_normalisation_is_told(tmp_path, monkeypatch) -> None:
    """LAION's ViT-L/14 of 2B photos; nothing in the file tells it from LAION's others."""
    monkeypatch.chdir(tmp_path)
    path = save_expanded(tmp_path / FILE, "ViT-L-14")
    said = choose_model(path, None, "gelu").said
    assert said.endswith("; if these are the weights laion2b_s32b_b82k, set clip.norm to inception")
    assert "inception" not in choose_model(path, "ViT-L-14-quickgelu", None).said
    known(path, "ViT-L-14", quick=False, monkeypatch=monkeypatch)
    assert "inception" not in choose_model(path, None, None).said


def test_a_file_of_no_clip_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / FILE)
    with pytest.raises(ReclipError, match="fits none of open_clip's plain ViTs"):
        choose_model(FILE, None, None)


def test_weights_of_gelu_under_a_name_of_quickgelu_are_refused() -> None:
    names = expanded_clip("ViT-B-16")
    laion = next(r for r in releases.LAION if r.model == "ViT-B-16")
    words = "LAION's ViT-B-16, which was trained with GELU, .* set clip.model to ViT-B-16"
    with pytest.raises(ReclipError, match=words):
        architecture(ClipSettings(model="ViT-B-16-quickgelu"), names, laion)
    config = architecture(ClipSettings(model="ViT-B-16"), names, laion).config
    assert not config.get("quick_gelu")
