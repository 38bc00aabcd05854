"""Fixtures of the golden tests: a seeded ViT-B/16, the official numbers and one VOC photo."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from reclip.clip.load import Clip, clip_from_state_dict
from reclip.config.models import ClipSettings, ImageSettings
from reclip.data.reading import resize_image, whole_size
from reclip.data.views import normalise
from support import seeded
from support.golden_files import DATA
from support.needs import NO_VOC, VOC

# "head": the official code as released last; "r0": its first version, of the CVPR paper.
SPECS = {
    "head": ClipSettings(model="ViT-B-16-quickgelu", block_ln_eps=1e-6),
    "r0": ClipSettings(model="ViT-B-16-quickgelu", activation="gelu", block_ln_eps=1e-6),
    "clip": ClipSettings(model="ViT-B-16-quickgelu"),
}


@pytest.fixture(scope="session")
def expected() -> dict:
    return json.loads((DATA / "expected.json").read_text())


@pytest.fixture(scope="session")
def arrays() -> dict[str, dict[str, np.ndarray]]:
    return {name: dict(np.load(DATA / f"{name}.npz")) for name in ("text", "head", "r0")}


@pytest.fixture(scope="session")
def w_query(arrays) -> torch.Tensor:
    return torch.from_numpy(arrays["text"]["query_weights"])


@pytest.fixture(scope="session")
def clips() -> dict[str, Clip]:
    """The seeded CLIP under each recipe; the three share their tensors."""
    state = {name: torch.from_numpy(t) for name, t in seeded.clip_state().items()}
    out = {name: clip_from_state_dict(spec, state) for name, spec in SPECS.items()}
    shared = out["head"].model.state_dict()
    for clip in out.values():
        clip.model.load_state_dict(shared, assign=True)
        clip.model.requires_grad_(False)
    return out


@pytest.fixture(scope="session")
def photo(expected) -> np.ndarray:
    """RGB uint8 (333, 500, 3)."""
    if not VOC.exists():  # a mark would skip the tests that read no photo, too
        pytest.skip(NO_VOC)
    member = f"VOCdevkit/VOC2012/JPEGImages/{expected['photo']['id']}.jpg"
    with tarfile.open(VOC) as archive:
        data = archive.extractfile(member).read()
    assert hashlib.sha256(data).hexdigest() == expected["photo"]["jpeg_sha256"]
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="session")
def images(photo, expected) -> dict[str, torch.Tensor]:
    """The photo as each recipe's evaluation sees it, (1, 3, H, W), by the code that stages use."""
    out = {}
    for recipe, norm in (("head", "clip"), ("r0", "imagenet")):
        e = expected[recipe]
        settings = ImageSettings(short_side=min(e["size"]))
        resized = resize_image(photo, whole_size(*photo.shape[:2], settings))
        assert hashlib.sha256(resized.tobytes()).hexdigest() == e["resized_rgb_u8_sha256"]
        out[recipe] = normalise(resized, norm)[None]
    return out
