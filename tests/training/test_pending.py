"""Losses stay on the device until those of several steps are read at once."""

from __future__ import annotations

import pytest
import torch

from reclip.common.errors import ReclipError
from reclip.training import pending
from reclip.training.pending import PendingLosses, Step


def terms(value: float) -> dict[str, torch.Tensor]:
    return {"mask": torch.tensor(value), "text": torch.tensor(0.5)}


def test_steps_are_read_in_order_with_the_sum_of_their_terms() -> None:
    waiting = PendingLosses("distill d seed 0")
    waiting.add(7, 1, 0.1, terms(2.0))
    waiting.add(8, 1, 0.05, terms(1.0))
    assert list(waiting.read()) == [
        Step(7, 1, 0.1, {"loss": 2.5, "mask": 2.0, "text": 0.5}),
        Step(8, 1, 0.05, {"loss": 1.5, "mask": 1.0, "text": 0.5}),
    ]
    assert list(waiting.read()) == []


def test_they_are_due_after_some_steps_or_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(pending.time, "monotonic", lambda: now)
    monkeypatch.setattr(pending, "STEPS", 3)
    waiting = PendingLosses("t")
    for step in range(3):
        assert not waiting.due()
        waiting.add(step, 0, 0.1, terms(1.0))
    assert waiting.due()
    list(waiting.read())
    now = 100.0
    assert not waiting.due()  # nothing waits
    waiting.add(3, 0, 0.1, terms(1.0))
    assert waiting.due()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_the_error_names_the_first_step_without_a_number(bad: float) -> None:
    waiting = PendingLosses("rectify r seed 0")
    for step, value in enumerate([1.0, bad, bad]):
        waiting.add(step, 0, 0.1, terms(value))
    read = waiting.read()
    assert next(read).step == 0
    with pytest.raises(ReclipError, match=r"rectify r seed 0: the loss is (nan|inf) at step 1: "):
        next(read)
