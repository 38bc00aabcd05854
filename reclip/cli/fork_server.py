"""Fork server: a process with torch already imported; every job is a fork of it.

A new process needs two to five seconds to import torch, timm and open_clip, much longer than a
short job computes. So a long Snakemake run keeps a fork server. `python -m reclip` sends it the
arguments, environment, folder and open files, and waits. The server imports this package, too; a
job forgets it if a file has changed, so an edited module takes effect from the next job on. If no
server answers (another machine, a killed or still importing server), the job runs in its own
process, with the same results.

Server, handlers and jobs are processes: the server forks a handler for each connection, and the
handler forks the job, passes signals to it and sends its exit code.
"""

from __future__ import annotations

import atexit
import gc
import json
import math
import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from reclip.common.children import WARM, die_with_parent

# Relative to the project's folder, because a socket's path must be short. Python of another
# environment, with other library versions, uses another socket.
SOCKET = f".snakemake/warm-{crc32(sys.prefix.encode()):08x}-{{run}}"
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
            connection.connect(SOCKET.format(run=os.environ[WARM]))
            socket.send_fds(connection, [b" "], [0, 1, 2])
            request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)])
            connection.sendall(f"{request}\n".encode())
            # The signal itself writes its number, as it comes. A handler in Python would run only
            # after `select`, if the signal came between the last bytecode and the system call.
            connection.setblocking(False)
            signal.set_wakeup_fd(connection.fileno())
            for sign in FORWARDED:
                signal.signal(sign, lambda *_: None)
        except OSError:
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        select.select([connection], [], [])
        signal.set_wakeup_fd(-1)
        status = connection.recv(4)
    if not status:
        print("the fork server of this run was killed: run again", file=sys.stderr)
        return 1
    code = int.from_bytes(status, "big", signed=True)
    return code if code >= 0 else 128 - code


class Handler(socketserver.StreamRequestHandler):
    """Forks the job of one client, and passes on signals and the exit code."""

    def handle(self) -> None:
        die_with_parent()
        try:
            _, files, *_ = socket.recv_fds(self.connection, 1, 3)
            request = json.loads(self.rfile.readline())
        except (OSError, ValueError):  # the client was killed
            return
        job = os.fork()
        if job == 0:
            self._become_job(files, *request)
        ended = threading.Event()
        threading.Thread(target=self._pass_signals, args=(job, ended), daemon=True).start()
        code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
        ended.set()
        with suppress(OSError):
            self.connection.sendall(code.to_bytes(4, "big", signed=True))

    def _pass_signals(self, job: int, ended: threading.Event) -> None:
        """Pass the client's signals to the job; kill the job if its client ends first.

        After the job has ended, its process id may belong to another process.
        """
        with suppress(OSError):
            while not ended.is_set():
                sign = self.rfile.read(1)  # empty: the client has ended
                if not ended.is_set():
                    os.kill(job, ord(sign) if sign else signal.SIGKILL)
                if not sign:
                    break

    def _become_job(
        self, files: list[int], arguments: list[str], folder: str, environment: dict[str, str]
    ) -> NoReturn:
        """Run the command line, with what a process started by the client would have."""
        code = 0
        try:
            die_with_parent()
            self.rfile.close()
            self.connection.close()
            self.server.socket.close()
            for target, file in enumerate(files):
                os.dup2(file, target)
                os.close(file)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv = ["reclip", *arguments]
            self.server.forget_if_edited()
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


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    timeout = 1  # seconds between two looks at whether the run still lives
    max_children = math.inf

    def __init__(self, path: str, forget_if_edited: Callable[[], None]) -> None:
        super().__init__(path, Handler)
        self.forget_if_edited = forget_if_edited


def main() -> None:
    """Run the fork server of the process `sys.argv[1]` until that ends."""
    from reclip.cli import preload  # which the client of a server does not need

    before = preload.preload()
    gc.freeze()  # else the first garbage collection in a job would copy all shared memory
    run = int(sys.argv[1])
    path = Path(SOCKET.format(run=run))
    path.unlink(missing_ok=True)
    server = Server(str(path), partial(preload.forget_if_edited, before))
    while os.getppid() == run:
        server.handle_request()
    path.unlink(missing_ok=True)
    os.kill(0, signal.SIGTERM)  # the process group: this server, its handlers and jobs


if __name__ == "__main__":
    main()
