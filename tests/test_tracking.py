"""MLflow mirrors the results: once each, from several processes at once, and at no one's cost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from reclip import tracking
from reclip.files import write_json, write_text
from reclip.jobs import Job
from reclip.plan import Plan
from reclip.tracking import children, epoch_means, flatten

CURVE = "step,epoch,lr,loss\n0,0,0.1,4\n1,0,0.3,2\n2,1,0.2,1\n"


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", *tracking.PATIENCE):
        monkeypatch.setenv(name, "")  # so that it is restored, whatever a test sets
        monkeypatch.delenv(name)


def test_curves_are_mirrored_as_a_mean_an_epoch(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", CURVE)
    assert epoch_means(tmp_path / "a.csv") == {
        "loss": [(0, 3.0), (1, 1.0)],
        "lr": [(0, pytest.approx(0.2)), (1, 0.2)],
    }


def test_settings_are_flattened_to_their_leaves() -> None:
    data = {"a": {"b": 1, "c": {"d": None}}, "e": [1, {"f": 2}], "g": {}}
    assert list(flatten(data)) == [("a.b", 1), ("a.c.d", None), ("e", [1, {"f": 2}])]


def finish(job: Job, files: dict[str, str]) -> Job:
    paths = [job.folder / name for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        write_text(path, text)
    job.done(paths)
    return job


def finish_rectify(plan: Plan) -> Job:
    files = {f"seed-{s}.safetensors": f"weights {s}" for s in (0, 1)}
    files |= {f"seed-{s}-curve.csv": CURVE for s in (0, 1)}
    return finish(plan.job("rectify", "ref-pe"), files)


def finish_evaluate(plan: Plan, run: str = "ref-pe", seeds=(0, 1)) -> Job:
    job = plan.job("evaluate", run)
    results = [
        {"seed": s, "miou": 60.0 + k, "pixel_accuracy": 80.0, "iou": [50.0, None]}
        for k, s in enumerate(seeds)
    ]
    write_json(job.outputs[0], {"seeds": results, "classes": ["red dots", "red waves"]})
    write_text(job.folder / "distance.csv", "seed,from\n")
    job.done([job.outputs[0], job.folder / "distance.csv"])
    return job


def test_a_trained_seed_is_a_child_with_its_curve(project: Path, tiny_plan) -> None:
    found = children(finish_rectify(tiny_plan()))
    assert [child.seed for child in found] == [0, 1]
    assert found[0].curves["loss"] == [(0, 3.0), (1, 1.0)]
    assert [p.name for p in found[1].artifacts] == ["seed-1-curve.csv"]


def test_an_evaluated_seed_is_a_child_with_its_metrics(project: Path, tiny_plan) -> None:
    found = children(finish_evaluate(tiny_plan()))
    assert [child.seed for child in found] == [0, 1]
    assert found[1].metrics == {"miou": 61.0, "pixel_accuracy": 80.0, "iou/red dots": 50.0}


def test_many_files_are_mirrored_by_their_receipt_alone(project: Path, tiny_plan) -> None:
    job = finish(tiny_plan().job("prepare", "voc"), {f"{k}.png": "x" for k in range(30)})
    (child,) = children(job)
    assert child.seed is None and child.artifacts == [job.receipt]
    few = finish(tiny_plan().job("plot", "tiny"), {"a.png": "x", "b.npy": "x"})
    assert [p.name for p in children(few)[0].artifacts] == ["a.png"]


# With a real store.

URI = "sqlite:///mlflow.db"
ON = {"tracking": {"enabled": True, "uri": URI}}


def logged(plan: Plan) -> list:
    """Every child run, and every parent, in the store."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=URI)
    experiment = client.get_experiment_by_name(plan.params.experiment)
    return client.search_runs([experiment.experiment_id])


MIRROR = """
import sys, time
from pathlib import Path
from reclip import tracking
from reclip.plan import Plan
plan = Plan.load("params.yaml")
while not Path("go").exists():
    time.sleep(0.01)
tracking.mirror(plan, plan.job(sys.argv[1], "ref-pe"))
"""


def test_two_processes_open_a_new_store_at_once(project: Path, tiny_params) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(tiny_params(ON)), encoding="utf-8")
    plan = Plan.load("params.yaml")
    finish_rectify(plan)
    finish_evaluate(plan)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIRROR, stage],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for stage in ("rectify", "evaluate")
    ]
    time.sleep(0.5)
    Path("go").touch()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0 and "was not logged" not in errors, errors

    runs = logged(plan)
    kinds = sorted(
        (run.data.tags["reclip.stage"], run.data.tags["reclip.seed"])
        for run in runs
        if "reclip.stage" in run.data.tags
    )
    assert kinds == [("evaluate", "0"), ("evaluate", "1"), ("rectify", "0"), ("rectify", "1")]
    (parent,) = [run for run in runs if run.data.tags.get("reclip.parent") == "ref-pe"]
    for run in runs:
        tags = run.data.tags
        assert run.info.status == "FINISHED"
        if run is parent:
            continue
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert tags["reclip.job"] == plan.job(tags["reclip.stage"], "ref-pe").digest
        (dataset,) = run.inputs.dataset_inputs
        assert dataset.dataset.name == "voc"
    by_name = {run.info.run_name: run.data for run in runs}
    assert by_name["evaluate seed 1"].metrics["miou"] == 61.0
    assert by_name["rectify seed 0"].metrics["loss"] == 1.0  # the last epoch's
    assert by_name["rectify seed 0"].params["rectify.lr"] == "0.01"

    # A second mirror finds them there; a broken-off attempt is made again.
    for stage in ("rectify", "evaluate"):
        tracking.mirror(plan, plan.job(stage, "ref-pe"))
    assert len(logged(plan)) == len(runs)

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=URI)
    broken = next(run for run in runs if run.info.run_name == "evaluate seed 1")
    client.update_run(broken.info.run_id, status="RUNNING")
    tracking.mirror(plan, plan.job("evaluate", "ref-pe"))
    again = [run for run in logged(plan) if run.info.run_name == "evaluate seed 1"]
    assert [run.info.status for run in again] == ["FINISHED"]
    assert again[0].info.run_id != broken.info.run_id


def test_a_fault_of_the_store_is_a_warning(project: Path, tiny_plan, caplog) -> None:
    Path("broken.db").write_text("this is no database")
    plan = tiny_plan({"tracking": {"enabled": True, "uri": "sqlite:///broken.db"}})
    tracking.mirror(plan, finish_evaluate(plan))
    (record,) = [r for r in caplog.records if r.name == "reclip.tracking"]
    assert "evaluate ref-pe was not logged" in record.message and "sync-mlflow" in record.message


def test_a_server_that_does_not_answer_is_not_waited_for(project: Path, tiny_plan, caplog) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"  # bound, but nobody listens
        plan = tiny_plan({"tracking": {"enabled": True, "uri": uri}})
        job = finish_evaluate(plan)
        import mlflow.tracking  # noqa: F401  (not part of the wait)

        began = time.monotonic()
        tracking.mirror(plan, job)
    assert time.monotonic() - began < 30  # MLflow's defaults: 246 s
    assert "was not logged" in caplog.text


def test_tracking_that_is_off_does_nothing(project: Path, tiny_plan, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "_mirror", lambda *_: pytest.fail("it was called"))
    plan = tiny_plan()
    tracking.mirror(plan, plan.job("prepare", "voc"))
    assert not Path("mlflow.db").exists()


def test_the_environment_names_another_server(project: Path, tiny_plan, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(tracking, "_mirror", lambda plan, job, uri: asked.append(uri))
    plan = tiny_plan(ON)
    for value in ("file:elsewhere", ""):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
        tracking.mirror(plan, plan.job("prepare", "voc"))
    assert asked == ["file:elsewhere", URI]  # an empty variable is none
