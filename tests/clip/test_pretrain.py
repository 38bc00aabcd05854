from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reclip.clip.pretrain import (
    PretrainSettings,
    build_model,
    image_tensor,
    multi_positive_loss,
    pretrain,
    tokenize,
    zero_shot_accuracy,
)

ASSETS = Path(str(files("reclip") / "assets"))
FEW = PretrainSettings(steps=6, close_ups=16, scenes=16, batch=8)


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads((ASSETS / "mini-clip.json").read_text())


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return load_file(ASSETS / "mini-clip.safetensors")


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(FEW, tmp_path / name, seed=seed, threads=1)
    a, b, c = ((tmp_path / n / "mini-clip.safetensors").read_bytes() for n in "abc")
    assert a == b != c
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "mini-clip.safetensors",
        "mini-clip.json",
        "mini-clip.log",
    }


def test_training_moves_used_token_rows_only(tmp_path: Path) -> None:
    card = pretrain(FEW, tmp_path, seed=0, threads=1)
    trained = load_file(tmp_path / "mini-clip.safetensors")["token_embedding.weight"]
    initial = build_model(card["model_cfg"], 0).token_embedding.weight.detach().half()
    moved = (trained != initial).any(1).nonzero().flatten().tolist()
    # Token 0 pads the texts; the causal mask keeps it out of every text feature.
    assert moved == tokenize(tuple(card["class_names"])).unique().tolist()[1:]


def test_loss_is_least_where_each_row_and_column_ranks_its_positives_first() -> None:
    mentioned = torch.tensor([[True, True, False], [False, False, True]])
    right = 20.0 * mentioned
    assert multi_positive_loss(right, mentioned) < multi_positive_loss(-right, mentioned)
    # Two equal positives leave log 2 in the one row that has them, of two rows, in half the loss.
    expected = torch.log(torch.tensor(2.0)) / 4
    torch.testing.assert_close(multi_positive_loss(right, mentioned), expected)


def test_images_are_normalised_as_clip_does() -> None:
    image = np.full((1, 4, 4, 3), 255, np.uint8)
    x = image_tensor(image)
    assert x.shape == (1, 3, 4, 4)
    assert x[0, 0, 0, 0].item() == pytest.approx((1 - 0.48145466) / 0.26862954, rel=1e-5)


def test_packaged_weights_match_the_card(card: dict) -> None:
    path = ASSETS / "mini-clip.safetensors"
    assert path.stat().st_size < 8_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"]


def test_packaged_weights_load_by_open_clip_names(
    card: dict, weights: dict[str, torch.Tensor]
) -> None:
    model = build_model(card["model_cfg"], 0)
    model.load_state_dict(weights)
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())


def test_packaged_weights_are_as_accurate_as_the_card_says(
    card: dict, weights: dict[str, torch.Tensor]
) -> None:
    model = build_model(card["model_cfg"], 0).eval()
    model.load_state_dict(weights)
    measured = zero_shot_accuracy(model, seed=card["seed"] + 1, scenes=100)
    assert measured == pytest.approx(card["zero_shot_accuracy"], abs=0.1)
    assert measured > 0.5  # three classes of twenty are in a scene: chance is 0.15
