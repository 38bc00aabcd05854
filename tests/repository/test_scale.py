"""docs/scale.md has the figures of its script, which follows the cost model."""

from __future__ import annotations

import runpy

from reclip.cost.machines import DEFAULT_GPU, GPUS
from support.paths import ROOT


def test_the_page_has_the_figures_of_the_cost_model() -> None:
    """Else: python benchmarks/scale.py --write docs/scale.md"""
    scale = runpy.run_path(str(ROOT / "benchmarks/scale.py"))
    page = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    parts = scale["text"](GPUS[DEFAULT_GPU], scale["PRICES"])
    assert scale["filled"](page, parts) == page


def test_money_follows_hours_and_room() -> None:
    scale = runpy.run_path(str(ROOT / "benchmarks/scale.py"))
    store = scale["PRICES"].store
    rates = GPUS[DEFAULT_GPU]
    dear, cheap = (
        list(scale["caching"](rates, scale["Prices"](price, store))) for price in (10.0, 1.0)
    )

    def uses(lines: list[str]) -> int:
        return int(next(line for line in lines if "object" in line).split("from ")[1].split()[0])

    assert uses(dear) < uses(cheap)  # computing again costs more: caching pays sooner
