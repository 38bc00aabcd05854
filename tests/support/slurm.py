"""A Slurm of one node with two pretended GPUs on this machine; run as a script, says what it lacks.

Slurm finds its settings in /etc/slurm, because Snakemake's plugin takes SLURM_CONF away from jobs.
All else lies in a folder of the tests' own, and the ports are free ones.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

SETTINGS = Path("/etc/slurm")
MARK = "# Written by the Slurm tests of reclip, which remove it.\n"
PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "srun": "slurm-client"}
"""Programs, each with Debian's package of it."""
SBIN = "/usr/sbin"  # not in every user's PATH

SLURM_CONF = """\
ClusterName={cluster}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ReturnToService=2
MinJobAge=300
KillWait=2
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES State=UP
"""
# Two devices, because the same one twice is an error to Slurm.
GRES_CONF = """\
NodeName=localhost Name=gpu File=/dev/null
NodeName=localhost Name=gpu File=/dev/zero
"""


def lacks() -> str | None:
    """Say in one sentence what keeps the tests from running here; None if nothing does."""
    path = os.pathsep.join([os.environ.get("PATH", ""), SBIN])
    missing = [deb for program, deb in PACKAGES.items() if not shutil.which(program, path=path)]
    if missing:
        return f"The Slurm tests need Debian's packages: apt-get install {' '.join(missing)}"
    if find_spec("snakemake_executor_plugin_slurm") is None:
        return "The Slurm tests need Snakemake's plugin for Slurm: pip install 'reclip[slurm]'"
    if os.geteuid() != 0:
        return "The Slurm tests start daemons as root: run them as root, best in a container"
    conf = SETTINGS / "slurm.conf"
    if not conf.exists():
        return None
    text = conf.read_text(encoding="utf-8")
    if not text.startswith(MARK):
        return f"The Slurm tests would have to replace '{conf}': use a machine without Slurm"
    run = int(re.search(r"ClusterName=reclip(\d+)", text)[1])
    if run != os.getpid() and psutil.pid_exists(run):
        return f"The Slurm tests run already, as process {run}: wait for its end"
    return None


def wait_until(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Return once `holds()` is true; fail if `what` does not come about in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def free_port() -> int:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@dataclass(frozen=True)
class QueuedJob:
    """A line of squeue: `rule` holds the rule's name and wildcards."""

    id: str
    state: str
    reason: str
    rule: str


class Slurm:
    """The daemons of a cluster, with their files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = f"reclip{os.getpid()}"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        SETTINGS.mkdir(exist_ok=True)
        conf = SLURM_CONF.format(
            cluster=self.cluster,
            folder=self.folder,
            controller_port=free_port(),
            node_port=free_port(),
        )
        for name, text in (("slurm.conf", conf), ("gres.conf", GRES_CONF)):
            (SETTINGS / name).write_text(MARK + text, encoding="utf-8")
        self._start_munge()
        self.start_controller("-c")
        self._run("slurmd", "-D")
        wait_until(lambda: self.ask("sinfo", "-h", "-o", "%t") == "idle", 30, "the node is idle")

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        kinds = ("key", "seed", "log", "pid")
        files = [f"--{kind}-file={self.folder}/munge.{kind}" for kind in kinds]
        listens = self.folder / "munge.socket"
        # --force: it warns instead of refusing because everybody may write into /tmp.
        self._run("munged", "--foreground", "--force", f"--socket={listens}", *files)
        wait_until(listens.exists, 10, "munged listens")

    def start_controller(self, *options: str) -> None:
        """Start slurmctld, which remembers its jobs unless an option says otherwise."""
        self._run("slurmctld", "-D", *options)
        wait_until(lambda: self.ask("scontrol", "ping").endswith("UP"), 30, "slurmctld answers")

    def end(self, program: str) -> None:
        """End a daemon."""
        daemon = self.daemons.pop(program)
        daemon.terminate()
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _run(self, program: str, *options: str) -> None:
        """Start a daemon under its usual name: under Debian's other one, slurmd ignores GPUs."""
        with open(self.folder / f"{program}.said", "ab") as said:
            self.daemons[program] = subprocess.Popen(
                [f"{SBIN}/{program}", *options],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,  # Ctrl-C reaches the tests alone, which end it in order
            )  # fmt: skip

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm prints; nothing if it fails."""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def cancel_all(self) -> None:
        """Cancel every job, and wait for their ends."""
        self.ask("scancel", "--user=root")
        wait_until(lambda: not self.queue(), 60, "all jobs have ended")

    def set_node(self, state: str) -> None:
        command = ["scontrol", "update", "NodeName=localhost", f"State={state}", "Reason=test"]
        subprocess.run(command, check=True)

    def queue(self) -> list[QueuedJob]:
        """Return the jobs that wait or run."""
        lines = self.ask("squeue", "-h", "-o", "%i|%T|%r|%k").splitlines()
        return [QueuedJob(*line.split("|", 3)) for line in lines]

    def jobs_of(self, rule: str, state: str = "RUNNING") -> list[QueuedJob]:
        """Return the jobs of a rule in a state."""
        found = self.queue()
        return [job for job in found if job.state == state and job.rule.startswith(f"rule_{rule}")]

    def processes(self) -> list[psutil.Process]:
        """Return the processes of all jobs."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("SLURM_CLUSTER_NAME") == self.cluster:
                    found.append(process)
        return found

    def computing(self, stage: str) -> list[psutil.Process]:
        """Return the processes that run a stage's command."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                if process.cmdline()[1:4] == ["-m", "reclip", stage]:
                    found.append(process)
        return found

    def stop(self) -> None:
        """End jobs and daemons, and remove the files outside `folder`."""
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            self.ask("scancel", "--user=root")
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        for program in reversed(list(self.daemons)):
            self.end(program)
        for name in ("slurm.conf", "gres.conf"):
            (SETTINGS / name).unlink(missing_ok=True)


@contextmanager
def cluster(folder: Path) -> Iterator[Slurm]:
    """Run a cluster until the block ends, be it by Ctrl-C or SIGTERM."""
    slurm = Slurm(folder)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(lacks())
