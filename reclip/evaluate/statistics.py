"""A metric over seeds: mean, spread and interval. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def summarise(values: Sequence[float]) -> dict[str, Any]:
    """Return a metric over seeds, from at least one value.

    Returns:
        n: the number of values. mean. sd: the sample standard deviation (n - 1). low, high: the
        ends of the 95 % interval of the mean, from Student's t with n - 1 degrees of freedom. A
        single value has no sd and no interval (None).
    """
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return {"n": n, "mean": mean, "sd": None, "low": None, "high": None}
    from scipy.special import stdtrit  # the same as scipy.stats.t.ppf, but imports a second faster

    sd = float(np.std(values, ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)
    return {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}
