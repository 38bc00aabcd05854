"""Tables: the paper's values beside ours, never instead of them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.common.files import write_json
from reclip.evaluate.statistics import summarise
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.stages import tabulate

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
    assert lines[8] == (
        "Of 1 pair that the paper orders, 0 hold, 0 are reversed and 1 is undecided. Numbers are "
        "first minus second row in points of mIoU, with the 95% interval."
    )
    assert lines[10] == "Undecided: voc: Ours over Query 4.0 (-8.7 to 16.7)."
    assert lines[12] == "The CLIP weights are the packaged mini-clip, trained on drawn scenes."


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


def test_one_seed_is_no_verdict(made: Plan) -> None:
    write_metrics(made, "ref-pe", {0: 63.0})
    job = made.job("tabulate", "table4")
    tabulate.main(job)
    lines = job.outputs[1].read_text(encoding="utf-8").splitlines()
    assert lines[8] == (
        "Of 1 pair that the paper orders, 1 comes in its order here, on one seed: not a verdict. "
        "`snakemake tiny_check` gives one (setting `check`)."
    )


def test_a_table_becomes_a_page(made: Plan) -> None:
    job = made.job("tabulate", "table4")
    tabulate.main(job)
    page = job.outputs[2].read_text(encoding="utf-8")
    assert "<b>Table 4. Effect of bias modeling</b> (mIoU, %)" in page
    assert (
        "<td>64.0 ± 1.4 (2 seeds)</td>" in page
        and "Ours over Query 4.0 (-8.7 to 16.7).</p>" in page
    )
