"""The plan: which jobs there are, what each may read, and what makes one stale."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.pipeline.plan import Plan
from reclip.pipeline.stages import STAGES
from support.paths import ROOT


def test_jobs_come_after_their_inputs(tiny_plan) -> None:
    seen = set()
    for job in tiny_plan().jobs:
        assert all(other.name in seen for other in job.inputs.values()), job.name
        seen.add(job.name)
    assert {name.split()[0] for name in seen} == STAGES.keys() - {"fetch"}  # nothing for worlds


def test_no_two_jobs_write_the_same_file(tiny_plan) -> None:
    jobs = tiny_plan().jobs
    for paths in ([j.receipt for j in jobs], [j.plan_file for j in jobs]):
        assert len(set(paths)) == len(jobs)
    assert all(j.receipt.is_relative_to("results/tiny") for j in jobs)


def lines_run(settings: dict) -> tuple[int, int]:
    """Return the number of jobs in the plan of some settings, and of the lines that plan them."""
    params, lines = validate(Params, settings), 0

    def heard(_frame, event: str, _argument):
        nonlocal lines
        lines += event == "line"  # also for each round of a comprehension
        return heard

    sys.settrace(heard)
    try:
        plan = Plan(params)
        assert plan.default_jobs
        digests = [job.digest for job in plan.jobs]
    finally:
        sys.settrace(None)
    return len(digests), lines


def test_the_work_of_planning_grows_with_the_number_of_jobs_and_not_its_square() -> None:
    """Counted in lines, which no other load on the machine changes."""
    settings = runpy.run_path(str(ROOT / "benchmarks/large_plan.py"))["settings"]
    lines_run(settings(1))  # modules are digested once
    (few, few_lines), (many, many_lines) = (lines_run(settings(n)) for n in (16, 64))
    assert many > 3.5 * few
    assert many_lines / many < 1.1 * few_lines / few


def test_overrides_are_laid_over_one_another(tiny_plan) -> None:
    plan = tiny_plan(
        {
            "rectify": {"lr": 0.1, "epochs": 3, "batch": 5},
            "datasets": {"voc": {"rectify": {"epochs": 4, "batch": 6}}},
            "runs": {"ref-pe": {"rectify": {"batch": 7}}},
        }
    )
    rectify = plan.experiment.rectify("ref-pe")
    assert (rectify.lr, rectify.epochs, rectify.batch) == (0.1, 4, 7)
    assert plan.experiment.section("voc", "rectify").batch == 6


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"datasets": {"voc": {"rectify": {"lrr": 1}}}}, "'datasets.voc.rectify.lrr'"),
        (
            {
                "hypotheses": {"relative": 0.7},
                "datasets": {"voc": {"hypotheses": {"image": "windows"}}},
            },
            "'datasets.voc.hypotheses'",
        ),
        ({"runs": {"ref-pe": {"rectify": {"epochs": 0}}}}, "'runs.ref-pe.rectify.epochs'"),
    ],
)
def test_a_wrong_override_is_blamed_on_its_own_place(tiny_plan, changes, at) -> None:
    with pytest.raises(ReclipError) as caught:
        tiny_plan(changes)
    assert at in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runs": {"query": {"dataset": "vco"}}}, "did you mean 'voc'"),
        ({"runs": {"distill": {"teacher": "ref-ep"}}}, "did you mean 'ref-pe'"),
        ({"runs": {"distill": {"teacher": None}}}, "'runs.distill.teacher' is missing"),
        ({"runs": {"distill": {"teacher": "probe"}}}, "query or rectify"),
        ({"runs": {"probe": {"student": "ref-pe"}}}, "of method distill"),
        ({"runs": {"query": {"teacher": "ref-pe"}}}, "only for method distill"),
        ({"runs": {"distill": {"seeds": [0, 5]}}}, "'ref-pe' has no seed 5"),
        ({"runs": {"distill": {"teacher": "query"}}}, "has no head"),
        (
            {"runs": {"ref-pe": {"rectify": {"positional": False}}}}
            | {"distill": {"head": "query_reference_positional"}},
            "has no head",
        ),
        (
            {"runs": {"ref-pe": {"rectify": {"positional": False, "reference": False}}}}
            | {"distill": {"head": "query"}},
            "learns nothing",
        ),
        (
            {
                "tables": {
                    "t": {"title": "", "rows": [{"row": "a", "cells": {"voc": {"run": "x"}}}]}
                }
            },
            "'tables.t.rows.0.cells.voc.run': no run 'x'",
        ),
        (
            {"tables": {"table4": {"rows": [{"row": "cited", "cells": {"voc": {"paper": 1.0}}}]}}},
            "'check' compares the measured rows of tables, but no cell",
        ),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(tiny_plan, changes, words) -> None:
    with pytest.raises(ReclipError) as caught:
        tiny_plan(changes)
    assert words in str(caught.value)


def test_a_teacher_of_another_data_set_is_refused(tiny_plan) -> None:
    ade = {"source": {"kind": "world", "world": "ade"}}
    runs = {"other": {"dataset": "ade", "method": "distill", "teacher": "ref-pe"}}
    with pytest.raises(ReclipError, match="on dataset 'ade'"):
        tiny_plan({"datasets": {"ade": ade}, "runs": runs})


# The check: more seeds for the runs of tables, and for no other.


def table(*runs: str) -> dict:
    """Changes: a table that measures these runs alone."""
    rows = [{"row": run, "cells": {"voc": {"paper": 1.0, "run": run}}} for run in runs]
    return {"tables": {"table4": {"title": "t", "rows": rows}}}


def seeds_of(plan: Plan) -> dict[str, list[int | None]]:
    stages = ("rectify", "pseudo-mask", "distill", "probe", "evaluate")
    return {f"{stage} {id}": list(plan.seeds(stage, id)) for stage in stages
            for id in plan.ids(stage)}  # fmt: skip


def test_the_check_adds_its_seeds_to_the_runs_of_tables_alone(tiny_plan) -> None:
    found = seeds_of(tiny_plan({"check": {"seeds": [4, 1, 2]}}))
    assert found["rectify ref-pe"] == found["evaluate ref-pe"] == [0, 1, 2, 4]
    assert found["pseudo-mask ref-pe"] == found["distill distill"] == found["probe probe"] == [0]
    assert found["evaluate query"] == [None]


def test_what_a_tables_run_learns_from_has_the_checks_seeds_too(tiny_plan) -> None:
    """A probe learns from a student, and that from a teacher; neither need be in a table."""
    found = seeds_of(tiny_plan({"check": {"seeds": [0, 1, 2]}, **table("query", "probe")}))
    assert {name: found[name] for name in found if name != "evaluate query"} == {
        name: [0, 1, 2] for name in found if name != "evaluate query"
    }


def test_the_check_changes_no_job_of_plain_snakemake(tiny_plan) -> None:
    """It adds jobs beside them, so nothing that is there is trained again."""
    changes = table("query", "ref-pe", "distill", "probe")
    without = {job.name: job.digest for job in tiny_plan(changes | {"check": None}).default_jobs}
    plan = tiny_plan(changes | {"check": {"seeds": [0, 1, 2]}})
    assert {job.name: job.digest for job in plan.default_jobs} == without
    check = plan.job("check", "tiny")
    added = {job.name for job in check.with_all_before} - without.keys()
    assert added == {
        "check tiny",
        *(f"distill distill seed {s}" for s in (1, 2)),
        *(f"probe probe seed {s}" for s in (1, 2)),
        *(f"pseudo-mask ref-pe seed {s}" for s in (1, 2)),
        *(f"evaluate {run} seed {s}" for run in ("distill", "probe") for s in (1, 2)),
        "rectify ref-pe seed 2", "evaluate ref-pe seed 2",
    }  # fmt: skip
    assert {job.name for job in plan.jobs} - without.keys() == added | {"package ref-pe"}


def test_no_seed_depends_on_the_other_seeds_of_the_check(tiny_plan) -> None:
    few, more = (tiny_plan({"check": {"seeds": seeds}}) for seeds in ([0, 1], [0, 1, 5]))
    digests = {job.name: job.digest for job in more.jobs}
    differing = {job.name for job in few.jobs if digests[job.name] != job.digest}
    assert differing == {"check tiny"}


def test_the_check_counts_its_own_seeds_alone(tiny_plan) -> None:
    """So that all rows have the same ones, whatever seeds the demo has."""
    plan = tiny_plan({"check": {"seeds": [1, 2]}, "seeds": {"rectify": [0, 7]}})
    assert [job.seed for job in plan.job("check", "tiny").inputs.values()] == [None, 1, 2]
    assert [job.seed for job in plan.job("gather", "ref-pe").inputs.values()] == [0, 7]


def test_an_unknown_job_is_one_sentence(tiny_plan) -> None:
    with pytest.raises(ReclipError, match="no run 'ref-ep' for rectify; did you mean 'ref-pe'"):
        tiny_plan().job("rectify", "ref-ep", 0)
    with pytest.raises(ReclipError, match="no dataset 'voc' for fetch; there are none"):
        tiny_plan().job("fetch", "voc")


@pytest.mark.parametrize(
    ("stage", "run", "seed", "words"),
    [
        (
            "rectify",
            "ref-pe",
            7,
            "run 'ref-pe' has no seed 7, but 0, 1: add it to the run's `seeds`",
        ),
        (
            "rectify",
            "ref-pe",
            None,
            "rectify runs one seed of 'ref-pe' at a time: name one of 0, 1 with --seed",
        ),
        ("evaluate", "query", 0, "evaluate query has no seeds: leave out --seed 0"),
        ("pseudo-mask", "ref-pe", 1, "no student learns from seed 1 of 'ref-pe', but from 0"),
        ("gather", "ref-pe", 0, "gather ref-pe has no seeds: leave out --seed 0"),
    ],
)
def test_an_unknown_seed_is_one_sentence(tiny_plan, stage, run, seed, words) -> None:
    with pytest.raises(ReclipError) as caught:
        tiny_plan().job(stage, run, seed)
    assert str(caught.value) == words


def test_an_added_seed_changes_no_job_of_another(tiny_plan) -> None:
    more = {"seeds": {"rectify": [0, 1, 3], "distill": [0, 3], "probe": [0, 3]}}
    own = {
        f"{stage} 3" for stage in (
            "rectify ref-pe seed", "pseudo-mask ref-pe seed", "distill distill seed",
            "probe probe seed", "evaluate ref-pe seed", "evaluate distill seed",
            "evaluate probe seed",
        )
    }  # fmt: skip
    show = {
        "gather ref-pe", "gather distill", "gather probe", "package ref-pe", "package distill",
        "tabulate table4", "plot tiny", "summarise tiny",
    }  # fmt: skip
    assert changed(tiny_plan, more) == own | show


def test_training_jobs_can_name_no_label_file(tiny_plan) -> None:
    """Of the dataset they get the folder whose train index has no labels; none gets `val`."""
    plan = tiny_plan()
    for stage, id in (("rectify", "ref-pe"), ("pseudo-mask", "ref-pe"), ("distill", "distill")):
        job = plan.job(stage, id, 0)
        assert "label" not in repr(job.wanted["settings"]) and "evaluate" not in job.inputs


# Staleness: a change reaches those jobs that read the setting, and no other.


def changed(tiny_plan, changes) -> set[str]:
    before, after = tiny_plan(), tiny_plan(changes)
    digests = {job.name: job.digest for job in before.jobs}
    return {job.name for job in after.jobs if digests.get(job.name) != job.digest}


def test_a_digest_is_a_function_of_the_settings(tiny_plan) -> None:
    assert changed(tiny_plan, {}) == set()
    assert changed(tiny_plan, {"rectify": {"lr": 0.01}}) == set()  # the default, written out


def test_a_change_reaches_all_that_depends_on_it_and_nothing_else(tiny_plan) -> None:
    assert changed(tiny_plan, {"runs": {"ref-pe": {"rectify": {"lr": 0.5}}}}) == {
        "rectify ref-pe seed 0", "rectify ref-pe seed 1", "pseudo-mask ref-pe seed 0",
        "distill distill seed 0", "probe probe seed 0",
        "evaluate ref-pe seed 0", "evaluate ref-pe seed 1", "evaluate distill seed 0",
        "evaluate probe seed 0", "gather ref-pe", "gather distill", "gather probe",
        "package ref-pe", "package distill", "tabulate table4", "plot tiny", "check tiny",
        "summarise tiny",
    }  # fmt: skip
    assert changed(tiny_plan, {"probe": {"epochs": 9}}) == {
        "probe probe seed 0", "evaluate probe seed 0", "gather probe",
    }  # fmt: skip
    assert changed(tiny_plan, {"tables": {"table4": {"title": "x"}}}) == {
        "tabulate table4", "check tiny",
    }  # fmt: skip


def test_windows_of_hypotheses_reach_the_features_only_where_they_are_used(tiny_plan) -> None:
    def digest(**hypotheses) -> str:
        return tiny_plan({"hypotheses": hypotheses}).job("cache-features", "voc").digest

    assert digest() == digest(window=9) == digest(stride=9)
    on_windows = [digest(image="windows", **more) for more in ({}, {"window": 9}, {"stride": 9})]
    assert len({digest(), *on_windows}) == 4
    assert digest(image="windows", threshold=1.0, fallback_k=9) == on_windows[0]


@pytest.mark.parametrize(
    "changes", [{"tracking": {"enabled": True}}, {"tracking": {"uri": "sqlite:///other.db"}}]
)
def test_tracking_reaches_no_result(tiny_plan, changes) -> None:
    assert changed(tiny_plan, changes) == set()


def test_a_limit_does_not_unpack_the_archive_again(tiny_plan) -> None:
    def plan(limit):
        return tiny_plan({"datasets": {"photos": {"source": {"kind": "voc", "limit": limit}}}})

    one, two = plan(1), plan(2)
    assert one.job("fetch", "photos").digest == two.job("fetch", "photos").digest
    assert one.job("prepare", "photos").digest != two.job("prepare", "photos").digest


def test_names_of_a_protocol_make_the_data_stale_and_only_they_are_in_its_settings(
    tiny_plan,
) -> None:
    plan, renamed = tiny_plan(), tiny_plan({"datasets": {"voc": {"names": "sclip"}}})
    own, other = (p.job("prepare", "voc").wanted["settings"] for p in (plan, renamed))
    assert own.keys() == {"source"}  # as before there was such a setting: no digest changes
    assert other == own | {"names": "sclip"}


def test_weights_count_by_content(tiny_plan, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    digests = []
    for content in (b"one", b"two"):
        file.write_bytes(content + content * len(digests))  # another size: no clock is involved
        plan = tiny_plan({"clip": {"checkpoint": str(file)}, "distill": {"checkpoint": str(file)}})
        digests.append(
            (plan.job("embed-text", "voc").digest, plan.job("distill", "distill", 0).wanted)
        )
    assert digests[0][0] != digests[1][0]
    settings = [wanted["settings"] for _, wanted in digests]
    assert settings[0]["weights"] != settings[1]["weights"]


@pytest.mark.parametrize("section", ["clip", "distill"])
def test_missing_weights_are_one_sentence(tiny_plan, section: str) -> None:
    plan = tiny_plan({section: {"checkpoint": "nowhere.pt"}})
    with pytest.raises(ReclipError, match=f"'{section}.checkpoint': no file 'nowhere.pt'"):
        plan.jobs  # noqa: B018


def test_pseudo_masks_are_made_for_the_seeds_that_teach(tiny_plan) -> None:
    plan = tiny_plan({"runs": {"distill": {"seeds": [1]}, "probe": {"seeds": [1]}}})
    assert plan.experiment.taught_seeds("ref-pe") == (1,)
    assert plan.experiment.taught_seeds("query") is None
    assert [job.name for job in plan.jobs_of("pseudo-mask", "ref-pe")] == [
        "pseudo-mask ref-pe seed 1"
    ]
    assert plan.ids("pseudo-mask") == ["ref-pe"]
    taught = tiny_plan({"runs": {"distill": {"teacher": "query", "distill": {"head": "query"}}},
                        "check": None})  # fmt: skip
    assert taught.experiment.taught_seeds("query") == ()
    assert taught.job("distill", "distill", 0).inputs["teacher"].name == "embed-text voc"


def test_another_archive_under_the_same_name_makes_the_data_stale(project, tiny_plan) -> None:
    archive = project / "voc.tar"
    source = {"kind": "voc", "archive": "voc.tar", "world": None, "train": None, "val": None}
    changes = {"datasets": {"voc": {"source": source}}}
    missing = tiny_plan(changes).job("fetch", "voc").digest
    archive.write_bytes(b"one")
    one = tiny_plan(changes).job("prepare", "voc").digest
    archive.write_bytes(b"another")
    other = tiny_plan(changes)
    assert other.job("prepare", "voc").digest != one
    assert other.job("fetch", "voc").digest != missing
