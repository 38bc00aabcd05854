"""A tiny CLIP, known to open_clip under its name."""

from __future__ import annotations

import pytest

from support.tiny_clip import in_registry, tiny_model


@pytest.fixture(scope="module")
def tiny_in_registry(tmp_path_factory):
    with in_registry(tmp_path_factory.mktemp("configs")):
        yield


@pytest.fixture(scope="module")
def model(tiny_in_registry):
    return tiny_model()
