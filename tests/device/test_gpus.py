"""Which GPUs a process may use is known before anything imports torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclip.config.models import ComputeSettings
from reclip.device import gpus, uses_gpu


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of device files, in which a test makes those of GPUs."""
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    return tmp_path


def test_all_gpus_of_a_machine_are_visible_in_their_order(machine: Path) -> None:
    assert gpus.visible() == []
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm", "null"):
        (machine / name).touch()
    # A container may hold the fourth GPU alone: CUDA then calls it the first.
    assert gpus.visible() == ["0", "1"]


@pytest.mark.parametrize(
    ("named", "expected"),
    [("0", ["0"]), ("2,0", ["2", "0"]), (" GPU-8a , MIG-GPU-8a/1/0", ["GPU-8a", "MIG-GPU-8a/1/0"]),
     ("", []), ("-1", []), ("NoDevFiles", []), ("1,-1,0", ["1"])],
)  # fmt: skip
def test_only_named_gpus_are_visible(machine, monkeypatch, named, expected) -> None:
    (machine / "nvidia0").touch()
    monkeypatch.setenv(gpus.VISIBLE, named)
    assert gpus.visible() == expected


@pytest.mark.parametrize(
    ("device", "there", "expected"),
    [("cpu", True, False), ("cuda", False, True), ("cuda:1", True, True),
     ("auto", True, True), ("auto", False, False)],
)  # fmt: skip
def test_a_gpu_is_used_if_named_or_present(machine: Path, device, there, expected) -> None:
    if there:
        (machine / "nvidia0").touch()
    assert uses_gpu(ComputeSettings(device=device)) == expected


@pytest.mark.parametrize(
    ("device", "other", "expected"),
    [("auto", "h100", True), ("auto", "cpu", False), ("cpu", "h100", False), ("cuda", "cpu", True)],
)
def test_jobs_of_another_machine_use_its_gpus(machine: Path, device, other, expected) -> None:
    """The machine that submits jobs to a cluster often has no GPU."""
    assert uses_gpu(ComputeSettings(device=device), other) == expected
