"""Several processes that train together, as forks of this one: torch is imported already."""

from __future__ import annotations

import os
import pickle
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import distributed


def together(processes: int, run: Callable[[int], Any]) -> list[Any]:
    """Call `run(rank)` in a process group of forks on the CPU; return what each returned.

    Raises AssertionError: one failed; its traceback is on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        children = [_start(Path(folder), rank, processes, run) for rank in range(processes)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert codes == [0] * processes, f"exit codes {codes}"
        return [pickle.loads((Path(folder) / str(rank)).read_bytes()) for rank in range(processes)]


def _start(folder: Path, rank: int, processes: int, run: Callable[[int], Any]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=60),
        )
        (folder / str(rank)).write_bytes(pickle.dumps(run(rank)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
