"""A stage at a size: its two versions, and how far their results are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reclip.cost.machines import Work
from speed.limits import Need, Precision, Probe

Result = Iterable[Tensor | np.ndarray]


class Case(NamedTuple):
    """A stage at a size.

    plain, ours: functions of a number of units, and ours of a precision, too. They return what is
    compared.
    need: of one unit. few, many: units that the plain version and ours get; a plain version takes
    one after the other, so its time for a unit does not depend on their number.
    work: of one unit as the cost model counts it, if its rate is wanted there.
    """

    unit: str
    plain: Callable[[int], Result]
    ours: Callable[[int, Precision], Result]
    need: Need
    few: int = 1
    many: int = 1
    precisions: tuple[Precision, ...] = ("float32",)
    tolerance: float = 1e-3
    probes: Mapping[str, Probe] = MappingProxyType({})
    work: Work = Work()


def difference(found: Result, expected: Result) -> float:
    """Return how far two results are apart, as the largest of their parts.

    Of numbers it is the norm of the difference over the norm; of class numbers and counts the
    share that differs.
    """
    return max(_apart(a, b) for a, b in zip(found, expected, strict=True))


def _apart(found: Any, expected: Any) -> float:
    a, b = (torch.as_tensor(x).detach().cpu().double() for x in (found, expected))
    if not torch.as_tensor(found).is_floating_point():
        return (a != b).double().mean().item()
    return ((a - b).norm() / b.norm().clamp(min=1e-12)).item()
