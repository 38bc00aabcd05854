"""Keep GPUs of this machine for one job, so that no other job computes on them.

Snakemake counts the GPUs of a machine but does not say which one a job may use. So each job takes
a free one itself. The locks belong to a user on a machine: two projects, or two commands by hand,
never share a GPU by accident. The system frees the locks of a process that ends, however it ends.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from reclip.common.errors import ReclipError
from reclip.config.models import ComputeSettings
from reclip.device.gpus import VISIBLE, visible

log = logging.getLogger(__name__)

PARTS = 12  # of a GPU: the whole, halves, thirds and quarters of it are whole numbers of parts
WAIT_SECONDS = 0.5  # between two looks for a free GPU

ALLOCATIONS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
"""Variables that name a scheduler's allocation. Each one may number its own GPUs from 0."""


@contextmanager
def hold(compute: ComputeSettings, count: int = 1) -> Iterator[list[str]]:
    """Wait for free GPUs, keep them until the end and yield their names.

    Call it before CUDA starts: it sets CUDA_VISIBLE_DEVICES for this process, which CUDA reads once
    and which therefore stays. A device with a number (`cuda:1`) is that of the user's choice; its
    lock is held and nothing is set. A job on the CPU holds nothing.

    count: number of GPUs. All are taken in one step, so that jobs never wait for one another.
    Raises ReclipError: there are fewer GPUs, or they cannot be locked.
    """
    gpus = [] if compute.device == "cpu" else visible()
    numbered = re.fullmatch(r"cuda:(\d+)", compute.device)
    if numbered:
        gpus = gpus[int(numbered[1]) :][:1]
    if not gpus:  # `pick_device` says so if the settings want one
        yield []
        return
    if count > len(gpus):
        raise ReclipError(
            f"The job wants {count} GPUs, but it sees {len(gpus)} ({VISIBLE}, compute.device): ask "
            f"for fewer, or for a larger machine"
        )
    with ExitStack() as held:
        taken = _wait(gpus, count, PARTS // compute.jobs_per_gpu, held)
        if not numbered:
            os.environ[VISIBLE] = ",".join(taken)
        yield taken


def _wait(gpus: Sequence[str], count: int, parts: int, held: ExitStack) -> list[str]:
    """Take `parts` of each of `count` GPUs as soon as they are free; `held` frees them."""
    folder = _folder()
    try:
        said = False
        while not (taken := _take(folder, gpus, count, parts, held)):
            if not said:
                log.info("waiting for %s of the GPUs %s", count, ", ".join(gpus))
                said = True
            time.sleep(WAIT_SECONDS)
    except OSError as error:
        raise ReclipError(
            f"Cannot lock a GPU in '{folder}': {error.strerror}. Set TMPDIR to a folder of this "
            f"machine's disk."
        ) from error
    return taken


def _take(folder: Path, gpus: Sequence[str], count: int, parts: int, held: ExitStack) -> list[str]:
    """Take GPUs if enough are free: those with the most free parts. Else return no names.

    Only one process at a time looks. So two of them never hold what the other one needs.
    """
    with ExitStack() as tried:
        tried.enter_context(_lock(folder / "choice"))
        free = {gpu: _free_parts(folder, gpu, tried) for gpu in gpus}
        enough = sorted((g for g in gpus if len(free[g]) >= parts), key=lambda g: -len(free[g]))
        if len(enough) < count:
            return []
        taken = sorted(enough[:count], key=gpus.index)
        for lock in (lock for gpu in taken for lock in free[gpu][:parts]):
            lock.acquire()  # counts: `tried` releases it once
            held.callback(lock.release)
        return taken


def _free_parts(folder: Path, gpu: str, tried: ExitStack) -> list[FileLock]:
    """Lock every free part of a GPU until `tried` ends."""
    found = []
    for part in range(PARTS):
        lock = _lock(folder / f"{gpu.replace('/', '_')}-{part}")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        tried.callback(lock.release)
        found.append(lock)
    return found


def _lock(path: Path) -> FileLock:
    # A file that marks itself as taken would stay so after a kill: without locks, fail.
    return FileLock(path, fallback_to_soft=False)


def _folder() -> Path:
    """Return the folder of this user's locks on this machine, or in a scheduler's allocation.

    Raises ReclipError: it cannot be made, or belongs to another user.
    """
    allocation = [value for name in ALLOCATIONS if (value := os.environ.get(name))]
    name = "-".join(["reclip-gpus", str(os.getuid()), platform.node(), *allocation])
    folder = Path(tempfile.gettempdir(), re.sub(r"[^\w.-]", "_", name))
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise ReclipError(
            f"Cannot make '{folder}' for the locks of GPUs: {error.strerror}. Set TMPDIR to a "
            f"folder that you may write."
        ) from error
    if owner != os.getuid():
        raise ReclipError(
            f"'{folder}' belongs to another user, so GPUs cannot be locked in it. Set TMPDIR to a "
            f"folder of your own."
        )
    return folder
