"""Soak test of tracking: jobs and the server are killed at random, and sync repairs everything.

`make soak`, or `RECLIP_ROUNDS=3 pytest tests/soak/test_mlflow_kills.py -n 0` for three rounds each
to a file and a server; the seed of what is killed when is in the name of each round.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from reclip.pipeline.job import Job
from reclip.tracking import sync
from support.mlflow_audit import runs_in, wrong_in
from support.mlflow_results import finish_all, write_params
from support.mlflow_servers import MlflowServer
from support.paths import TESTS

ROUNDS = int(os.environ.get("RECLIP_ROUNDS", "0"))

pytestmark = pytest.mark.skipif(not ROUNDS, reason="a soak: set RECLIP_ROUNDS to its rounds")


def start(*arguments: str, stops_at: int | None) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORKER_BATCH": "25"}
    if stops_at is not None:
        environment["WORKER_STOPS_AT"] = str(stops_at)
    command = [sys.executable, str(TESTS / "support/mlflow_worker.py"), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def worker_arguments(job: Job) -> list[str]:
    return [job.stage, job.id, *([] if job.seed is None else [str(job.seed)])]


@pytest.mark.parametrize("seed", range(max(ROUNDS, 1)))
@pytest.mark.parametrize("kind", ["file", "server"])
def test_sync_repairs_whatever_was_killed(project: Path, tiny_params, kind: str, seed: int) -> None:
    chance = random.Random(f"{kind} {seed}")
    server = MlflowServer(project) if kind == "server" else None
    uri = server.uri if server else f"sqlite:///{project}/new.db"
    params = tiny_params({"seeds": {"rectify": [0, 1, 2, 3], "distill": [0, 1]}})
    plan = write_params(yaml.safe_dump(params | {"tracking": {"enabled": True, "uri": uri}}))
    finish_all(plan)
    Path("go").touch()
    try:
        for _ in range(3):
            if server:
                server.ensure()
            names = [worker_arguments(job) for job in plan.jobs] + [["sync"], ["sync"]]
            chance.shuffle(names)
            for at in range(0, len(names), 6):
                some = [
                    start(*name, stops_at=chance.choice([None, 1, 2, 5, 9, 20]))
                    for name in names[at : at + 6]
                ]
                if server and at == 6:
                    time.sleep(chance.uniform(0, 8))  # they import, connect, and log
                    server.kill()
                for process in some:
                    process.wait(timeout=300)
        if server:
            server.ensure()
        sync.sync(plan)
        assert wrong_in(uri, plan.jobs) == []
        before = len(runs_in(uri))
        assert f"logged 0 of {len(plan.jobs)}" in sync.sync(plan)
        assert len(runs_in(uri)) == before
    finally:
        if server:
            server.kill()
