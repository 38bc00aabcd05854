"""Commands in forks of one process that has imported the tools, which takes them most of a second.

Forks, because each command must find all as a new process does. `reclip` is imported after the
fork: it is the project's own copy, and tests edit it.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

IMPORTED = (
    "click", "filelock", "pydantic", "requests", "ruamel.yaml", "yaml",
    "snakemake.cli", "snakemake.report.html_reporter",
    "dulwich.repo", "dvc.cachemgr", "dvc.cli.parser", "dvc.commands.status", "dvc.data_cloud",
    "dvc.repo.index", "dvc.repo.open_repo", "dvc.scm",
)  # fmt: skip

SCRIPTS = {script.name: script for script in entry_points(group="console_scripts")}


class Forks:
    """The process that forks; it ends with this one, whose end of the pipe then closes."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, command: tuple[str, ...], folder: Path, env: dict[str, str]) -> tuple[int, str]:
        """Exit status of a command, and its output, stdout and stderr together."""
        assert self._server.stdin and self._server.stdout
        print(json.dumps([command, str(folder), env]), file=self._server.stdin, flush=True)
        status, said = json.loads(self._server.stdout.readline())
        return status, said


def serve() -> None:
    for name in IMPORTED:
        import_module(name)
    gc.freeze()  # a collection would copy all of this for each fork
    assert not [name for name in sys.modules if name.split(".")[0] == "reclip"]
    for line in sys.stdin:
        command, folder, env = json.loads(line)
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            os.close(ours)
            become(command, folder, env, theirs)
        os.close(theirs)
        with open(ours, encoding="utf-8", errors="replace") as stream:
            said = stream.read()
        _, status = os.waitpid(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), said]), flush=True)


def become(command: list[str], folder: str, env: dict[str, str], output: int) -> None:
    """The command, as its script in the environment's `bin` would be; does not return."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(old, new)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = command
    sys.path[:1] = [str(Path(sys.executable).parent), *env["PYTHONPATH"].split(os.pathsep)]
    sys.exit(SCRIPTS[command[0]].load()())


if __name__ == "__main__":
    serve()
