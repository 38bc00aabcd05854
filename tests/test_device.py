"""Whether jobs use a GPU is known before they start."""

from __future__ import annotations

import pytest

from reclip import device as devices
from reclip.config.models import ComputeSettings


@pytest.mark.parametrize(
    ("device", "there", "expected"),
    [("cpu", True, False), ("cuda", False, True), ("cuda:1", True, True),
     ("auto", True, True), ("auto", False, False)],
)  # fmt: skip
def test_a_gpu_is_used_if_named_or_present(tmp_path, monkeypatch, device, there, expected) -> None:
    if there:
        (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(devices, "NVIDIA", tmp_path / "nvidia0")
    assert devices.uses_gpu(ComputeSettings(device=device)) == expected
