"""`compute.precision`: what `auto` picks and says, and that autocast stays where it belongs."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.models import ComputeSettings
from reclip.device import precision

CPU = torch.device("cpu")


@pytest.fixture
def resolved(monkeypatch, caplog):
    """`resolved(setting, flags)`: the precision on a processor with these, and what was said."""

    def run(setting: str, **flags: bool) -> tuple[str, list[str]]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
        precision.resolve.cache_clear()
        caplog.clear()
        with caplog.at_level(logging.INFO, "reclip.device.precision"):
            found = precision.resolve(setting, CPU)
        return found, [f"{r.levelname} {r.getMessage()}" for r in caplog.records]

    yield run
    precision.resolve.cache_clear()


def test_only_three_values_are_settings() -> None:
    assert validate(ComputeSettings, {}).precision == "float32"
    with pytest.raises(ReclipError, match="precision"):
        validate(ComputeSettings, {"precision": "float16"})


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_auto_is_bfloat16_where_the_processor_has_it(resolved, flag: str) -> None:
    found, said = resolved("auto", **{flag: True})
    assert found == "bfloat16"
    assert len(said) == 1 and "bfloat16" in said[0] and "auto" in said[0]


@pytest.mark.parametrize("flags", [{}, {"avx512_bf16": False, "avx2": True}, {"bf16": True}])
def test_auto_is_float32_elsewhere_and_says_so(resolved, flags: dict[str, bool]) -> None:
    found, (said,) = resolved("auto", **flags)
    assert found == "float32" and "float32" in said


def test_float32_says_nothing(resolved) -> None:
    assert resolved("float32", amx_bf16=True) == ("float32", [])


def test_bfloat16_is_used_where_it_is_emulated_with_a_warning(resolved) -> None:
    found, (said,) = resolved("bfloat16")
    assert found == "bfloat16" and said.startswith("WARNING") and "emulate" in said
    found, (said,) = resolved("bfloat16", amx_bf16=True)
    assert found == "bfloat16" and said.startswith("INFO")


def test_it_is_said_once_a_process(resolved, caplog) -> None:
    resolved("auto", amx_bf16=True)
    caplog.clear()
    assert precision.resolve("auto", CPU) == "bfloat16"
    assert not caplog.records


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_is_asked_without_emulation(monkeypatch, has: bool) -> None:
    asked = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return has

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.inference_mode())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    precision.resolve.cache_clear()
    found = precision.resolve("auto", torch.device("cuda"))
    precision.resolve.cache_clear()
    assert (found, asked) == ("bfloat16" if has else "float32", [False])


def test_the_receipt_names_the_precision_if_it_was_chosen_for_the_user() -> None:
    assert precision.note(ComputeSettings(precision="auto"), "bfloat16") == {
        "precision": "bfloat16"
    }
    assert precision.note(ComputeSettings(precision="bfloat16"), "bfloat16") == {}


def test_float32_changes_no_type() -> None:
    x = torch.ones(2, 2, dtype=torch.float64)
    with precision.autocast("float32", CPU):
        assert (x @ x).dtype == torch.float64
    assert precision.widened(x) is x
    with precision.autocast("bfloat16", CPU):
        assert (x.float() @ x.float()).dtype == torch.bfloat16


def test_only_weights_of_layers_are_rounded() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Conv2d(3, 3, 1))
    precision.round_weights(network, "float32")
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    precision.round_weights(network, "bfloat16")
    types = [p.dtype for p in network.parameters()]
    assert types == [torch.bfloat16] * 2 + [torch.float32] * 2 + [torch.bfloat16] * 2
