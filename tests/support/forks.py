"""The tools as forks of one process that has imported them, as imports take most of their time.

A folder for the front of PATH holds `python`, `reclip`, `dvc` and `snakemake`; each hands its
arguments, folder, environment and streams to that process, which forks. `reclip` itself is imported
after the fork: it is the project's own copy, and tests edit it.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

TOOLS = ("reclip", "dvc", "snakemake")
IMPORTED = (
    "click", "filelock", "pydantic", "requests", "ruamel.yaml", "yaml",
    "snakemake.cli", "snakemake.report.html_reporter",
    "dulwich.repo", "dvc.cachemgr", "dvc.cli.parser", "dvc.commands.status", "dvc.data_cloud",
    "dvc.repo.index", "dvc.repo.open_repo", "dvc.scm",
)  # fmt: skip
COMMAND = f"""\
#!{sys.executable} -IS
import json, os, socket, sys

tool, *arguments = os.path.basename(sys.argv[0]), *sys.argv[1:]
if tool == "python":
    if arguments[:1] != ["-m"] or arguments[1] not in {TOOLS}:
        os.execv({sys.executable!r}, [{sys.executable!r}, *arguments])
    _, tool, *arguments = arguments
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.path.join(os.path.dirname(sys.argv[0]), "server"))
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps([tool, arguments, os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    status = int(server.recv(9))
sys.exit(status)
"""


class Forks:
    """The process that forks; it ends with this one, whose end of the pipe then closes.

    Args:
        more: modules that it imports besides those of the tools.
    """

    def __init__(self, *more: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name)
        for name in ("python", *TOOLS):
            (self.path / name).write_text(COMMAND, encoding="utf-8")
            (self.path / name).chmod(0o755)
        command = [sys.executable, __file__, str(self.path), *more]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout
        assert self._server.stdout.readline(), "it did not start"


def serve(folder: Path, *more: str) -> None:
    for name in (*IMPORTED, *more):
        import_module(name)
    scripts = {script.name: script for script in entry_points(group="console_scripts")}
    assert not [name for name in sys.modules if name.split(".")[0] == "reclip"]
    gc.freeze()  # a collection would copy all of this for each fork
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "server"))
        listener.listen(16)
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                answer(connection, folder, scripts)
            connection.close()


def answer(connection: socket.socket, folder: Path, scripts: dict) -> None:
    """Run a command as its script in the environment's `bin` would, and tell its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    tool, arguments, cwd, env = json.load(connection.makefile())
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.sendall(str(status if status >= 0 else 128 - status).encode())
        os._exit(0)
    for i, stream in enumerate(streams):
        os.dup2(stream, i)
        os.close(stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [tool, *arguments]
    sys.executable = str(folder / "python")
    sys.path[:1] = [*env["PYTHONPATH"].split(os.pathsep)]
    sys.exit(scripts[tool].load()())


if __name__ == "__main__":
    serve(Path(sys.argv[1]), *sys.argv[2:])
