"""The extractors' features against numbers from their authors' code, on seeded weights."""

from __future__ import annotations

import copy
import hashlib
import json

import numpy as np
import pytest
import torch

from reclip.clip.dense import dense_features
from reclip.config.models import ImageSettings
from reclip.data.reading import resize_image, whole_size
from reclip.data.views import normalise
from support.golden_files import DATA

# The names in the golden files: attention, and whether residual and MLP are kept.
ROWS = {
    "vanilla": ("vanilla", True),
    "sclip": ("sclip", True),
    "sclip_reduced": ("sclip", False),
    "clearclip": ("clearclip", False),
    "clearclip_residual": ("clearclip", True),
    "maskclip_harness": ("value", True),
    "naclip": ("naclip", False),
    "naclip_residual": ("naclip", True),
    "kk": ("kk", False),
}
SIDE = 224


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "extractors.npz"))


@pytest.fixture(scope="module")
def window(photo) -> torch.Tensor:
    """The top left window of CLIP's native size, (1, 3, 224, 224)."""
    facts = json.loads((DATA / "strong.json").read_text())["2007_001594"]["extractors"]
    resized = resize_image(photo, whole_size(*photo.shape[:2], ImageSettings(short_side=336)))
    assert hashlib.sha256(resized.tobytes()).hexdigest() == facts["resized_rgb_u8_sha256"]
    return normalise(resized[:SIDE, :SIDE], "clip")[None]


@torch.inference_mode()
def features(clip, window: torch.Tensor, row: str) -> torch.Tensor:
    attention, both = ROWS[row]
    z, _ = dense_features(clip, window, attention=attention, residual=both, mlp=both)
    return z[0].permute(2, 0, 1)


@pytest.mark.parametrize("row", ROWS)
def test_features_and_query_logits(clips, window, stored, w_query, row):
    z = features(clips["clip"], window, row)
    assert z.shape == (512, 14, 14)
    picked = z.reshape(-1)[torch.from_numpy(stored[f"{row}_Z__idx"]).long()]
    np.testing.assert_allclose(picked, stored[f"{row}_Z__val"], rtol=0, atol=1e-6)
    logits = torch.einsum("dhw,cd->chw", z, w_query)
    np.testing.assert_allclose(logits, stored[f"{row}_query_logits"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("row", ROWS)
def test_without_rounding(clips, window, stored, row):
    """Single precision moves no feature by more than this."""
    exact = copy.copy(clips["clip"])
    exact.model = copy.deepcopy(exact.model).double()
    z, single = features(exact, window.double(), row), features(clips["clip"], window, row)
    torch.testing.assert_close(single.double(), z, rtol=0, atol=1e-6)
