"""How a batch comes to the device."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from reclip.training.batches import pinned, to_device


class Batch(NamedTuple):
    photos: torch.Tensor
    epoch: int


def test_a_batch_is_pinned_for_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    batch = Batch(torch.zeros(2), 3)
    assert pinned(batch, torch.device("cpu")) is batch
    found = pinned(batch, torch.device("cuda"))
    assert type(found) is Batch and found.photos.tolist() == [1, 1] and found.epoch == 3


def test_a_batch_keeps_its_form_on_the_device() -> None:
    found = to_device(Batch(torch.zeros(2), 3), torch.device("meta"))
    assert type(found) is Batch and found.photos.is_meta and found.epoch == 3
    assert to_device(torch.zeros(2), torch.device("meta")).is_meta
