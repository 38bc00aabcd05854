"""Jobs that start at once: a process with the heavy libraries imported, which forks one for each.

A stage's process needs two to five seconds to import torch, timm and open_clip, many times what a
short job computes. A long Snakemake run therefore keeps a warm process; `python -m reclip` hands it
its arguments, environment, folder and open files, and waits. Nothing of reclip is imported there,
so an edited module counts from the next job on. Where nobody answers (another machine, a process
that was killed, one that still imports) a job starts as usual; results are the same.
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

RUN = "RECLIP_WARM"  # environment variable: the process whose jobs are handed over
# From the project's folder, as a socket's path must be short. Python of another environment, which
# may have other versions of the libraries, looks elsewhere.
SOCKET = f".snakemake/warm-{crc32(sys.prefix.encode()):08x}-{{run}}"
LIBRARIES = (
    "click", "yaml", "pydantic", "tqdm", "psutil", "PIL.Image", "numpy", "scipy.special",
    "safetensors.torch", "torch", "open_clip", "timm", "matplotlib.figure",
)  # fmt: skip
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # prctl: a signal for this process once its parent is gone
REQUEST_BYTES = 2**20  # arguments and environment; Linux allows as much in all


def start() -> None:
    """Start the warm process, which ends with the present one."""
    Path(SOCKET).parent.mkdir(parents=True, exist_ok=True)
    # A session of its own: a Ctrl-C reaches a job through the command that waits for it, once.
    subprocess.Popen(
        [sys.executable, "-m", "reclip.cli.fork_server", str(os.getpid())],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def run() -> int | None:
    """Have the command line that this process was given run there; None if nobody answers.

    Returns its exit code; that of a shell, 128 + n, where signal n ended it.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        # A signal that comes while the job is asked for waits until it can be handed on.
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
        print("the warm process of this run was killed: run again", file=sys.stderr)
        return 1
    code = int.from_bytes(status, "big", signed=True)
    return code if code >= 0 else 128 - code


@dataclass
class Request:
    """What a client sends: all that its process would have given to a job."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    files: list[int]  # its standard input, output and error


class Warm:
    """The warm process: accepts requests, forks, and tells each client how its job ended."""

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
        self._ended, self._wake = socket.socketpair()  # a byte for every job that ends
        for end in (self._ended, self._wake):
            end.setblocking(False)
        self._selector.register(self._ended, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def wait(self) -> Callable[[], None] | None:
        """Returns in a forked job, with what makes it one; None once the run is over."""
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
        except (OSError, TypeError, ValueError):  # killed while it asked
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
        """In the job: have what a process has that was started by the client."""
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
        """A signal for the job; or the end of its client, and then of it."""
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
    """Exactly so many bytes."""
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
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # or the first collection in a job would copy all of their memory
    job = Warm(int(sys.argv[1])).wait()
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
    # As an exit does, but without taking the libraries apart, which takes most of a second.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
