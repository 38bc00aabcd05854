"""The parts of `benchmarks/bench.py` can be imported, as from the script."""

from __future__ import annotations

import sys

from support.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))
