"""Stages take a GPU before they start, also as forks of the fork server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from reclip.cli.stages import run_stage
from reclip.common.children import WARM
from reclip.pipeline.plan import Plan
from support.paths import ROOT

WORKER = ROOT / "tests/support/gpu_worker.py"
STARTED = """
import sys, time
from reclip.cli import fork_server
fork_server.start()
time.sleep(600)
"""


@pytest.fixture
def on_gpus(project: Path, monkeypatch: pytest.MonkeyPatch, tiny_params) -> Path:
    """The tiny experiment, whose dataset is prepared, on a machine with the GPUs 0 and 1."""
    text = yaml.safe_dump(tiny_params({"compute": {"device": "auto"}}))
    Path("params.yaml").write_text(text, encoding="utf-8")
    run_stage(Plan.load(), "prepare", "voc", None, force=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("TMPDIR", str(project))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return project


@pytest.fixture
def server(on_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fork server, to which commands turn."""
    run = subprocess.Popen([sys.executable, "-c", STARTED])
    monkeypatch.setenv(WARM, str(run.pid))
    yield
    run.kill()
    run.wait()


def start(*command: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_a_job_of_the_fork_server_waits_for_a_gpu(server: None, on_gpus: Path) -> None:
    holder = start(str(WORKER), "2", "1", "600")
    assert holder.stdout.readline().split()[0] == "0,1"
    job = start("-m", "reclip", "embed-text", "--dataset", "voc")
    assert "waiting for 1 of the GPUs 0, 1" in job.stdout.readline()
    holder.kill()
    said = job.communicate(timeout=120)[0]
    assert job.returncode == 0 and "embed-text voc: done in" in said
    holder.communicate()


def test_a_job_on_the_cpu_waits_for_nothing(on_gpus: Path) -> None:
    holder = start(str(WORKER), "2", "1", "600")
    assert holder.stdout.readline()
    try:
        run_stage(Plan.load(), "prepare", "voc", None, force=True)
    finally:
        holder.kill()
        holder.communicate()
