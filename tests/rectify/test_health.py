"""A rectification that diverges says so, without labels; a healthy or short one does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reclip.config.models import RectifySettings
from reclip.rectify.health import MIN_STEPS, Health, loss_ends, notes

HEALTHY = Health(
    steps=756, loss_start=1.79, loss_end=1.68, loss_error=0.04, positional=0.44,
    positional_spread=0.08, largest="sky", share=0.24, query_share=0.52, supposed=0.11,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"loss_end": 2.8}, "the loss rose from 1.79 to 2.80"),
        ({"positional": 5.2}, "positional logits are 5.2 times the Query's"),
        ({"share": 0.81}, "class 'sky' takes 81% of all cells, by the Query alone 52%"),
    ],
)
def test_each_sign_of_divergence_is_named_with_its_figures(changes, sign) -> None:
    assert replace(HEALTHY, **changes).signs == [sign]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss_end": 1.85},  # less than 5% above the start
        {"loss_end": 2.0, "loss_error": 0.1},  # within the noise
        {"share": 0.9, "query_share": 0.85},  # the Query says so, too
        {"share": 0.9, "supposed": 0.95},  # the photos are supposed to hold it
        {"positional": 0.0},
        {"loss_end": 9.0, "positional": 9.0, "share": 1.0, "steps": MIN_STEPS - 1},
    ],
)
def test_a_healthy_or_short_training_has_no_sign(changes) -> None:
    health = replace(HEALTHY, **changes)
    assert health.signs == []
    assert notes("rectify x", health, RectifySettings())["warnings"] == []


def test_a_warning_says_what_was_seen_and_what_to_change() -> None:
    bad = replace(HEALTHY, loss_end=2.8, positional=5.2, positional_spread=1.0)
    settings = RectifySettings(lr=0.01, batch=1, positional_init=0.05)
    said = notes("rectify x seed 2", bad, settings)
    (warning,) = said["warnings"]
    assert warning.startswith(
        "rectify x seed 2 diverged, so its masks are not to be trusted (the loss rose from "
    )
    assert warning.endswith(
        "Lower rectify.lr (0.01), e.g. to 0.0005, or raise rectify.batch (1) to 16."
    )
    assert said["health"]["verdict"] == "; ".join(bad.signs)
    assert notes("rectify x", HEALTHY, settings)["health"]["verdict"] == "healthy"


def test_positional_logits_that_began_large_ask_for_more_epochs() -> None:
    large = replace(HEALTHY, positional=3.4, positional_spread=0.63)
    (warning,) = notes("rectify x", large, RectifySettings(positional_init=1))["warnings"]
    assert "has not converged" in warning and "raise rectify.epochs" in warning
    (warning,) = notes("rectify x", large, RectifySettings(positional_init=0.05))["warnings"]
    assert "diverged" in warning and "Lower rectify.lr" in warning


@pytest.mark.parametrize("seed", range(20))
def test_noise_without_a_trend_is_no_rise(seed: int) -> None:
    """At the noise of batches of one photo, which is the largest that was measured."""
    loss = np.random.default_rng(seed).normal(2.0, 0.64, 400)
    start, end, error = loss_ends(loss)
    health = replace(HEALTHY, loss_start=start, loss_end=end, loss_error=error, steps=400)
    assert health.signs == []


def test_a_loss_of_one_step_has_both_ends() -> None:
    assert loss_ends(np.array([1.5])) == (1.5, 1.5, 0.0)
