"""Jobs in forks of a fork server do what they do in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copy
from types import SimpleNamespace

import psutil
import pytest

from reclip.cli import fork_server

# Stands for `reclip.cli.main`: the fork imports it from the folder that the client named.
CLI = """
import os, signal, sys, time

IMPORTED_BY = os.getpid()

def main():
    what, *more = sys.argv[1:]
    if what == "say":
        print(sys.argv[0], *more, os.environ["GIVEN"], os.getcwd(), flush=True)
        print("complaint", file=sys.stderr)
    elif what == "imported":
        print("here" if IMPORTED_BY == os.getpid() else "before", flush=True)
    elif what == "read":
        print(sys.stdin.read().upper(), flush=True)
    elif what == "fail":
        sys.exit(int(more[0]))
    elif what == "raise":
        raise ValueError("something")
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "sleep":
        try:
            print(os.getpid(), flush=True)
            for _ in range(600):  # a signal just before a sleep is seen after it
                time.sleep(0.1)
        except KeyboardInterrupt:
            sys.exit(130)
"""


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A package `reclip` with the real `warm`, and a command line that is easy to look at."""
    folder = tmp_path_factory.mktemp("warm")
    package = folder / "reclip"
    for name in ("", "cli", "common", "pipeline"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    real = Path(fork_server.__file__).parents[1]
    for name in ("__main__.py", "cli/fork_server.py", "common/children.py"):
        copy(real / name, package / name)
    text = (real / "cli/preload.py").read_text(encoding="utf-8")
    text = re.sub(r"LIBRARIES = \(.*?\)", 'LIBRARIES = ("json",)', text, flags=re.DOTALL)
    (package / "cli/preload.py").write_text(text, encoding="utf-8")
    (package / "cli/main.py").write_text(CLI, encoding="utf-8")
    (package / "pipeline/stages.py").write_text("STAGES = {}", encoding="utf-8")
    (package / "pipeline/code_digest.py").write_text("modules_used = dict", encoding="utf-8")
    return folder


def environment(folder: Path, run: int | None = None) -> dict[str, str]:
    handed = {"RECLIP_WARM": "" if run is None else str(run)}
    return {**os.environ, "PYTHONPATH": str(folder), "GIVEN": "value", **handed}


def keep(package: Path, folder: Path) -> subprocess.Popen:
    """What Snakemake is to the fork server: it starts it and lives as long as the run."""
    code = "from reclip.cli import fork_server; import time; fork_server.start(); time.sleep(600)"
    run = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment(package))
    wait_until((folder / fork_server.SOCKET.format(run=run.pid)).exists)
    return run


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[subprocess.Popen]:
    run = keep(folder, folder)
    yield run
    run.kill()
    run.wait()


def server_of(run: subprocess.Popen) -> psutil.Process:
    (server,) = psutil.Process(run.pid).children()
    assert "reclip.cli.fork_server" in server.cmdline()
    return server


def command(run: subprocess.Popen | None, package: Path, *arguments: str, at: Path | None = None):
    return subprocess.Popen(
        [sys.executable, "-m", "reclip", *arguments],
        cwd=at or package, env=environment(package, run and run.pid), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def outcome(*given, **how) -> tuple[int, str, str]:
    process = command(*given, **how)
    out, err = process.communicate("input", timeout=60)
    return process.returncode, out, err.splitlines()[-1] if err else ""


@pytest.mark.parametrize(
    "arguments",
    [("say", "a b", "ü"), ("read",), ("fail", "0"), ("fail", "3"), ("raise",)],
    ids=" ".join,
)
def test_output_input_and_exit_code_are_those_of_a_process_of_its_own(run, folder, arguments):
    cold = outcome(None, folder, *arguments)
    assert outcome(run, folder, *arguments) == (
        cold[0], cold[1].replace(str(folder / "reclip/__main__.py"), "reclip"), cold[2],
    )  # fmt: skip


def test_a_job_is_a_fork_of_the_warm_process(run, folder):
    process = command(run, folder, "sleep")
    job = psutil.Process(int(process.stdout.readline()))
    assert job.parent().parent() == server_of(run)
    process.kill()


def test_the_package_is_imported_once(run, folder):
    assert outcome(None, folder, "imported")[1] == "here\n"
    assert outcome(run, folder, "imported")[1] == "before\n"


def test_a_killed_job_is_told_as_a_shell_tells_it(run, folder):
    assert outcome(run, folder, "die")[0] == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_signals_reach_the_job(run, folder, sign, code):
    process = command(run, folder, "sleep")
    job = int(process.stdout.readline())
    process.send_signal(sign)
    assert process.wait(timeout=30) == code
    assert not psutil.pid_exists(job)


def test_a_signal_is_handed_on_that_comes_while_the_job_is_asked_for(folder, tmp_path, monkeypatch):
    """A job may run before its command has heard that it was asked for."""
    for name in "ABCD":  # more than a socket holds: the command cannot go on until this one reads
        monkeypatch.setenv(name, 100_000 * "x")
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(fork_server.SOCKET.format(run=os.getpid()))
        listener.listen()
        process = command(SimpleNamespace(pid=os.getpid()), folder, "sleep", at=tmp_path)
        connection, _ = listener.accept()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with connection:
            connection.settimeout(30)
            stream = connection.makefile("rb")
            assert stream.readline().endswith(b"\n"), "the command was ended by the signal"
            assert stream.read(1) == bytes([signal.SIGTERM])
            connection.sendall((3).to_bytes(4, "big", signed=True))
        assert process.wait(timeout=30) == 3


def test_a_job_ends_with_the_command_that_waits_for_it(run, folder):
    process = command(run, folder, "sleep")
    job = int(process.stdout.readline())
    process.kill()
    wait_until(lambda: not psutil.pid_exists(job))


def test_many_at_once(run, folder):
    some = [command(run, folder, "fail", str(n)) for n in range(12)]
    assert [process.wait(timeout=60) for process in some] == list(range(12))


def test_an_edited_module_counts_from_the_next_job_on(run, folder):
    cli = folder / "reclip/cli/main.py"
    cli.write_text(CLI.replace('"complaint"', '"another"'), encoding="utf-8")
    try:
        assert outcome(run, folder, "say")[2] == "another"
    finally:
        cli.write_text(CLI, encoding="utf-8")


def test_what_asks_for_nothing_harms_nobody(run, folder):
    import socket

    for sent in (b"", b"\0\0", b"\xff\n", b' ["say"', b" {}\n"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.path.relpath(folder / fork_server.SOCKET.format(run=run.pid)))
            connection.sendall(sent)
    assert outcome(run, folder, "fail", "4")[0] == 4


def test_where_nobody_answers_a_job_starts_as_usual(run, folder, tmp_path):
    code, said, _ = outcome(run, folder, "say", at=tmp_path)
    assert code == 0 and str(tmp_path) in said


def started(run: subprocess.Popen, folder: Path, at: Path) -> tuple[subprocess.Popen, ...]:
    process = command(run, folder, "sleep", at=at)
    return process, psutil.Process(int(process.stdout.readline()))


def test_it_ends_with_the_run_and_its_jobs_with_it(folder, tmp_path):
    run = keep(folder, tmp_path)
    process, job = started(run, folder, tmp_path)
    server = server_of(run)
    run.kill()
    run.wait()
    wait_until(lambda: not server.is_running() and not job.is_running())
    assert process.wait(timeout=30) != 0
    assert list((tmp_path / ".snakemake").iterdir()) == []


def test_it_ends_with_a_run_that_is_killed_while_it_imports(folder, tmp_path):
    code = "from reclip.cli import fork_server; import os; fork_server.start(); os._exit(1)"
    environ = environment(folder)
    run = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environ)
    run.wait()
    wait_until(lambda: not [p for p in psutil.process_iter() if str(run.pid) in cmdline(p)])


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_jobs_die_with_a_warm_process_that_is_killed(folder, tmp_path):
    run = keep(folder, tmp_path)
    process, job = started(run, folder, tmp_path)
    server_of(run).kill()
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (1, "the fork server of this run was killed: run again\n")
    wait_until(lambda: not job.is_running() or job.status() == psutil.STATUS_ZOMBIE)
    run.kill()
    run.wait()
