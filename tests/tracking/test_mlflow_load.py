"""Tracking under load: many real processes, killed ones, a real server that dies and comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from reclip.pipeline.plan import Plan
from reclip.tracking import sync
from support.mlflow_audit import runs_in, wrong_in
from support.mlflow_results import finish_all, write_params
from support.mlflow_servers import MlflowServer
from support.paths import TESTS

WORKER = TESTS / "support/mlflow_worker.py"
EIGHT = [
    ("prepare", "voc"), ("embed-text", "voc"), ("cache-features", "voc"),
    ("rectify", "ref-pe", "0"), ("gather", "ref-pe"), ("evaluate", "query"),
    ("distill", "distill", "0"), ("tabulate", "table4"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", sync.LATER, *sync.PATIENCE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def tracked(project: Path, tiny_params):
    """`tracked(uri, name)`: the tiny experiment's plan with every job done, nothing logged."""

    def plan(uri: str, name: str = "tiny") -> Plan:
        params = tiny_params() | {"experiment": name, "tracking": {"enabled": True, "uri": uri}}
        made = write_params(yaml.safe_dump(params))
        finish_all(made)
        return made

    return plan


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`mlflow server`, starting up."""
    made = MlflowServer(tmp_path_factory.mktemp("server"))
    made.start()
    yield made
    made.kill()


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(WORKER), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def await_files(*names: str) -> None:
    deadline = time.monotonic() + 300
    while missing := [name for name in names if not Path(name).exists()]:
        assert time.monotonic() < deadline, f"nobody made {missing}"
        time.sleep(0.02)


def said(processes: list[subprocess.Popen]) -> list[str]:
    """Wait for all and return their output; none may fail except by a kill."""
    found = []
    for process in processes:
        text, _ = process.communicate(timeout=300)
        assert process.returncode in (0, -signal.SIGKILL), text
        found.append(text)
    return found


def jobs_of(plan: Plan, names: list[tuple[str, ...]]) -> list:
    return [plan.job(stage, id, *map(int, seed)) for stage, id, *seed in names]


def test_eight_jobs_end_at_once_and_the_store_does_not_exist(tracked, project: Path) -> None:
    uri = f"sqlite:///{project}/new.db"
    plan = tracked(uri)
    jobs = [start(*name) for name in EIGHT]
    await_files(*(f"ready-{'-'.join(name)}" for name in EIGHT))
    Path("go").touch()
    assert "".join(said(jobs)) == ""  # no warning, and no message of MLflow
    assert wrong_in(uri, jobs_of(plan, EIGHT)) == []


def test_a_job_killed_while_it_creates_the_store_leaves_none(tracked, project: Path) -> None:
    """MLflow cannot use an incomplete store, and would not replace it."""
    uri = f"sqlite:///{project}/new.db"
    plan = tracked(uri)
    Path("go").touch()
    process = start("prepare", "voc", WORKER_DIES="store")
    said([process])
    assert process.returncode == -signal.SIGKILL and not Path("new.db").exists()
    sync.mirror(plan, plan.job("prepare", "voc"))
    assert wrong_in(uri, [plan.job("prepare", "voc")]) == []
    assert [path.name for path in project.glob("*.db*") if "lock" not in path.name] == ["new.db"]
    assert list(project.glob(".new*")) == []  # no temporary file either


def test_an_upload_killed_between_two_metrics_is_resumed(tracked, project: Path) -> None:
    uri = f"sqlite:///{project}/new.db"
    plan = tracked(uri)
    Path("go").touch()
    # The row's parameters are a batch, and so are the seed's: in the middle of its loss.
    said([start("rectify", "ref-pe", "1", WORKER_STOPS_AT="4", WORKER_BATCH="40")])
    broken = [run for run in runs_in(uri) if run.info.status != "FINISHED"]
    assert {run.info.run_name for run in broken} == {"ref-pe", "ref-pe rectify seed 1"}
    (child,) = [run for run in broken if run.data.tags.get("seed")]
    assert child.data.metrics["loss"] > 5.0  # of an early step
    assert len(wrong_in(uri, [plan.job("rectify", "ref-pe", 1)])) == 3
    shutil.rmtree("logs/tiny/usage")  # as after `dvc pull`: every time differs

    two = [start("sync") for _ in range(2)]
    texts = said(two)
    assert all("fresh results" in text for text in texts), texts
    assert wrong_in(uri, plan.jobs) == []
    assert child.info.run_id in {run.info.run_id for run in runs_in(uri)}
    counts = [int(text.split("logged ")[1].split()[0]) for text in texts]
    assert sum(counts) >= 24  # each may find results that the other just logged
    before = len(runs_in(uri))
    assert "logged 0 of 24" in sync.sync(plan)
    assert len(runs_in(uri)) == before


def test_jobs_log_to_a_server_at_once(server, tracked) -> None:
    server.wait()
    plan = tracked(server.uri, "other")
    names = EIGHT[3:7]
    jobs = [start(*name) for name in names]
    Path("go").touch()
    assert "".join(said(jobs)) == ""
    assert wrong_in(server.uri, jobs_of(plan, names), "other") == []


def test_a_server_that_dies_while_jobs_log_and_comes_back(server, tracked) -> None:
    uri = server.uri
    plan = tracked(uri)
    names = [name for name in EIGHT if name[0] in ("prepare", "rectify", "gather", "evaluate")]
    first, *late = names
    jobs = [start(*first, WORKER_STOPS_AT="1", WORKER_WAITS_FOR="killed")]
    jobs += [start(*name, WORKER_GO="go-late") for name in late]
    await_files(*(f"ready-{'-'.join(name)}" for name in names))
    server.wait()
    Path("go").touch()
    await_files(f"stopped-{'-'.join(first)}")  # in the middle, and the others wait for the lock
    Path("go-late").touch()
    server.kill()
    Path("killed").touch()
    texts = said(jobs)
    assert all(job.returncode == 0 for job in jobs)
    for name, text in zip(names, texts, strict=True):
        (line,) = text.splitlines()
        (job,) = jobs_of(plan, [name])
        assert line.startswith(f"tracking: {job.name} was not logged to {uri}"), text

    server.start()
    server.wait()
    assert f"logged 24 of 24 fresh results to {uri}" in sync.sync(plan)
    assert wrong_in(uri, plan.jobs) == []
