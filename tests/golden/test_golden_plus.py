"""ReCLIP++ against numbers of the official code, on seeded weights."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from reclip.clip.dense import dense_features, interpolate_positional
from reclip.clip.load import Clip
from reclip.config.models import RectifySettings
from reclip.data.layouts.class_names import VOC_CLASSES
from reclip.rectify.learn import Batch, build_model, losses
from reclip.rectify.model import BiasModel
from reclip.training.share import Share
from support import seeded
from support.golden_files import DATA
from support.plain_plus import plain_logits, plain_loss

SETTINGS = RectifySettings(model="reclip++", gumbel_scale=100, padding="counted")

NAMES = {
    "text_encoder.prompt_token": "reference.prompt",
    "pe_proj.weight": "positional.weight",
    "pe_proj.bias": "positional.bias",
    "decoder_conv2.weight": "decoder.conv.weight",
    "decoder_conv2.bias": "decoder.conv.bias",
    "decoder_norm2.weight": "decoder.norm.weight",
    "decoder_norm2.bias": "decoder.norm.bias",
}
"""Official names of what learns, and ours."""


@pytest.fixture(scope="module")
def wanted() -> dict:
    return json.loads((DATA / "strong.json").read_text())["2007_001594"]["reclippp"]


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "plus.npz"))


@pytest.fixture(scope="module")
def z(clips, images) -> torch.Tensor:
    return dense_features(clips["head"], images["head"])[0]


def seeded_plus(clip: Clip, w_query: torch.Tensor) -> BiasModel:
    model = build_model(clip, VOC_CLASSES, w_query, SETTINGS)
    weights = {name: torch.from_numpy(t) for name, t in seeded.plus_parts().items()}
    weights["reference.prompt"] = torch.from_numpy(seeded.prompt())
    model.load_state_dict(weights, strict=False)
    assert weights.keys() == dict(model.named_parameters()).keys() == set(NAMES.values())
    return model


def loss_of(model: BiasModel, z: torch.Tensor, classes: list[int]) -> torch.Tensor:
    """Return the loss as the training computes it, but without noise."""
    present = torch.zeros(1, 20, dtype=torch.bool)
    present[0, classes] = True
    batch = Batch(z, torch.ones(z.shape[:3], dtype=torch.bool), present)
    return losses(model, batch, Share(1), SETTINGS)["contrastive"]


def assert_map(ours: torch.Tensor, theirs: np.ndarray, atol: float) -> None:
    """Compare ours (h, w, C) with theirs (C, h, w)."""
    np.testing.assert_allclose(ours.detach().permute(2, 0, 1).numpy(), theirs, rtol=0, atol=atol)


def test_features(z, wanted, stored) -> None:
    assert list(z.shape) == [1, *wanted["grid_hw"], 512]
    ours = z[0].permute(2, 0, 1).flatten()[torch.from_numpy(stored["Z__idx"])]
    np.testing.assert_allclose(ours.numpy(), stored["Z__val"], rtol=0, atol=2e-5)


def test_bias(clips, w_query, wanted, stored) -> None:
    model = seeded_plus(clips["head"], w_query)
    for trained in (model, model.freeze()):
        assert_map(trained.positional_logits(wanted["grid_hw"]), stored["B"], 1e-4)


def test_logits(clips, z, w_query, wanted, stored) -> None:
    model = seeded_plus(clips["head"], w_query).eval()
    bias = model.positional_logits(wanted["grid_hw"])
    assert_map(z[0] @ w_query.T - bias, stored["M"], 1e-4)
    assert_map(model.freeze()(z)[0], stored["D_eval"], 1e-4)
    assert_map(model.train()(z)[0], stored["D_train"], 1e-4)
    running = wanted["bn_running"]
    norm = model.decoder.norm
    assert norm.running_mean.norm().item() == pytest.approx(running["mean_l2"], rel=1e-4)
    assert norm.running_var.mean().item() == pytest.approx(running["var_mean"], rel=1e-4)


def test_loss_and_gradients(clips, z, w_query, wanted, stored) -> None:
    model = seeded_plus(clips["head"], w_query)
    loss = loss_of(model, z, wanted["gt_cls"])
    loss.backward()
    assert loss.item() == pytest.approx(wanted["loss"], rel=1e-3)
    learned = dict(model.named_parameters())
    for official, name in NAMES.items():
        grad, norm = learned[name].grad, wanted["grad_l2"][official]
        if norm < 1e-5:  # a bias before a batch norm: 0 but for rounding
            assert grad.norm() < 1e-5
            continue
        assert grad.norm().item() == pytest.approx(norm, rel=0.02), name
        values = stored[f"grad:{official}__val"]
        ours = grad.flatten()[torch.from_numpy(stored[f"grad:{official}__idx"])].numpy()
        distance = np.linalg.norm(ours - values) / np.linalg.norm(values)
        assert distance < 0.02, (name, distance)


def test_float64_agrees_with_plain_sums(clips, images, w_query, wanted) -> None:
    clip = copy.copy(clips["head"])
    clip.model = copy.deepcopy(clip.model).double()
    z = dense_features(clip, images["head"].double())[0]
    w_query = w_query.double()
    model = seeded_plus(clip, w_query).double()
    weights = dict(model.named_parameters())
    grid = tuple(wanted["grid_hw"])
    places = interpolate_positional(clip.positional_embedding, clip.grid, grid)
    raw = model.reference()
    plain = plain_logits(
        weights, z, places.unflatten(0, grid), w_query, raw / raw.square().sum().sqrt()
    )
    plain_of = plain_loss(plain.d, z, w_query, [wanted["gt_cls"]])
    of_plain = torch.autograd.grad(plain_of, list(weights.values()))

    torch.testing.assert_close(model(z), plain.d, rtol=0, atol=1e-7)
    torch.testing.assert_close(model.positional_logits(grid), plain.bias, rtol=0, atol=1e-7)
    loss = loss_of(model, z, wanted["gt_cls"])
    assert loss.item() == pytest.approx(plain_of.item(), rel=1e-7)
    assert loss.item() == pytest.approx(wanted["loss"], rel=1e-4)
    loss.backward()
    for name, theirs in zip(weights, of_plain, strict=True):
        torch.testing.assert_close(weights[name].grad, theirs, rtol=1e-7, atol=1e-9)
