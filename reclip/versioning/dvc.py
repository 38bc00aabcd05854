"""DVC's commands, run for a person who shall read one sentence where one fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.git import is_repository
from reclip.common.passwords import without_password

# What DVC says in other words than a person would need.
HINTS = {
    "no remote": "no DVC remote is set: add one with `dvc remote add -d NAME URL`",
    "connection refused": "the DVC remote does not answer",
    "all connection attempts failed": "the DVC remote does not answer",
    "name or service not known": "the DVC remote's name is not known",
    "not authorized": "the DVC remote refuses the user or password in .dvc/config.local",
    "permission denied": "the DVC remote, or a folder here, may not be read or written",
    "could not be found in the server": "the DVC remote's folder is not there: make it",
    "without confirmation": "files lie there that DVC has no record of: run `reclip record` to "
    "keep them, or delete them",
    "unable to acquire lock": "another DVC command runs here: wait until it ends",
    "checkout failed for following targets": "the DVC remote lacks some of their files: run "
    "`dvc push` where they were made",
}


class DvcError(ReclipError):
    """A DVC command failed."""


def require_project() -> None:
    """Raises ReclipError where git or DVC is not set up."""
    if not is_repository():
        raise ReclipError("this folder is no git repository, as dvc.lock needs: run `git init`")
    if not Path(".dvc").is_dir():
        raise ReclipError("DVC is not set up here: run `dvc init`")


def dvc(*arguments: str) -> str:
    """What the command prints; DvcError with one sentence if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "1000"},
    )
    if done.returncode:
        raise DvcError(f"`dvc {arguments[0]}` failed: {sentence(done.stderr or done.stdout)}")
    return done.stdout


def default_remote() -> str | None:
    try:
        return dvc("config", "core.remote").strip()
    except DvcError:
        return None


def sentence(said: str) -> str:
    """DVC's error in one sentence, without the password that an address may hold."""
    for sign, hint in HINTS.items():
        if sign in said.lower():
            return hint
    errors = [line.partition(":")[2] for line in said.splitlines() if line.startswith("ERROR:")]
    text = " ".join((errors or [said])[0].split())
    return without_password(text)[:300]
