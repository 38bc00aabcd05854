"""Quotients of counts. Needs no torch."""

from __future__ import annotations

import math

import numpy as np


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the elementwise quotient in float64; NaN where the denominator is 0."""
    out = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), math.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Return counts (..., C, C) as percentages of each row's sum; NaN for a row without pixels."""
    return 100 * ratio(confusion, confusion.sum(axis=-1, keepdims=True))
