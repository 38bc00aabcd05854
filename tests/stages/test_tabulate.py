"""Tables: the paper's values beside ours, never instead of them; and the check over seeds."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_json
from reclip.evaluate.statistics import summarise
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.stages import check, tabulate
from reclip.stages.tabulate import Measured, content, ordering, printed

CITED = {
    "row": "IIC",
    "protocol": "21 classes",
    "marks": {"LC": "✓"},
    "cells": {"voc": {"paper": 9.8}},
}
QUERY = {"row": "Query", "marks": {"LC": "✗"}, "cells": {"voc": {"paper": 49.5, "run": "query"}}}
OURS = {"row": "Ours", "cells": {"voc": {"paper": 58.5, "run": "ref-pe"}}}


def write_metrics(
    plan: Plan,
    run: str,
    values: dict[int | None, float],
    job: str | None = None,
    post_processing: str = "none",
) -> None:
    evaluation = plan.job("gather", run)
    write_json(
        evaluation.outputs[0],
        {
            "job": job or evaluation.digest,
            "protocol": "whole, own size",
            "post_processing": post_processing,
            "seeds": [{"seed": seed, "miou": value} for seed, value in values.items()],
            "miou": summarise(list(values.values())),
        },
    )


@pytest.fixture
def made(project: Path, tiny_plan):
    """A table of three rows whose runs are measured: 60.0, and 64.0 ± 1.4 over two seeds."""
    plan = tiny_plan({"tables": {"table4": {"rows": [CITED, QUERY, OURS]}}})
    write_metrics(plan, "query", {None: 60.0})
    write_metrics(plan, "ref-pe", {0: 63.0, 1: 65.0})
    return plan


def test_a_dataset_that_the_paper_does_not_use_has_our_column_alone(project, tiny_plan) -> None:
    rows = [{"row": "Query", "cells": {"voc": {"run": "query"}}}]
    plan = tiny_plan({"tables": {"table1": {"title": "Own", "rows": rows}}})
    write_metrics(plan, "query", {None: 60.0})
    job = plan.job("tabulate", "table1")
    tabulate.main(job)
    lines = job.outputs[1].read_text(encoding="utf-8").splitlines()
    assert lines[2:5] == [
        "| Method | voc, tiny | source |",
        "| --- | --- | --- |",
        "| Query | 60.0 | measured (whole, own size) |",
    ]
    assert "paper" not in "".join(lines)


def table_rows(job: Job) -> list[dict[str, str]]:
    with open(job.outputs[0], encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_csv_keeps_cited_and_measured_apart(made: Plan) -> None:
    job = made.job("tabulate", "table4")
    tabulate.main(job)
    cited, query, ours = table_rows(job)
    assert (cited["paper"], cited["ours"], cited["source"], cited["run"]) == (
        "9.8", "", "cited", "",
    )  # fmt: skip
    assert (query["paper"], query["ours"], query["sd"], query["seeds"]) == (
        "49.5", "60.00", "", "1",
    )  # fmt: skip
    assert (ours["paper"], ours["ours"], ours["sd"], ours["seeds"]) == (
        "58.5", "64.00", "1.41", "2",
    )  # fmt: skip
    assert (ours["source"], ours["protocol"], ours["run"]) == (
        "measured", "whole, own size", "ref-pe",
    )  # fmt: skip
    assert cited["protocol"] == "21 classes"
    assert cited["marks"] == "LC=✓"
    assert why_stale(job) is None


def test_the_markdown_has_a_column_for_each(made: Plan) -> None:
    job = made.job("tabulate", "table4")
    tabulate.main(job)
    lines = job.outputs[1].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "**Table 4. Effect of bias modeling** (mIoU, %)"
    assert lines[2] == "| Method | LC | voc, paper | voc, tiny | source |"
    assert lines[4:7] == [
        "| IIC | ✓ | 9.8 |  | cited (21 classes) |",
        "| Query | ✗ | 49.5 | 60.0 | measured (whole, own size) |",
        "| Ours |  | 58.5 | 64.0 ± 1.4 (2 seeds) | measured (whole, own size) |",
    ]
    assert lines[8] == "The paper's ordering of the measured rows holds here (all 1 pairs)."
    assert lines[10] == "The CLIP weights are the packaged mini-clip, trained on drawn scenes."


def test_post_processing_is_part_of_the_protocol(made: Plan) -> None:
    write_metrics(made, "query", {None: 60.0}, post_processing="prompt denoising 0.5")
    job = made.job("tabulate", "table4")
    tabulate.main(job)
    assert table_rows(job)[1]["protocol"] == "whole, own size, prompt denoising 0.5"


def test_a_table_says_what_weights_its_students_start_from(tiny_plan) -> None:
    row = {"row": "LC", "cells": {"voc": {"paper": 76.1, "run": "probe"}}}
    plan = tiny_plan({"tables": {"table1": {"title": "t", "rows": [row]}}})
    assert plan.job("tabulate", "table1").settings["weights"] == [
        "The CLIP weights are the packaged mini-clip, trained on drawn scenes.",
        "The student's backbone, test_resnet, starts from random numbers.",
    ]
    plan = tiny_plan({"tables": {"table1": {"title": "t", "rows": [CITED]}}})
    assert plan.job("tabulate", "table1").settings["weights"] == []


def test_metrics_of_other_settings_are_refused(made: Plan) -> None:
    write_metrics(made, "ref-pe", {0: 63.0}, job="0" * 64)
    job = made.job("tabulate", "table4")
    with pytest.raises(
        ReclipError, match=r"was produced with other settings: run `snakemake .*metrics\.json`"
    ):
        tabulate.main(job)
    assert not job.outputs[0].exists()


def cell(row: str, paper: float | None, mean: float | None, dataset: str = "voc") -> Measured:
    run = None if mean is None else row
    return Measured(row, {}, dataset, paper, run, mean, None, 1)


def test_ordering_compares_measured_rows_of_one_dataset() -> None:
    cells = [
        cell("a", 10.0, 5.0),
        cell("b", 20.0, 9.0),
        cell("cited", 15.0, None),
        cell("new", None, 1.0),  # the paper does not have it
        cell("a", 10.0, 3.0, "ade"),
    ]
    assert ordering(cells) == (1, [])


def test_a_broken_order_is_named() -> None:
    cells = [cell("a", 10.0, 5.0), cell("b", 20.0, 4.0), cell("c", 30.0, 9.0)]
    assert ordering(cells) == (3, ["voc: b (4.0) is not above a (5.0)"])
    text = printed(content("table4", "t", cells, ["voc", "ade"], "tiny"), ".md")
    assert text.endswith("2 of 3 pairs, not for: voc: b (4.0) is not above a (5.0).\n")


def test_equal_values() -> None:
    """Rows that the paper does not order are no pair; a tie of ours does not confirm an order."""
    assert ordering([cell("a", 10.0, 5.0), cell("b", 10.0, 1.0)]) == (0, [])
    pairs, broken = ordering([cell("a", 10.0, 5.0), cell("b", 20.0, 5.0)])
    assert pairs == 1 and len(broken) == 1


def test_a_row_measured_on_only_one_dataset_is_measured() -> None:
    cells = [cell("a", 10.0, None), cell("a", 20.0, 4.0, "ade"), cell("b", 1.0, None)]
    lines = printed(content("table2", "t", cells, ["voc", "ade"], "tiny"), ".md").splitlines()
    assert "| a | 10.0 |  | 20.0 | 4.0 | measured |" in lines
    assert "| b | 1.0 |  |  |  | cited |" in lines
    assert lines[-1] == "No two measured rows to put in order."


def test_a_table_becomes_a_page(made: Plan) -> None:
    table = {"title": "Table 4. A & B", "head": ["Method", "voc"], "rows": [["x<y", "1.0"]]}
    page = printed(table | {"notes": ["Holds."]}, ".html")
    assert "<b>Table 4. A &amp; B</b>" in page
    assert "<thead><tr><th>Method</th><th>voc</th></tr></thead>" in page
    assert "<tr><td>x&lt;y</td><td>1.0</td></tr>" in page
    assert "<p>Holds.</p>" in page
    job = made.job("tabulate", "table4")
    tabulate.main(job)
    page = job.outputs[2].read_text(encoding="utf-8")
    assert "<b>Table 4. Effect of bias modeling</b> (mIoU, %)" in page
    assert "<td>64.0 ± 1.4 (2 seeds)</td>" in page and "(all 1 pairs).</p>" in page


# The check over seeds.


def run_check(plan: Plan) -> tuple[dict, list[str]]:
    job = plan.job("check", "tiny")
    check.main(job)
    lines = job.outputs[0].read_text(encoding="utf-8").splitlines()
    return read_json(job.folder / "check.json"), lines[2:]


def test_seeds_are_compared_one_by_one(made: Plan, tiny_plan) -> None:
    plan = tiny_plan({"seeds": {"rectify": [0, 1, 2], "distill": [1, 2], "probe": [1]}})
    write_metrics(plan, "query", {None: 60.0})
    write_metrics(plan, "ref-pe", {0: 63.0, 1: 65.0, 2: 64.0})
    write_metrics(plan, "distill", {2: 63.0, 1: 66.5})
    found, lines = run_check(plan)
    assert found["rectified - query"]["values"] == [3.0, 5.0, 4.0]
    assert sorted(found["distilled - rectified"]["values"]) == [-1.0, 1.5]
    assert lines[0] == "| rectified - query | 3 | 4.00 | 1.52 to 6.48 | yes |"
    assert lines[1].startswith("| distilled - rectified | 2 | 0.25 |") and "| no |" in lines[1]


def test_one_seed_has_no_interval(made: Plan) -> None:
    write_metrics(made, "distill", {0: 70.0})
    found, lines = run_check(made)
    assert found["distilled - rectified"] == {
        "values": [7.0], "mean": 7.0, "low": None, "high": None,
    }  # fmt: skip
    assert lines[1] == "| distilled - rectified | 1 | 7.00 | – | unknown: one seed |"
