"""MLflow has each result exactly once, complete, and a fault of MLflow costs no result."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from reclip.common.errors import ReclipError
from reclip.common.files import write_text
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.tracking import records, sync, usage
from reclip.tracking import server as tracking_store
from reclip.tracking.results import flatten, readings, settings_behind, summary, thinned
from support.mlflow_audit import runs_in, wrong_in
from support.mlflow_results import (
    finish_all,
    finish_evaluation,
    finish_metrics,
    finish_training,
    finish_trainings,
    finish_with,
    write_params,
)
from support.mlflow_servers import answering, deaf_server, free_port, no_server


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", sync.LATER, *sync.PATIENCE):
        monkeypatch.setenv(name, "")  # so that it is restored, whatever a test sets
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A store without runs: MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").get_experiment_by_name("none")
    return path


@pytest.fixture
def uri(project: Path, empty_store: Path) -> str:
    """The project's own store, still empty."""
    shutil.copy(empty_store, project / "mlflow.db")
    return f"sqlite:///{project}/mlflow.db"


@pytest.fixture
def tracked(uri: str, tiny_params):
    """`tracked(changes)`: the tiny experiment's plan, logged to `uri`."""

    def plan(changes: dict | None = None, **tracking: object) -> Plan:
        params = tiny_params(changes)
        params["tracking"] = {"enabled": True, "uri": uri, **tracking}
        return write_params(yaml.safe_dump(params))

    return plan


def by_name(uri: str) -> dict:
    """Return the runs of the store by name; no two may have the same name."""
    runs = runs_in(uri)
    found = {run.info.run_name: run for run in runs}
    assert len(found) == len(runs)
    return found


# Records of a job


def test_a_long_curve_is_thinned_to_means(tmp_path: Path) -> None:
    rows = "".join(f"{k},{k // 100},{k},{2 * k},{k}\n" for k in range(1001))
    write_text(tmp_path / "a.csv", f"step,epoch,loss,mask,only\n{rows}")
    found = thinned(tmp_path / "a.csv")
    assert sorted(found) == ["loss", "mask"]  # the other term is the loss itself
    assert len(found["loss"]) == 91  # 11 steps a point
    assert found["loss"][:2] == [(10, 5.0), (21, 16.0)] and found["loss"][-1] == (1000, 995.0)


def test_an_empty_curve_is_none(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "step,epoch,loss\n")
    assert thinned(tmp_path / "a.csv") == {}


def test_settings_are_flattened_to_their_leaves() -> None:
    data = {"a": {"b": 1, "c": {"d": None}}, "e": [1, {"f": 2}], "g": {}}
    assert list(flatten(data)) == [("a.b", 1), ("a.c.d", None), ("e", [1, {"f": 2}])]


def test_a_students_settings_are_its_own_and_those_of_its_teacher(tiny_plan) -> None:
    changes = {"runs": {"ref-pe": {"rectify": {"lr": 0.5}}, "distill": {"distill": {"alpha": 0}}}}
    found = settings_behind(tiny_plan(changes), "distill")
    assert (found["method"], found["teacher"], found["seeds"]) == ("distill", "ref-pe", [0])
    assert (found["rectify.lr"], found["distill.alpha"]) == (0.5, 0)
    assert (found["views.count"], found["source.train"]) == (2, 6)
    assert not {"checkpoint", "clip.pretrained"} & found.keys()  # not set


def test_windows_of_hypotheses_are_named_once(tiny_plan) -> None:
    changes = {"hypotheses": {"image": "windows", "window": 9, "stride": 5}}
    found = settings_behind(tiny_plan(changes), "ref-pe")
    named = {key: value for key, value in found.items() if value in ("windows", 9, 5)}
    assert named == {
        "hypotheses.image": "windows", "hypotheses.stride": 5, "hypotheses.window": 9,
    }  # fmt: skip


def test_many_files_are_not_listed_one_by_one(project: Path, tiny_plan) -> None:
    many = finish_with(tiny_plan().job("prepare", "voc"), {f"{k}.png": "x" for k in range(30)})
    assert readings(many).files == []
    few = finish_with(tiny_plan().job("plot", "tiny"), {"a.png": "x", "b.npy": "x"})
    assert [p.name for p in readings(few).files] == ["a.png"]


def test_a_job_notes_its_resources_and_its_commit(project: Path, tiny_plan) -> None:
    job = tiny_plan().job("rectify", "ref-pe", 1)
    began = time.time()
    finish_training(job)
    usage.note(job)
    note = usage.read(job)
    assert note["began"] < began < note["ended"] and note["commit"] is None
    assert note["cpu_seconds"] > 0 and 10 < note["peak_memory_megabytes"] < 1e5
    # A note of other settings or of another seed does not count for this job.
    assert usage.read(tiny_plan({"rectify": {"lr": 0.5}}).job("rectify", "ref-pe", 1)) is None
    assert usage.read(tiny_plan().job("rectify", "ref-pe", 0)) is None

    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    usage.note(job)
    record = records.child(tiny_plan(), job)
    assert len(record.tags["mlflow.source.git.commit"]) == 40
    assert record.metrics["system/peak_memory_megabytes"] > 10
    assert record.metrics["system/cpu_utilization_percentage"] > 0
    assert record.ended - record.began == pytest.approx(record.metrics["system/seconds"], abs=30)


def test_classes_whose_names_mlflow_writes_alike_keep_their_own_metric() -> None:
    metrics = {
        "classes": ["cat/dog", "cat|dog", "sea"],
        "seeds": [{"iou": [10.0, 20.0, 30.0]}],
        **{name: {"mean": 50.0, "sd": None} for name in ("miou", "pixel_accuracy")},
    }
    iou = {name: value for name, value in summary(metrics).items() if "iou/" in name}
    assert iou == {"val_iou/cat-dog 0": 10, "val_iou/cat-dog 1": 20, "val_iou/sea": 30}


# Runs in the store


def test_a_run_id_is_a_parent_with_its_stages_and_seeds_below(uri: str, tracked) -> None:
    plan = tracked()
    trainings = finish_trainings(plan, "ref-pe")
    gathered = finish_metrics(plan, "ref-pe")
    jobs = [*trainings, *gathered.inputs.values(), gathered]
    for job in jobs:
        sync.mirror(plan, job)
    runs = by_name(uri)
    stages = [f"ref-pe {stage} seed {k}" for stage in ("rectify", "evaluate") for k in (0, 1)]
    assert set(runs) == {"ref-pe", *stages, "ref-pe gather"}
    assert wrong_in(uri, jobs) == []

    row = runs["ref-pe"].data  # sorted and compared by this
    assert row.metrics == {
        "miou": 60.5, "miou_sd": 0.71, "pixel_accuracy": 80.0, "pixel_accuracy_sd": 0.0,
        "val_iou/red dots": 50.62, "val_iou/tv-monitor": 70.0,
    }  # fmt: skip
    want = {"dataset": "voc", "rectify.lr": "0.01", "rectify.learn_query": "false"}
    assert want.items() <= row.params.items()
    took = [usage.read(job) for job in jobs]
    whole = runs["ref-pe"].info.end_time - runs["ref-pe"].info.start_time
    assert whole == pytest.approx(1000 * sum(t["ended"] - t["began"] for t in took), abs=10)
    assert row.tags["mlflow.note.content"] == "table4: Query + Reference + PE (voc)"

    child = runs["ref-pe rectify seed 1"]
    want = {
        "kind": "stage", "run": "ref-pe", "dataset": "voc", "method": "rectify", "seed": "1",
        "stage": "rectify", "digest": trainings[1].digest,
        "mlflow.source.name": "reclip rectify --run ref-pe --seed 1",
        "mlflow.parentRunId": runs["ref-pe"].info.run_id,
    }  # fmt: skip
    assert want.items() <= child.data.tags.items()
    assert "mlflow.source.git.commit" not in child.data.tags  # there is no git here
    assert child.data.metrics["loss"] == pytest.approx(5.0, abs=0.02)
    assert {"system/cpu_seconds", "lr"} <= child.data.metrics.keys()
    assert child.data.params["rectify.positional_hidden"] == "[8, 4]"
    assert "evaluate.distance_bins" not in child.data.params
    for name, split in (("ref-pe rectify seed 1", "train"), ("ref-pe evaluate seed 1", "val")):
        (used,) = runs[name].inputs.dataset_inputs
        assert used.dataset.name == "voc" and len(used.dataset.digest) == 12
        assert [tag.value for tag in used.tags] == [split]
    client = MlflowClient(tracking_uri=uri)
    listed = [f.path for f in client.list_artifacts(child.info.run_id)]
    assert listed == ["curve.csv", "receipt.json"]
    points = client.get_metric_history(child.info.run_id, "loss")
    assert points[0].timestamp <= points[-1].timestamp == child.info.end_time


def test_tables_figures_and_datasets_have_parents(uri: str, tracked) -> None:
    plan = tracked()
    finish_all(plan)
    some = [plan.job(stage, "voc") for stage in ("prepare", "cache-features")]
    for job in some:
        usage.note(job)
    assert "logged 24 of 24" in sync.sync(plan)
    assert wrong_in(uri, plan.jobs) == []
    runs = by_name(uri)
    took = sum(note["ended"] - note["began"] for note in map(usage.read, some))
    whole = runs["data voc"].info.end_time - runs["data voc"].info.start_time
    assert whole == pytest.approx(1000 * took, abs=10)
    rows = {name: run for name, run in runs.items() if "mlflow.parentRunId" not in run.data.tags}
    assert set(rows) == {"query", "ref-pe", "distill", "probe", "data voc", "tables and figures"}
    table = runs["table4 Effect of bias modeling"]
    assert table.data.tags["mlflow.parentRunId"] == rows["tables and figures"].info.run_id
    client = MlflowClient(tracking_uri=uri)
    shown = {f.path for f in client.list_artifacts(table.info.run_id)}
    assert shown == {f"table4.{kind}" for kind in ("csv", "html", "md", "receipt.json")}
    figures = {f.path for f in client.list_artifacts(runs["tiny plot"].info.run_id)}
    assert {"examples.png", "curves.png"} <= figures


def test_a_second_sync_changes_nothing(uri: str, tracked) -> None:
    plan = tracked()
    finish_all(plan)
    sync.sync(plan)
    before = [run.to_dictionary() for run in runs_in(uri)]
    assert "logged 0 of 24" in sync.sync(plan)
    sync.mirror(plan, plan.job("gather", "ref-pe"))
    assert [run.to_dictionary() for run in runs_in(uri)] == before


def test_changed_settings_are_new_runs_and_a_revert_finds_the_old_ones(uri: str, tracked) -> None:
    plan = tracked()
    finish_trainings(plan, "ref-pe")
    finish_metrics(plan, "ref-pe")
    sync.sync(plan)
    first = by_name(uri)

    changed = tracked({"rectify": {"lr": 0.5}})
    finish_trainings(changed, "ref-pe")
    sync.sync(changed)
    (row,) = [run for run in runs_in(uri) if run.data.tags["kind"] == "run"]
    assert row.data.params["rectify.lr"] == "0.5"
    assert "miou" not in row.data.metrics  # these settings have not been evaluated
    finish_metrics(changed, "ref-pe", miou=70.0)
    sync.sync(changed)
    (row,) = [run for run in runs_in(uri) if run.data.tags["kind"] == "run"]
    assert row.data.metrics["miou"] == 70.5
    children = [run for run in runs_in(uri) if run.data.tags["kind"] == "stage"]
    assert len(children) == 10
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {row.info.run_id}
    old = {run.info.run_id for run in children if run.data.tags.get("superseded")}
    assert old == {run.info.run_id for run in first.values() if "stage" in run.data.tags}
    again = MlflowClient(tracking_uri=uri).get_run(first["ref-pe rectify seed 0"].info.run_id)
    assert again.data.tags["digest"] == plan.job("rectify", "ref-pe", 0).digest

    plan = tracked()
    finish_trainings(plan, "ref-pe")
    finish_metrics(plan, "ref-pe")
    sync.sync(plan)
    runs = runs_in(uri)
    (row,) = [run for run in runs if run.data.tags["kind"] == "run"]
    assert (row.data.params["rectify.lr"], row.data.metrics["miou"]) == ("0.01", 60.5)
    now = {run.info.run_id for run in runs if "stage" in run.data.tags} - {
        run.info.run_id for run in runs if run.data.tags.get("superseded")
    }
    assert now == old and len(runs) == 11


def test_the_settings_of_a_dataset_can_be_reverted_too(uri: str, tracked) -> None:
    """The parent of a dataset has no settings; its stages have them."""
    for count, old in ((2, 0), (3, 1), (2, 1)):
        plan = tracked({"views": {"count": count}})
        finish_with(plan.job("cache-features", "voc"), {"made.csv": "x"})
        sync.sync(plan)
        runs = [run for run in runs_in(uri) if run.data.tags["kind"] == "stage"]
        superseded = [run for run in runs if "superseded" in run.data.tags]
        assert len(superseded) == old
        assert {run.data.params["views.count"] for run in superseded} <= {str(5 - count)}


def test_a_new_value_at_the_same_settings_replaces_the_parents_value(uri: str, tracked) -> None:
    """The code or the inputs of the evaluation changed: only the digest shows it."""
    plan = tracked()
    sync.mirror(plan, finish_metrics(plan, "query"))
    job = plan.job("gather", "query")
    job.wanted["digest"] = "0" * 64
    sync.mirror(plan, finish_metrics(plan, "query", miou=66.0))
    runs = runs_in(uri)
    (row,) = [run for run in runs if run.data.tags["kind"] == "run"]
    assert (row.data.metrics["miou"], len(runs)) == (66.0, 3)

    client = MlflowClient(tracking_uri=uri)
    client.delete_tag(row.info.run_id, "digest")  # as if killed before it was set
    sync.sync(plan)
    assert client.get_run(row.info.run_id).data.tags["digest"] == "0" * 64


def test_an_interrupted_parent_is_resumed(uri: str, tracked) -> None:
    plan = tracked()
    job = finish_training(plan.job("rectify", "ref-pe", 0))
    client = MlflowClient(tracking_uri=uri)
    tags = {"kind": "run", "run": "ref-pe", "dataset": "voc"}
    begun = client.create_run(client.create_experiment("tiny"), tags=tags, run_name="ref-pe")
    client.log_param(begun.info.run_id, "method", "rectify")
    sync.mirror(plan, job)
    row = by_name(uri)["ref-pe"]
    assert row.info.run_id == begun.info.run_id and wrong_in(uri, [job]) == []
    assert len(row.data.params) > 40
    assert row.inputs.dataset_inputs[0].dataset.name == "voc"


def test_sync_repairs_duplicates_deletions_and_interrupted_runs(uri: str, tracked) -> None:
    plan = tracked()
    finish_all(plan)
    sync.sync(plan)
    client = MlflowClient(tracking_uri=uri)
    runs = by_name(uri)
    client.delete_run(runs["query evaluate"].info.run_id)
    client.delete_run(runs["ref-pe"].info.run_id)
    for name in ("distill", "voc embed-text"):  # killed at the very end
        client.update_run(runs[name].info.run_id, status="RUNNING")
    for name in ("probe", "probe evaluate seed 0"):  # another machine's, at the same moment
        twin = runs[name]
        tags = {k: v for k, v in twin.data.tags.items() if not k.startswith("mlflow.")}
        client.create_run(twin.info.experiment_id, tags=tags, run_name=name)
    assert wrong_in(uri, plan.jobs) != []
    sync.sync(plan)
    for stage in ("probe", "evaluate"):
        sync.mirror(plan, plan.job(stage, "probe", 0))
    assert wrong_in(uri, plan.jobs) == []
    by_name(uri)


# Faults


def test_a_fault_of_the_store_is_a_warning(tracked, project: Path, caplog) -> None:
    (project / "mlflow.db").write_text("this is no database")
    plan = tracked()
    sync.mirror(plan, finish_evaluation(plan.job("evaluate", "query")))
    (record,) = [r for r in caplog.records if r.name == "reclip.tracking.sync"]
    assert "evaluate query was not logged" in record.message and "sync-mlflow" in record.message
    with pytest.raises(ReclipError, match="nothing was logged to sqlite:.*not a database"):
        sync.sync(plan)


def test_a_fault_of_one_result_does_not_stop_the_others(uri: str, tracked) -> None:
    plan = tracked()
    finish_all(plan)
    path = plan.job("probe", "probe", 0).folder / "curve.csv"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(ReclipError, match="logged 23 of 24 fresh .* probe probe seed 0: "):
        sync.sync(plan)
    others = [job for job in plan.jobs if job.name != "probe probe seed 0"]
    assert wrong_in(uri, others) == []


def test_a_deleted_experiment_is_reported(uri: str, tracked) -> None:
    plan = tracked()
    finish_evaluation(plan.job("evaluate", "query"))
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.create_experiment("tiny"))
    with pytest.raises(ReclipError, match="'tiny' was deleted there: .* restore -x 1`"):
        sync.sync(plan)


def test_logging_that_takes_too_long_is_left_to_sync(
    uri: str, tracked, monkeypatch, caplog
) -> None:
    plan = tracked()
    job = finish_evaluation(plan.job("evaluate", "query"))
    monkeypatch.setattr(sync, "JOB_SECONDS", -1)
    sync.mirror(plan, job)
    assert "was not logged" in caplog.text and "it takes too long" in caplog.text
    sync.sync(plan)
    assert wrong_in(uri, [job]) == []


def test_a_locked_store_is_not_waited_for(uri: str, tracked, monkeypatch, caplog):
    plan = tracked()
    job = finish_evaluation(plan.job("evaluate", "query"))
    monkeypatch.setattr(tracking_store, "LOCK_SECONDS", 0.2)
    with tracking_store.lock(uri):
        sync.mirror(plan, job)
    assert "was not logged" in caplog.text and "could not be acquired" in caplog.text


def hang(handler) -> None:
    time.sleep(30)


def come_back_later(handler) -> None:
    handler.send_response(503)
    handler.send_header("Retry-After", "600")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize(
    ("server", "seconds", "told"),
    [
        (no_server, 10, "it does not answer"),
        (deaf_server, 10, "it does not answer"),
        (lambda: answering(hang), 20, "Read timed out"),
        (lambda: answering(come_back_later), 20, "too many 503 error responses"),
    ],
    ids=["nobody there", "accepts and is silent", "hangs later", "asks for ten minutes"],
)
def test_a_bad_server_does_not_hold_up_a_job(
    tracked, monkeypatch, caplog, server, seconds, told
) -> None:
    monkeypatch.setattr(tracking_store, "HEALTH_SECONDS", 1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # the user's own choice is kept
    with server() as uri:
        plan = tracked(uri=uri)
        job = finish_evaluation(plan.job("evaluate", "query"))
        began = time.monotonic()
        sync.mirror(plan, job)
        assert time.monotonic() - began < seconds  # MLflow's defaults: 246 s, and ten minutes
    (record,) = [r for r in caplog.records if r.name == "reclip.tracking.sync"]
    assert "was not logged" in record.message and told in record.message
    assert "\n" not in record.message and len(record.message) < 500
    assert why_stale(job) is None


def test_a_server_that_refuses_does_answer() -> None:
    def refuse(handler) -> None:
        handler.send_error(401)

    with answering(refuse) as uri:
        assert tracking_store.answers(f"{uri}/behind/a/path/")


def test_sync_without_a_server_logs_nothing_and_shows_no_password(tracked, monkeypatch) -> None:
    plan = tracked()
    finish_all(plan)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    with pytest.raises(ReclipError, match="nothing was logged to http://127.0.0.1:") as told:
        sync.sync(plan)
    assert "does not answer" in str(told.value) and "\n" not in told.value.args[0]
    assert "secret" not in str(told.value)


def test_sync_stops_once_a_server_is_gone(uri: str, tracked, monkeypatch) -> None:
    plan = tracked()
    finish_all(plan)
    tried = []

    def fail(store, parent, child):
        tried.append(parent.name)
        raise OSError("connection lost")

    monkeypatch.setattr("reclip.tracking.sync.record", fail)
    with pytest.raises(ReclipError, match="logged 0 of 24 .* then prepare voc: connection lost"):
        sync.sync(plan)
    assert len(tried) == 24  # the store answers, so the fault may concern one result
    monkeypatch.setattr(sync, "answers", lambda uri: not tried)
    tried.clear()
    with pytest.raises(ReclipError, match="connection lost"):
        sync.sync(plan)
    assert len(tried) == 1  # and not 20 seconds for each of the others


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:///mlflow.db", "mlflow.db"),
        ("sqlite:////there/a.db?timeout=3", "/there/a.db"),
        ("sqlite:///:memory:", None),
        ("http://localhost:5000", None),
        ("postgresql://me@there/mlflow", None),
    ],
)
def test_the_file_of_a_store(uri: str, file: str | None) -> None:
    assert tracking_store.sqlite_file(uri) == (file and Path(file))


# Switches


def test_tracking_that_is_off_does_nothing(project: Path, tiny_plan) -> None:
    plan = tiny_plan()
    sync.mirror(plan, finish_evaluation(plan.job("evaluate", "query")))
    assert "tracking is off" in sync.sync(plan)
    assert not (project / "mlflow.db").exists() and not (project / "logs").exists()


def test_the_environment_names_another_store(tracked, monkeypatch) -> None:
    plan = tracked(uri="sqlite:///own.db")
    for value, uri in (("http://elsewhere", "http://elsewhere"), ("", "sqlite:///own.db")):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", value)  # an empty variable does not count
        assert tracking_store.store_uri(plan) == uri


def test_with_later_a_job_only_notes_its_resources(tracked, uri: str, monkeypatch) -> None:
    plan = tracked()
    job = finish_evaluation(plan.job("evaluate", "query"))
    monkeypatch.setenv(sync.LATER, "1")
    sync.mirror(plan, job)
    assert runs_in(uri) == [] and usage.read(job)
    sync.sync(plan)
    (child,) = [run for run in runs_in(uri) if run.data.tags["kind"] == "stage"]
    assert child.data.metrics["system/seconds"] > 0


@pytest.mark.parametrize(("later", "code", "word"), [("", 1, "error: "), ("1", 0, "tracking: ")])
def test_sync_without_a_server_fails_only_for_a_user(
    tracked, capsys, monkeypatch, later: str, code: int, word: str
) -> None:
    """At the end of a Snakemake run the results are complete, so it must not fail."""
    from reclip.cli import main

    finish_all(tracked(uri=f"http://127.0.0.1:{free_port()}"))
    monkeypatch.setenv(sync.LATER, later)
    monkeypatch.setattr("sys.argv", ["reclip", "sync-mlflow"])
    try:
        main.main()
        ended = 0
    except SystemExit as end:
        ended = end.code or 0
    said = capsys.readouterr().err.strip()
    assert ended == code and said.startswith(word) and "\n" not in said
