"""How long a settings file will take on this machine, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from reclip.config.load import validate
from reclip.config.params import Params
from reclip.cost import machines
from reclip.cost.calibrate import calibrate
from reclip.cost.census import Census
from reclip.cost.facts import Facts
from reclip.cost.machines import GPUS, Rates
from reclip.cost.report import job_costs, total_hours
from reclip.device import uses_gpu
from reclip.pipeline.plan import Plan

SLOW_GPU = "t4"

Sizes = Mapping[str, Mapping[tuple[int, int], int]]
"""Of the photos: split to {(H, W): number}."""


class Forecast:
    """Predicts hours of settings for own photos. The machine is measured once, for some seconds.

    Args:
        measure: measure this machine; else a slow CPU or GPU is assumed.
    Attributes:
        basis: in words, where the rates are from.
    """

    def __init__(self, measure: bool) -> None:
        self._measure = measure
        self._rates: Rates | None = None
        self.basis = "as measured on this machine" if measure else "if this machine is a slow one"

    def hours(self, text: str, sizes: Sizes) -> float:
        """Return the hours of all jobs of a settings file, given as its text.

        sizes: of the photos. Those of a sample are enough, so that no header of a large folder has
            to be read again.
        Raises ReclipError: the settings are invalid, or the machine cannot be measured.
        """
        plan = Plan(validate(Params, yaml.safe_load(text)))
        census = {
            dataset: Census(sizes, plan.experiment.source(dataset).classes, "of a sample")
            for dataset in plan.params.datasets
        }
        facts, compute = Facts(plan, census=census), plan.params.compute
        if self._rates is None:
            slow = GPUS[SLOW_GPU] if uses_gpu(compute) else machines.cpu(compute.threads)
            self._rates = calibrate(facts, next(iter(census))) if self._measure else slow
        return total_hours(job_costs(facts), self._rates, compute)
