"""What a process and the processes that it starts agree on. Imports nothing of reclip."""

from __future__ import annotations

import ctypes
import signal
import sys

WARM = "RECLIP_WARM"
"""Environment variable: the process id of the Snakemake run whose fork server runs the jobs."""

PR_SET_PDEATHSIG = 1  # prctl: signal this process when its parent ends


def die_with_parent() -> None:
    """Let the system kill this process when its parent ends, if it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
