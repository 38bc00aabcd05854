"""Jobs that compete for GPUs: real processes and locks, with names of GPUs that need not exist."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import filelock
import pytest

from reclip.common.errors import ReclipError
from reclip.config.models import ComputeSettings
from reclip.device import gpus, hold
from support.paths import ROOT

WORKER = ROOT / "tests/support/gpu_worker.py"
CUDA = ComputeSettings(device="cuda")


class Held(NamedTuple):
    """What a job got, and when it began and ended."""

    gpus: list[str]
    began: float
    ended: float


@pytest.fixture
def start(tmp_path: Path, monkeypatch) -> Iterator[Callable[..., subprocess.Popen]]:
    """`start(count, jobs_per_gpu, seconds)`: start a job on a machine with the GPUs 0 and 1."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv(gpus.VISIBLE, "0,1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    started = []

    def begin(count: int = 1, jobs_per_gpu: int = 1, seconds: float = 0.3) -> subprocess.Popen:
        command = [sys.executable, str(WORKER), *map(str, (count, jobs_per_gpu, seconds))]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def finished(job: subprocess.Popen) -> Held:
    first, ended = job.communicate(timeout=60)[0].splitlines()
    names, visible, began = first.split()
    assert names == visible
    return Held(names.split(","), float(began), float(ended))


def most_at_once(jobs: list[Held], gpu: str) -> int:
    """Return the largest number of jobs that were on a GPU at one time."""
    on_it = [job for job in jobs if gpu in job.gpus]
    return max(sum(a.began <= b.began < a.ended for a in on_it) for b in on_it)


def test_a_gpu_has_one_job_at_a_time(start) -> None:
    jobs = [finished(job) for job in [start() for _ in range(6)]]
    assert [most_at_once(jobs, gpu) for gpu in "01"] == [1, 1]
    assert all(len(job.gpus) == 1 for job in jobs)


def test_jobs_share_a_gpu_if_asked_and_the_emptiest_is_taken_first(start) -> None:
    first = start(jobs_per_gpu=2, seconds=30)
    name = first.stdout.readline().split()[0]
    second = start(jobs_per_gpu=2, seconds=30)
    assert {name, second.stdout.readline().split()[0]} == {"0", "1"}
    jobs = [finished(job) for job in [start(jobs_per_gpu=2) for _ in range(4)]]
    assert [most_at_once(jobs, gpu) for gpu in "01"] == [1, 1]  # beside the one that stays
    third = start(jobs_per_gpu=1)  # wants one alone
    time.sleep(1.5)
    assert third.poll() is None
    first.kill()
    assert finished(third).gpus == [name]


def test_jobs_of_several_gpus_do_not_wait_for_one_another(start) -> None:
    jobs = [finished(job) for job in [start(count) for count in (2, 1, 2, 1, 2, 1)]]
    assert sorted(len(job.gpus) for job in jobs) == [1, 1, 1, 2, 2, 2]
    assert [most_at_once(jobs, gpu) for gpu in "01"] == [1, 1]


def test_a_killed_job_frees_its_gpus(start) -> None:
    holder = start(count=2, seconds=60)
    assert holder.stdout.readline().split()[0] == "0,1"
    waiting = start()
    time.sleep(1)
    assert waiting.poll() is None
    holder.kill()
    assert finished(waiting).gpus in (["0"], ["1"])


def test_a_process_that_a_killed_job_started_does_not_keep_its_gpu(tmp_path, start) -> None:
    """Such as a server or a shell command that goes on in the background."""
    code = (
        "import subprocess, sys, time\n"
        "from reclip.config.models import ComputeSettings\n"
        "from reclip.device.hold import hold\n"
        "with hold(ComputeSettings(device='cuda'), 2):\n"
        "    other = subprocess.Popen(['sleep', '60'])\n"
        "    print(other.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    other = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        assert len(finished(start(count=2)).gpus) == 2
    finally:
        os.kill(other, 9)
        holder.stdout.close()


def test_allocations_of_a_scheduler_number_their_own_gpus(start, monkeypatch) -> None:
    monkeypatch.setenv(gpus.VISIBLE, "0")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    first = start(seconds=60)
    assert first.stdout.readline()
    monkeypatch.setenv("SLURM_JOB_ID", "2")
    assert finished(start()).gpus == ["0"]
    assert first.poll() is None


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> pytest.MonkeyPatch:
    """This process on a machine with the GPUs 4 and 7."""
    monkeypatch.setattr(hold.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(gpus.VISIBLE, "4,7")
    return monkeypatch


def test_a_numbered_device_is_the_users_choice(here) -> None:
    with hold.hold(ComputeSettings(device="cuda:1")) as held:
        assert held == ["7"]
        assert os.environ[gpus.VISIBLE] == "4,7"  # else CUDA would know no second GPU
        with hold.hold(CUDA) as other:
            assert other == ["4"]


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_without_gpus_nothing_is_held(here, tmp_path, device: str) -> None:
    here.setenv(gpus.VISIBLE, "")
    with hold.hold(ComputeSettings(device=device)) as held:
        assert held == []
    assert list(tmp_path.iterdir()) == []


def test_more_gpus_than_there_are_is_an_error(here) -> None:
    with pytest.raises(ReclipError, match="wants 3 GPUs, but it sees 2"), hold.hold(CUDA, 3):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EROFS])
def test_a_folder_without_locks_is_an_error_of_one_sentence(here, tmp_path, code: int) -> None:
    """A lock that only marks a file would stay after a kill, so it does not serve."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    here.setattr(filelock._unix.fcntl, "flock", refuse)
    with pytest.raises(ReclipError, match="Cannot lock a GPU in '.*Set TMPDIR"), hold.hold(CUDA):
        pass


def test_a_folder_of_another_user_is_not_trusted(here, tmp_path) -> None:
    here.setattr(hold.os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(ReclipError, match="belongs to another user"), hold.hold(CUDA):
        pass
