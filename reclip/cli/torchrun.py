"""Run a training in several processes, one a GPU, by torchrun. Functions import torch themselves.

torchrun starts the same command again in each process. There, the processes meet in a process
group, and `reclip.training` shares each batch between them.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reclip.common.children import WARM, die_with_parent
from reclip.common.errors import ReclipError
from reclip.config.models import ComputeSettings

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


def inside() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first() -> bool:
    """Return whether this process writes files: the first of torchrun's, or the only one."""
    return not inside() or os.environ["RANK"] == "0"


def number(gpus: str | None, compute: ComputeSettings) -> int:
    """Return how many processes a training gets.

    gpus: the option `--gpus`, a number or "all"; None: `compute.gpus` decides.
    Raises ReclipError: this machine has fewer GPUs, or the settings name a single device.
    """
    wanted = str(compute.gpus) if gpus is None else gpus
    if wanted == "1":
        return 1
    import torch

    where = "params: 'compute.gpus'" if gpus is None else "--gpus"
    there = torch.cuda.device_count()
    if compute.device == "cpu" or (compute.device == "auto" and not there):
        if wanted == "all":
            raise ReclipError(f"{where}: this machine has no GPU to use: give a number, or 1")
        return int(wanted)
    if compute.device not in ("auto", "cuda"):
        raise ReclipError(
            f"params: 'compute.device': '{compute.device}' is a single device, but {where} asks "
            f"for {wanted}: set it to cuda"
        )
    if wanted == "all" and there:
        return there
    if wanted == "all" or int(wanted) > there:
        raise ReclipError(f"{where}: {wanted} GPUs are asked for, but this machine has {there}")
    return int(wanted)


def launch(name: str, arguments: list[str], processes: int) -> None:
    """Run `reclip` with these arguments in several processes of this machine, until all end.

    name: of the job, for errors.
    Raises ReclipError: a process failed or was killed; the others are then ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _silence()
    os.environ.pop(WARM, None)  # torchrun ends its own processes, not forks of another
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)  # all processes are on this machine
    with tempfile.TemporaryDirectory(prefix="reclip-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            max_restarts=0,  # a new try starts from the checkpoint: the user decides about it
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="127.0.0.1",
            logs_specs=DefaultLogsSpecs(log_dir=folder, local_ranks_filter={0}),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "reclip", *arguments)
        except ChildFailedError as error:
            if sys.stderr.isatty():
                print(file=sys.stderr)  # the killed process left its progress bar on the line
            raise ReclipError(sentence(name, error.failures, processes)) from error
        except SignalException as stopped:
            if stopped.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + stopped.sigval) from None


@contextmanager
def member(compute: ComputeSettings) -> Iterator[None]:
    """Make this process a member of the process group; nothing if torchrun did not start it.

    An error ends the process at once, so that no other process waits for it. torchrun reads the
    error from a file.
    """
    if not inside():
        yield
        return
    die_with_parent()
    import torch
    from torch import distributed
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        gpu = compute.device != "cpu" and torch.cuda.is_available()
        if gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if gpu else "gloo")
        yield
        distributed.destroy_process_group()
    except BaseException as error:
        get_error_handler().record_exception(error)
        sys.stdout.flush()
        os._exit(1)


def sentence(name: str, failures: dict[int, ProcessFailure], processes: int) -> str:
    """Return in a sentence what failed first. The other failures may be its consequences."""

    def order(failure: ProcessFailure) -> tuple[bool, float]:
        file = Path(failure.error_file)
        return failure.exitcode >= 0, file.stat().st_mtime if file.is_file() else 0.0

    rank, first = min(failures.items(), key=lambda item: order(item[1]))
    of = f"{name}: process {rank + 1} of {processes}"
    again = "run the command again to resume from the last checkpoint"
    if first.exitcode < 0:
        return f"{of} was killed ({first.signal_name()}), and the others were ended: {again}"
    if not isinstance(first.message, dict):
        return f"{of} ended with exit code {first.exitcode}, and the others were ended: {again}"
    said = str(first.message["message"])
    if said.startswith(own := f"{ReclipError.__name__}: "):
        return said.removeprefix(own)
    return f"{of} failed ({said.splitlines()[0]}), and the others were ended: {again}"


def _silence() -> None:
    """Keep torchrun's report of many lines out of the terminal; the error's log holds it."""
    for name in logging.root.manager.loggerDict:
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
