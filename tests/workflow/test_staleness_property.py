"""Whatever is edited, lost, restored or undone: both tools rerun exactly what is stale.

`make soak`, or RECLIP_SEQUENCES=200, walks more; RECLIP_SEED=17 with one sequence repeats seed 17.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from support.staleness_mutants import MUTANTS, mutate
from support.staleness_walk import CHANGES, Violation, Walk, start_project
from support.stand_ins import Project

BY_DEFAULT = 1
SEQUENCES = int(os.environ.get("RECLIP_SEQUENCES", BY_DEFAULT))
SEED = int(os.environ.get("RECLIP_SEED", "0"))
STEPS = 3


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_params: Callable[..., dict]) -> Project:
    return start_project(tmp_path_factory.mktemp("project"), tiny_params(CHANGES))


@pytest.fixture(scope="module")
def start(tmp_path_factory, project) -> Walk:
    copy = project.copy(tmp_path_factory.mktemp("start") / "project")
    return Walk(replace(copy, forked=True))


def walk(start: Walk, folder: Path, seed: int, forked: bool, steps: int = STEPS) -> None:
    one = start.copy(folder, seed, forked=forked)
    for _ in range(steps):
        one.step()
    one.finish()
    shutil.rmtree(folder)  # a failed one stays, to be looked at


@pytest.mark.parametrize("seed", range(SEED, SEED + SEQUENCES))
def test_exactly_what_is_stale_runs_again(start, tmp_path, seed):
    """Every fourth as at a shell; the others in less time, through forks of the same commands."""
    walk(start, tmp_path / "walk", seed, forked=seed % 4 != 0)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_is_caught(project, tmp_path, name):
    """By a violation of the property, not by a crash, within the default number of sequences."""
    wrong = replace(project.copy(tmp_path / "start" / "project"), forked=True)
    mutate(wrong.folder, name)
    wrong.run("reclip", "dvc")
    began, where = time.monotonic(), "the start"
    try:
        # `dvc status` knows of no jobs where one stage wraps Snakemake.
        start = Walk(wrong, dvc_status=name != "DVC wraps Snakemake")
        where = "the end of a sequence"  # which alone catches most
        walk(start, tmp_path / "end", 0, forked=True, steps=0)
        for seed in range(BY_DEFAULT):
            where = f"sequence {seed + 1}"
            walk(start, tmp_path / f"walk-{seed}", seed, forked=True)
    except Violation as caught:
        last = str(caught).splitlines()[-1]
        print(f"{name}: {where}, {time.monotonic() - began:.0f} s: {last}")
        return
    pytest.fail(f"{BY_DEFAULT} sequences did not notice that {name}")


def test_a_table_of_other_settings_is_stale_even_if_of_the_same_size(project, tmp_path):
    """git brings back tables and metrics, and leaves the receipts as they are."""
    project = project.copy(tmp_path / "project")
    project.make_all()
    table = project.folder / "results/tiny/tables/table4.csv"
    table.write_bytes(table.read_bytes().swapcase())
    assert "changed in content: table4.csv" in project.run("reclip", "status")
    assert project.planned() == {"tabulate:table4", "all"}
