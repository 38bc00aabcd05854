"""Fixtures of the workflow tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.project_copy import Checkout, make_checkout


@pytest.fixture
def checkout(tmp_path: Path, tiny_params: Callable[..., dict]) -> Checkout:
    """The tiny experiment, nothing run yet."""
    return make_checkout(tmp_path, tiny_params())
