"""Log one job in a process: `python mlflow_worker.py STAGE ID [SEED]`, or all jobs: `sync`.

The process waits for the file `go`, or WORKER_GO, so that several start at once.
WORKER_STOPS_AT=N: at the N-th batch it creates the file `stopped-<stage>-<id>` and is killed.
WORKER_WAITS_FOR=FILE: then it waits for this file instead of being killed.
WORKER_BATCH=N: a batch has N metrics at most.
WORKER_DIES=store: it is killed while it creates a new store.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path


def wait_for(name: str) -> None:
    deadline = time.monotonic() + 300
    while not Path(name).exists():
        assert time.monotonic() < deadline, f"nobody made {name}"
        time.sleep(0.01)


def stop_at(number: int, name: str) -> None:
    from mlflow.tracking import MlflowClient

    log_batch, calls = MlflowClient.log_batch, count(1)

    def stopping(*args, **kwargs):
        if next(calls) == number:
            Path(name).touch()
            if not (file := os.environ.get("WORKER_WAITS_FOR")):
                die()
            wait_for(file)
        return log_batch(*args, **kwargs)

    MlflowClient.log_batch = stopping
    if size := os.environ.get("WORKER_BATCH"):
        from reclip.tracking import store

        store.MAX_METRICS = int(size)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    from reclip.pipeline.plan import Plan
    from reclip.tracking import sync

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plan = Plan.load("params.yaml")
    if at := os.environ.get("WORKER_STOPS_AT"):
        stop_at(int(at), "stopped-" + "-".join(sys.argv[1:]))
    if os.environ.get("WORKER_DIES") == "store":
        import mlflow.store.db.utils

        mlflow.store.db.utils._upgrade_db = lambda engine: die()
    Path("ready-" + "-".join(sys.argv[1:])).touch()
    wait_for(os.environ.get("WORKER_GO", "go"))
    if sys.argv[1] == "sync":
        print(sync.sync(plan))
    else:
        stage, id, *seed = sys.argv[1:]
        sync.mirror(plan, plan.job(stage, id, *map(int, seed)))


if __name__ == "__main__":
    main()
