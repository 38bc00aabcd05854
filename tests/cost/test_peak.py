"""Memory that is measured on the meta device, against arithmetic and real tensors."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from reclip.cost.peak import live_tensors, peak
from reclip.data.resize_maps import resize
from reclip.distill.deeplab import DeepLabV2

MEGABYTE = 2**20


def of(megabytes: int) -> torch.Tensor:
    return torch.empty(megabytes * MEGABYTE // 4, device="meta")


def test_tensors_count_while_someone_holds_them() -> None:
    with live_tensors() as live:
        first = of(1)
        assert live.now == live.peak == MEGABYTE
        second = first + first
        del first
        assert (live.now, live.peak) == (MEGABYTE, 2 * MEGABYTE)
        view, same = second[10:].view(-1), second.add_(1)  # no memory of their own
        assert live.now == MEGABYTE
        del second, same
        assert live.now == MEGABYTE  # the view holds it
        del view
        assert (live.now, live.peak) == (0, 2 * MEGABYTE)


def test_what_is_kept_for_the_backward_pass_counts() -> None:
    learned = of(1).requires_grad_()

    def run() -> None:
        x = learned
        for _ in range(5):
            x = x.exp()  # its result is needed again
        x.backward(of(1))

    # Five results, the gradient given, and a step's gradients of its output and its input.
    assert peak(run) == 8 * MEGABYTE
    with torch.no_grad():
        assert peak(lambda: learned.exp().exp().exp().exp()) == 2 * MEGABYTE


def test_a_network_takes_as_much_as_on_real_tensors() -> None:
    def step(device: str) -> int:
        torch.manual_seed(0)
        net = DeepLabV2("test_resnet", 16, backbone_args=json.loads("{}")).to(device).train()
        images = torch.zeros(2, 3, 96, 96, device=device)
        return peak(lambda: net(images).square().mean().backward())

    assert step("meta") == pytest.approx(step("cpu"), rel=0.1)


def test_attention_shows_its_parts() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 64, batch_first=True, device="meta").eval()
    before = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        small, large = (
            peak(lambda n=n: layer(torch.empty(1, n, 64, device="meta"))) for n in (100, 1000)
        )
    assert large > 50 * small  # weights of all pairs of tokens
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_it_does_not_depend_on_deterministic_mode() -> None:
    x, size = torch.empty(8, 16, 6, 6, device="meta"), (96, 96)
    before = torch.get_deterministic_debug_mode()
    plain = peak(lambda: resize(x, size))
    torch.set_deterministic_debug_mode("warn")
    try:
        assert peak(lambda: resize(x, size)) == plain
        assert torch.get_deterministic_debug_mode() == 1
    finally:
        torch.set_deterministic_debug_mode(before)
