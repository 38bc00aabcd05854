"""`reclip compare`: runs side by side from their metrics files, never from stale results."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reclip.cli import main
from reclip.common.errors import ReclipError
from reclip.common.files import write_json
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish
from reclip.tracking.compare import compare, differing
from support.mlflow_results import finish_with

CLASSES = {"cat": (10.0, 40.0), "dog": (50.0, 45.0), "bird": (30.0, 31.0), "nowhere": (None, None)}


def evaluate(plan: Plan, run: str, miou: float, sd: float | None, iou: dict) -> None:
    """Write a run's metrics: each seed has these IoUs, the second and later ones 2 points more."""
    job = plan.job("gather", run)
    seeds = job.settings["seeds"] or (None,)
    results = [
        {"seed": s, "iou": [v if v is None or k == 0 else v + 2 for v in iou.values()]}
        for k, s in enumerate(seeds)
    ]
    metrics = {
        "classes": list(iou),
        "seeds": results,
        "miou": {"mean": miou, "sd": sd},
        "pixel_accuracy": {"mean": 80.04, "sd": sd},
    }
    write_json(job.outputs[0], metrics)
    finish_with(job, {"distance.csv": ""})
    finish(job, [job.outputs[0]])


@pytest.fixture
def plan(project: Path, tiny_params) -> Plan:
    made = Plan.load("params.yaml")
    evaluate(made, "query", 42.31, None, {c: v[0] for c, v in CLASSES.items()})
    evaluate(made, "ref-pe", 52.57, 1.43, {c: v[1] for c, v in CLASSES.items()})
    evaluate(made, "distill", 53.9, None, {"cat": 10.0, "horse": 99.0})
    return made


def test_two_runs_side_by_side(plan: Plan) -> None:
    settings, results, classes = compare(plan, ["query", "ref-pe"]).split("\n\n")
    assert settings.splitlines() == [
        "settings that differ  query       ref-pe",
        "method                query      rectify",
        "rectify.*                 -  28 settings",
        "seeds                     -       [0, 1]",
    ]
    assert results.splitlines() == [
        "result, %      query      ref-pe",
        "mIoU            42.3  52.6 ± 1.4",
        "pixel accuracy  80.0  80.0 ± 1.4",
        "seeds              -           2",
    ]
    assert classes.splitlines() == [
        "IoU by class, 3 of 3 query        ref-pe",
        "cat                   10.0  41.0 (+31.0)",
        "dog                   50.0   46.0 (-4.0)",
        "bird                  30.0   32.0 (+2.0)",
    ]


def test_differences_are_to_the_first_and_the_largest_come_first(plan: Plan) -> None:
    classes = compare(plan, ["ref-pe", "query", "ref-pe"], top=2).split("\n\n")[2]
    assert classes.splitlines() == [
        "IoU by class, 2 of 3 ref-pe         query",
        "cat                    41.0  10.0 (-31.0)",
        "dog                    46.0   50.0 (+4.0)",
    ]


def test_classes_that_some_runs_lack_are_skipped(plan: Plan) -> None:
    assert "IoU by class, 1 of 1" in compare(plan, ["query", "distill"])
    evaluate(plan, "distill", 53.9, None, {"horse": 99.0})
    assert "the runs have no class in common" in compare(plan, ["query", "distill"])


def test_a_section_that_some_runs_lack_is_compared_between_the_others() -> None:
    found = differing(
        {
            "a": {"method": "query", "clip.mlp": False, "image.side": 3},
            "b": {"method": "rectify", "clip.mlp": False, "rectify.lr": 1, "rectify.batch": 4},
            "c": {"method": "rectify", "clip.mlp": True, "rectify.lr": 2, "rectify.batch": 4},
        }
    )
    assert list(found.columns) == ["a", "b", "c"]
    assert list(found.itertuples(name=None)) == [
        ("clip.mlp", "false", "false", "true"),
        ("image.*", "1 settings", "-", "-"),
        ("method", "query", "rectify", "rectify"),
        ("rectify.*", "-", "2 settings", "2 settings"),
        ("rectify.lr", "-", "1", "2"),
    ]
    assert differing({"a": {"a": 1}, "b": {"a": 1}}).empty


def test_runs_of_equal_settings_and_no_class(plan: Plan, monkeypatch) -> None:
    monkeypatch.setattr("reclip.tracking.compare.settings_behind", lambda plan, run: {"a": 1})
    settings, _, classes = compare(plan, ["query", "ref-pe"], top=0).split("\n\n")
    assert settings == "settings that differ: none"
    assert classes == "IoU by class, 0 of 3: none"


def test_the_settings_of_a_teacher_differ_too(project: Path, tiny_params) -> None:
    """The students have the same settings here, and their teachers do not."""
    params = tiny_params()
    params["runs"]["add"] = {"dataset": "voc", "method": "rectify", "rectify": {"combine": "add"}}
    params["runs"]["of-add"] = {"dataset": "voc", "method": "distill", "teacher": "add"}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    plan = Plan.load("params.yaml")
    for run in ("distill", "of-add"):
        evaluate(plan, run, 50.0, None, {"cat": 10.0})
    assert compare(plan, ["distill", "of-add"]).splitlines()[1:3] == [
        "rectify.combine       subtract    add",
        "teacher                 ref-pe    add",
    ]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (["query"], "name two runs or more"),
        (["query", "query"], "name two runs or more"),
        (["query", "ref-p"], "no run 'ref-p' for gather; did you mean 'ref-pe'?"),
        (
            ["query", "probe"],
            "gather probe is stale (not made yet): "
            "run `snakemake results/tiny/runs/probe/metrics.json`",
        ),
    ],
)
def test_runs_that_cannot_be_compared_give_one_sentence(
    plan: Plan, runs: list[str], words: str
) -> None:
    with pytest.raises(ReclipError) as told:
        compare(plan, runs)
    assert words in str(told.value) and "\n" not in told.value.args[0]


def test_results_of_other_settings_are_refused(plan: Plan, tiny_params) -> None:
    """Some results belong to earlier settings; the error names all targets to run."""
    changed = tiny_params({"rectify": {"lr": 0.5}})
    Path("other.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
    with pytest.raises(ReclipError) as told:
        compare(Plan.load("other.yaml"), ["query", "ref-pe", "distill"])
    said = str(told.value)
    assert said.startswith("gather ref-pe is stale (")
    assert "), and 1 more: run `snakemake " in said
    targets = [f"results/tiny/runs/{run}/metrics.json" for run in ("ref-pe", "distill")]
    assert said.endswith(f"{' '.join(targets)} --config params=other.yaml`")


def test_the_command(plan: Plan, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["reclip", "compare", "query", "ref-pe", "--top", "1"])
    main.main()
    assert capsys.readouterr().out.rstrip().endswith("cat                   10.0  41.0 (+31.0)")
    Path("params.yaml").rename("p.yaml")
    command = ["reclip", "compare", "query", "probe", "--params", "p.yaml"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 1 and "--config params=p.yaml`" in capsys.readouterr().err
