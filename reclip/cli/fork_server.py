"""Fork server: a process with torch already imported; every job is a fork of it.

A new process needs two to five seconds to import torch, timm and open_clip, much longer than a
short job computes. So a long Snakemake run keeps a fork server. `python -m reclip` sends it the
arguments, environment, folder and open files, and waits. The server imports nothing of reclip, so
an edited module takes effect from the next job on. If no server answers (another machine, a killed
or still importing server), the job runs in its own process, with the same results.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

RUN = "RECLIP_WARM"  # environment variable: the process id of the Snakemake run
# Relative to the project's folder, because a socket's path must be short. Python of another
# environment, with other library versions, uses another socket.
SOCKET = f".snakemake/warm-{crc32(sys.prefix.encode()):08x}-{{run}}"
LIBRARIES = (
    "click", "yaml", "pydantic", "tqdm", "psutil", "PIL.Image", "numpy", "scipy.special",
    "safetensors.torch", "torch", "open_clip", "timm", "matplotlib.figure",
)  # fmt: skip
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # prctl: signal this process when its parent ends
REQUEST_BYTES = 2**20  # of arguments and environment; Linux allows no more in all


def start() -> None:
    """Start the fork server. It ends when the current process ends."""
    Path(SOCKET).parent.mkdir(parents=True, exist_ok=True)
    # A new session: Ctrl-C reaches a job once, through the command that waits for it.
    subprocess.Popen(
        [sys.executable, "-m", "reclip.cli.fork_server", str(os.getpid())],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def run() -> int | None:
    """Run this process's command line in a fork of the server; None if no server answers.

    Returns the exit code; 128 + n if signal n ended the job, as a shell does.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        # A signal during the request waits until it can be passed on.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        try:
            connection.connect(SOCKET.format(run=os.environ[RUN]))
            request = {"arguments": sys.argv[1:], "folder": os.getcwd()}
            request["environment"] = dict(os.environ)
            data = json.dumps(request).encode()
            connection.sendall(len(data).to_bytes(4, "big"))
            socket.send_fds(connection, [data[:1]], [0, 1, 2])
            connection.sendall(data[1:])
            for sign in FORWARDED:
                signal.signal(sign, lambda sign, _: connection.send(bytes([sign])))
        except OSError:
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        status = connection.recv(4)
    if not status:
        print("the fork server of this run was killed: run again", file=sys.stderr)
        return 1
    code = int.from_bytes(status, "big", signed=True)
    return code if code >= 0 else 128 - code


@dataclass
class Request:
    """A client's request: everything that a job would inherit from its process."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    files: list[int]  # its standard input, output and error


class Server:
    """Accepts requests, forks a job for each, and sends its exit code to the client."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._path = Path(SOCKET.format(run=run))
        self._jobs: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        ready = self._path.with_suffix(".new")
        ready.unlink(missing_ok=True)
        self._listener.bind(str(ready))
        self._listener.listen(64)
        os.replace(ready, self._path)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._ended, self._wake = socket.socketpair()  # gets a byte when a job ends
        for end in (self._ended, self._wake):
            end.setblocking(False)
        self._selector.register(self._ended, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def wait(self) -> Callable[[], None] | None:
        """Serve until the run ends, then return None.

        In a forked job, return the function that sets up its process.
        """
        while os.getppid() == self._run:
            for key, _ in self._selector.select(timeout=1):
                if key.fileobj is self._listener:
                    if job := self._fork():
                        return job
                elif key.fileobj is self._ended:
                    self._reap()
                else:
                    self._hear(key.fileobj, key.data)
        for pid in self._jobs:
            os.kill(pid, signal.SIGTERM)
        self._path.unlink(missing_ok=True)
        return None

    def _fork(self) -> Callable[[], None] | None:
        connection, _ = self._listener.accept()
        connection.settimeout(5)
        try:
            size = int.from_bytes(_receive(connection, 4), "big")
            data, files, *_ = socket.recv_fds(connection, 1, 3)
            request = Request(files=files, **json.loads(data + _receive(connection, size - 1)))
        except (OSError, TypeError, ValueError):  # the client was killed during the request
            connection.close()
            return None
        pid = os.fork()
        if pid == 0:
            return lambda: self._become(request)
        for file in request.files:
            os.close(file)
        self._jobs[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        return None

    def _become(self, request: Request) -> None:
        """Give the forked job what a process started by the client would have."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for connection in (*self._jobs.values(), self._listener, self._ended, self._wake):
            connection.close()
        self._selector.close()
        for target, file in enumerate(request.files):
            os.dup2(file, target)
            os.close(file)
        os.chdir(request.folder)
        os.environ.clear()
        os.environ.update(request.environment)
        sys.argv = ["reclip", *request.arguments]

    def _hear(self, connection: socket.socket, pid: int) -> None:
        """Pass the client's signals to the job; kill the job if the client has ended."""
        try:
            signs = connection.recv(16)
        except OSError:
            signs = b""
        for sign in signs or bytes([signal.SIGKILL]):
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        if not signs:
            self._selector.unregister(connection)

    def _reap(self) -> None:
        """Send the exit codes of ended jobs to their clients."""
        self._ended.recv(4096)
        while self._jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = self._jobs.pop(pid)
            with suppress(KeyError):
                self._selector.unregister(connection)
            code = os.waitstatus_to_exitcode(status)
            with connection, suppress(OSError):
                connection.sendall(code.to_bytes(4, "big", signed=True))


def _receive(connection: socket.socket, size: int) -> bytes:
    """Read exactly `size` bytes. Raises ValueError: the connection ended, or size is too large."""
    if not 0 <= size <= REQUEST_BYTES:
        raise ValueError(size)
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ValueError("cut off")
        data += more
    return data


def main() -> None:
    """Run the fork server of the process `sys.argv[1]`."""
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # else the first garbage collection in a job would copy all shared memory
    job = Server(int(sys.argv[1])).wait()
    code = 0
    try:
        if job:
            job()
            from reclip.cli.main import main as command

            command()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    # As on a normal exit, but without unloading the libraries, which takes most of a second.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
