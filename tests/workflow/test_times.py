"""Times of results from a machine whose clock is wrong: they neither stop a run nor repeat it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from support.stand_ins import SMALL, make_project

IN_2096 = 4_000_000_000


def test_results_from_the_future_do_not_stop_a_run(tmp_path: Path, tiny_params) -> None:
    """Snakemake refuses an output that is older than an input."""
    project = replace(make_project(tmp_path, tiny_params(SMALL)), forked=True)
    project.make_all()
    for path in (tmp_path / "results").rglob("*"):
        os.utime(path, (IN_2096, IN_2096))
    params = project.params()
    params["rectify"]["lr"] = 0.02
    project.write_params(params)
    project.run("snakemake")
    assert {"rectify ref-pe seed 0", "gather ref-pe", "tabulate table4"} <= project.ran()
    assert "Nothing to be done" in project.run("snakemake", "-n")
