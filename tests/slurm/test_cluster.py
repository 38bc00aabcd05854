"""The pipeline on a Slurm of one node: the bytes of a local run, whatever befalls the cluster.

`make slurm-test`, as root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml

from reclip.common.files import file_sha256, read_json
from reclip.pipeline.plan import Plan
from support.paths import ROOT
from support.project_copy import Checkout, make_checkout
from support.slurm import Slurm, cluster, lacks, wait_until

pytestmark = [
    pytest.mark.skipif("RECLIP_SLURM" not in os.environ, reason="slow: run `make slurm-test`"),
    pytest.mark.skipif(lacks() is not None, reason=str(lacks())),
]

# The profile asks Slurm less often, as befits a cluster that others use.
PROFILE = ["--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2"]
# Many steps, so that a job can be hit in the middle. Three seeds want more GPUs than there are.
CHANGES = {"rectify": {"epochs": 100}, "seeds": {"rectify": [0, 1, 2]}}
RUN = Path("results/tiny/runs/ref-pe")
SEED = RUN / "rectify/seed-0"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[Slurm]:
    with cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def start(tmp_path_factory, tiny_params) -> Checkout:
    """The experiment, nothing run yet."""
    return make_checkout(tmp_path_factory.mktemp("start"), tiny_params(CHANGES))


@pytest.fixture(scope="module")
def local(start, tmp_path_factory) -> Checkout:
    """The experiment after a run on this machine alone."""
    checkout = start.copy(tmp_path_factory.mktemp("local") / "run")
    checkout.run("snakemake", "--cores", "2", "all", "tiny_check")
    return checkout


@pytest.fixture
def untrained(local, tmp_path) -> Checkout:
    """The experiment without its rectification, the metrics of that, and the tables."""
    checkout = local.copy(tmp_path / "run")
    for folder in ("rectify", "evaluate", "gather"):
        shutil.rmtree(checkout.folder / RUN / folder)
    shutil.rmtree(checkout.folder / "results/tiny/tables")
    return checkout


def made(checkout: Checkout) -> dict[str, str]:
    """The checksum of every receipt, and of every file that a receipt names."""
    root = checkout.folder / "results"
    sums = {}
    for receipt in (p for p in root.rglob("*.json") if p.name.endswith("receipt.json")):
        for path in (receipt, *(receipt.parent / name for name in read_json(receipt)["outputs"])):
            sums[os.path.relpath(path, root)] = file_sha256(path)
    return sums


class Submitted:
    """A Snakemake that gives its jobs to Slurm."""

    def __init__(self, checkout: Checkout, *options: str) -> None:
        self.output = checkout.folder / "said.txt"
        # A checkpoint after every step tells that a job is in the middle of its training.
        env = {**checkout.env, "RECLIP_CHECKPOINT_SECONDS": "0"}
        with open(self.output, "w", encoding="utf-8") as stream:
            self.process = subprocess.Popen(
                ["snakemake", *PROFILE, *options],
                cwd=checkout.folder,
                env=env,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def goes_on(self) -> bool:
        return self.process.poll() is None

    def watch(self, look: Callable[[], None], seconds: float = 1800) -> None:
        """Look again and again until it ends."""
        deadline = time.monotonic() + seconds
        while self.goes_on():
            assert time.monotonic() < deadline, self.said
            look()
            time.sleep(0.2)

    def succeeds(self) -> str:
        self.watch(lambda: None)
        assert self.process.returncode == 0, self.said
        return self.said

    def fails(self) -> str:
        self.watch(lambda: None)
        assert self.process.returncode == 1, self.said
        return self.said

    def interrupt(self) -> None:
        """Press Ctrl-C; if that does not end it in a minute, kill it."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def submit(checkout: Checkout, *options: str) -> Iterator[Submitted]:
    """Start Snakemake, and interrupt it if it still runs at the end of the block."""
    run = Submitted(checkout, *options)
    try:
        yield run
    finally:
        if run.goes_on():
            run.interrupt()


def assert_complete(checkout: Checkout, local: Checkout) -> None:
    """The same bytes as on one machine, and nothing left to do for a Snakemake there."""
    assert made(checkout) == made(local)
    assert "Nothing to be done" in checkout.run("snakemake", "all", "tiny_check")


def in_the_middle(slurm: Slurm, run: Submitted, checkout: Checkout) -> None:
    """Wait until seed 0 trains."""

    def trains() -> bool:
        assert run.goes_on(), run.said
        return any((checkout.folder / SEED).glob(".*.checkpoint"))

    wait_until(trains, 300, "seed 0 trains")
    assert not (checkout.folder / SEED / "receipt.json").exists()


class Gpus:
    """What is seen of GPU jobs in the course of a run."""

    def __init__(self, slurm: Slurm, stage: str) -> None:
        self.slurm, self.stage = slurm, stage
        self.most = 0
        self.waited_for: set[str] = set()
        self.together: set[tuple[str, ...]] = set()

    def look(self) -> None:
        running = self.slurm.jobs_of(self.stage)
        self.most = max(self.most, len(running))
        if len(running) == 2:
            self.waited_for |= {job.reason for job in self.slurm.jobs_of(self.stage, "PENDING")}
        devices = []
        for process in self.slurm.computing(self.stage):
            with suppress(psutil.Error):
                devices.append(process.environ()["CUDA_VISIBLE_DEVICES"])
        self.together.add(tuple(sorted(devices)))


def test_it_gives_the_bytes_of_a_local_run_and_jobs_share_no_gpu(slurm, start, local, tmp_path):
    checkout = start.copy(tmp_path / "run")
    gpus = Gpus(slurm, "rectify")
    with submit(checkout, "--set-resources", "rectify:gpu=1", "--", "all", "tiny_check") as run:
        run.watch(gpus.look)
        run.succeeds()
    assert_complete(checkout, local)
    assert gpus.most == 2
    assert "Resources" in gpus.waited_for
    assert ("0", "1") in gpus.together
    assert all(len(set(devices)) == len(devices) for devices in gpus.together)


def test_a_cancelled_job_runs_again_with_the_next_snakemake(slurm, untrained, local):
    with submit(untrained, "--retries", "0") as run:
        in_the_middle(slurm, run, untrained)
        [job] = [job for job in slurm.jobs_of("rectify") if job.rule.endswith("seed-0")]
        subprocess.run(["scancel", job.id], check=True)
        assert "CANCELLED" in run.fails()
    assert not (untrained.folder / SEED / "receipt.json").exists()
    with submit(untrained) as run:
        run.succeeds()
    assert_complete(untrained, local)


def test_a_job_out_of_time_goes_on_in_another_job(slurm, untrained, local):
    """It hangs, and Slurm ends it after a minute, the shortest limit that it has."""
    minutes = "rectify:runtime=1 if attempt == 1 else 60"
    with submit(untrained, "--set-resources", minutes) as run:
        in_the_middle(slurm, run, untrained)
        [hangs, *_] = [p for p in slurm.computing("rectify") if "0" in p.cmdline()]
        hangs.suspend()
        said = run.succeeds()
    assert "TIMEOUT" in said
    assert "Trying to restart job" in said
    assert_complete(untrained, local)


def test_a_drained_node_that_comes_back_goes_on(slurm, untrained, local):
    with submit(untrained) as run:
        in_the_middle(slurm, run, untrained)
        slurm.set_node("DRAIN")
        wait_until(lambda: not slurm.jobs_of("rectify"), 300, "the running jobs end")
        wait_until(lambda: slurm.queue(), 300, "another job waits")
        assert {job.state for job in slurm.queue()} == {"PENDING"}
        assert run.goes_on()
        slurm.set_node("RESUME")
        run.succeeds()
    assert_complete(untrained, local)


def test_a_restart_of_slurmctld_goes_unnoticed(slurm, untrained, local):
    with submit(untrained) as run:
        in_the_middle(slurm, run, untrained)
        slurm.end("slurmctld")
        time.sleep(3)  # for ten seconds Slurm's commands try again by themselves
        slurm.start_controller()
        run.succeeds()
    assert_complete(untrained, local)


def test_after_a_longer_absence_of_slurmctld_the_next_snakemake_goes_on(slurm, untrained, local):
    """The plugin then asks sacct, which knows nothing without accounting, and forgets its jobs."""
    with submit(untrained) as run:
        in_the_middle(slurm, run, untrained)
        slurm.end("slurmctld")
        wait_until(lambda: "Falling back to 'sacct'" in run.said, 120, "squeue fails")
        run.interrupt()
    slurm.start_controller()
    slurm.cancel_all()
    with submit(untrained) as run:
        run.succeeds()
    assert_complete(untrained, local)


def test_rectifications_of_mini_have_the_same_bytes(slurm, tmp_path_factory):
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["tracking"] = {"enabled": False}
    here, there = (make_checkout(tmp_path_factory.mktemp(n), params) for n in ("here", "there"))
    plan = Plan.load(here.folder / "params.yaml")
    targets = [job.receipt.as_posix() for job in plan.default_jobs if job.stage == "rectify"]
    assert len(targets) == 33
    here.run("snakemake", "--cores", "2", "--", *targets)
    with submit(there, "--", *targets) as run:
        run.succeeds()
    assert made(there) == made(here)
