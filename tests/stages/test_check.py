"""The check: all tables over its seeds, and a verdict on each pair that the paper orders."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reclip.common.files import read_json, write_json
from reclip.pipeline.artifacts import CONFUSION_FILE, RINGS_FILE, SCORES_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.stages import check

TABLES = {
    "table4": {"title": "Bias", "rows": [
        {"row": "Query", "cells": {"voc": {"paper": 49.5, "run": "query"}}},
        {"row": "Rectified", "cells": {"voc": {"paper": 58.5, "run": "ref-pe"}}},
    ]},
    "table1": {"title": "Ours", "rows": [
        {"row": "Cited", "cells": {"voc": {"paper": 9.8}}},
        {"row": "Unchanged", "cells": {"voc": {"paper": 49.5, "run": "query"}}},
        {"row": "Ours", "cells": {"voc": {"paper": 58.5, "run": "ref-pe"}}},
        {"row": "Student", "cells": {"voc": {"paper": 75.4, "run": "distill"}}},
    ]},
}  # fmt: skip
MIOU = {  # the student is no better than its teacher, and worse than the Query
    "query": {None: 40.0},
    "ref-pe": {0: 43.0, 1: 45.0, 2: 44.0},
    "distill": {0: 33.0, 1: 36.0, 2: 34.0},
}

CONFUSION = np.array([[8, 2, 0], [0, 5, 5], [0, 0, 10]])  # shares of 27, 23 and 50 for thirds
RINGS = np.stack([np.full((3, 3), 10)] * 4)


def made(plan: Plan, protocol: str = "whole, own size") -> Job:
    """The job of the check, run on evaluations with these mIoU."""
    job = plan.job("check", "tiny")
    for one in job.inputs.values():
        scores = {"seed": one.seed, "miou": MIOU[one.id][one.seed], "protocol": protocol}
        scores |= {"post_processing": "none", "classes": ["a", "b", "c"]}
        write_json(one.folder / SCORES_FILE, scores)
        np.save(one.folder / CONFUSION_FILE, CONFUSION + (one.seed or 0))
        np.save(one.folder / RINGS_FILE, RINGS)
    check.main(job)
    return job


@pytest.fixture
def job(project: Path, tiny_plan: Callable[..., Plan]) -> Job:
    return made(tiny_plan({"check": {"seeds": [0, 1, 2]}, "tables": TABLES}))


def table(job: Job, name: str) -> list[dict[str, str]]:
    with open(job.folder / name, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_it_reads_the_evaluations_of_its_seeds_alone(job: Job) -> None:
    assert set(job.inputs) == {
        "query/query",
        *(f"{run}/seed-{seed}" for run in ("ref-pe", "distill") for seed in (0, 1, 2)),
    }


def test_every_pair_has_a_verdict_once(job: Job) -> None:
    rows = {(r["higher"], r["lower"]): r for r in table(job, "verdicts.csv")}
    assert {names: row["verdict"] for names, row in rows.items()} == {
        ("Rectified", "Query"): "holds",
        ("Student", "Unchanged"): "reversed",
        ("Student", "Ours"): "reversed",
    }
    row = rows["Rectified", "Query"]
    assert (row["tables"], row["higher_run"], row["lower_run"]) == (
        "table4 table1", "ref-pe", "query",
    )  # fmt: skip
    assert [row[k] for k in ("paper", "ours", "low", "high", "seeds")] == [
        "9.0", "4.00", "1.52", "6.48", "3",
    ]  # fmt: skip


def test_the_tables_are_those_of_the_demo_over_the_checks_seeds(job: Job) -> None:
    text = (job.folder / "table1.md").read_text(encoding="utf-8")
    assert "| Cited | 9.8 |  | cited |" in text
    assert "| Ours | 58.5 | 44.0 ± 1.0 (3 seeds) | measured (whole, own size) |" in text
    assert "1 holds, 2 are reversed and 0 are undecided." in text
    assert "Reversed: voc: Student over Unchanged -5.7 (-9.5 to -1.9), Student over Ours" in text
    assert "The CLIP weights are the packaged mini-clip" in text
    rows = {(r["table"], r["row"]): r for r in table(job, "tables.csv")}
    assert [rows["table1", "Ours"][k] for k in ("ours", "sd", "seeds", "low", "high")] == [
        "44.00", "1.00", "3", "41.52", "46.48",
    ]  # fmt: skip
    assert rows["table1", "Cited"]["ours"] == ""


def test_the_page_begins_with_the_count_and_the_steps_of_the_method(job: Job) -> None:
    lines = (job.folder / "check.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(
        "Of 3 pairs that the paper orders, 1 holds, 2 are reversed and 0 are undecided. Each was "
        "measured with 3 seeds."
    )
    assert "Each interval is for its pair alone" in lines[0]
    assert lines[4:6] == [
        "| voc | rectified - query | 3 | 4.00 | 1.52 to 6.48 | yes |",
        "| voc | distilled - rectified | 3 | -9.67 | -11.10 to -8.23 | no |",
    ]
    assert lines[7] == "### Every pair"
    assert "| voc | Student | Ours | table1 | 16.9 | -9.67 | -11.10 to -8.23 | reversed |" in lines
    facts = read_json(job.folder / "check.json")
    assert facts["steps"]["voc"]["rectified - query"]["values"] == [3.0, 5.0, 4.0]
    assert facts["pairs"] == {"holds": 1, "reversed": 2, "undecided": 0}
    assert (facts["job"], facts["seeds"]) == (job.digest, [0, 1, 2])


def test_without_the_papers_values_there_are_no_pairs(project, tiny_plan) -> None:
    rows = [{"row": r, "cells": {"voc": {"run": r}}} for r in ("query", "ref-pe")]
    job = made(tiny_plan({"tables": {"table4": {"rows": rows}}}))
    assert table(job, "verdicts.csv") == []
    text = (job.folder / "check.md").read_text(encoding="utf-8")
    assert text.startswith("The paper orders no two measured rows.")
    assert "| voc | rectified - query | 2 |" in text and "Every pair" not in text


def test_class_and_space_preference_have_an_interval_over_the_seeds(job: Job) -> None:
    rows = {(r["method"], r["measure"]): r for r in table(job, "preference.csv")}
    query, rectified = (rows[method, "total variation"] for method in ("Query", "rectified"))
    assert float(query["mean"]) == pytest.approx(100 * (15 / 30 - 1 / 3), abs=1e-3)
    assert (query["seeds"], query["low"]) == ("1", "")
    assert rectified["seeds"] == "3"
    assert float(rectified["low"]) < float(rectified["mean"]) < float(rectified["high"])
    assert rows["rectified", "drop"]["mean"] == "0.0000"
    assert (job.folder / "preference.png").stat().st_size > 10_000
