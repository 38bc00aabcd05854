"""Run DVC's commands, report their errors in one sentence, and look into DVC's cache."""

from __future__ import annotations

import filecmp
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.git import is_repository
from reclip.common.passwords import without_password

# A part of DVC's message, to a sentence that says what to do.
HINTS = {
    "no remote": "no DVC remote is set: add one with `dvc remote add -d NAME URL`",
    "connection refused": "the DVC remote does not answer",
    "all connection attempts failed": "the DVC remote does not answer",
    "name or service not known": "the host name of the DVC remote is unknown",
    "could not connect to the endpoint": "the DVC remote does not answer",
    "the specified bucket does not exist": "the bucket of the DVC remote does not exist: create it",
    "unable to locate credentials": "the DVC remote needs a key: set access_key_id and "
    "secret_access_key with `dvc remote modify --local`",
    "not authorized": "the DVC remote refuses the user or password in .dvc/config.local",
    "permission denied": "the DVC remote, or a folder here, may not be read or written",
    "could not be found in the server": "the folder of the DVC remote does not exist: create it",
    "without confirmation": "DVC has no record of some files here: keep them with "
    "`reclip record`, or delete them",
    "unable to acquire lock": "another DVC command is running here: wait until it ends",
    "checkout failed for following targets": "the DVC remote lacks some of their files: run "
    "`dvc push` on the machine that made them",
}


def require_project() -> None:
    """Raise ReclipError if git or DVC is not set up in this folder."""
    if not is_repository():
        raise ReclipError("this folder is no git repository, which dvc.lock needs: run `git init`")
    if not Path(".dvc").is_dir():
        raise ReclipError("DVC is not set up here: run `dvc init`")


def run(*arguments: str) -> str:
    """Run a DVC command and return its output. Raises ReclipError: it fails."""
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "COLUMNS": "1000"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise ReclipError(f"`dvc {arguments[0]}` failed: {sentence(done.stderr or done.stdout)}")
    return done.stdout


def attempt(*arguments: str) -> ReclipError | None:
    """Run a DVC command and return its error, if it fails."""
    try:
        run(*arguments)
    except ReclipError as error:
        return error
    return None


def outputs_as_recorded(recorded: Mapping[str, str], *, copy: bool) -> dict[str, bool]:
    """Return for each output whether it has its recorded md5, as DVC computes it.

    The outputs and dvc.lock stay as they are.

    Args:
        recorded: the md5 of each output of dvc.yaml, by path.
        copy: copy an output that has it into DVC's cache, where `dvc status` looks first.

    Raises ReclipError: DVC cannot read an output or write its cache.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo

    found = dict.fromkeys(recorded, False)
    try:
        with Repo() as repo, lock_repo(repo):
            outputs = [out for stage in repo.index.stages for out in stage.outs]
            for path, out in {relative_path(out.fs_path): out for out in outputs}.items():
                if path in recorded and out.exists:
                    found[path] = out.get_hash().value == recorded[path]
                    if found[path] and copy:
                        out.commit(relink=False)
    except (DvcException, OSError) as error:
        raise ReclipError(
            f"DVC cannot read the results or write its cache: {sentence(str(error))}"
        ) from error
    return found


def relative_path(path: str) -> str:
    """Return a path as dvc.lock writes it: from the project's folder."""
    return Path(os.path.relpath(path)).as_posix()


def default_remote() -> str | None:
    """Return the name of the default remote; None if there is none."""
    try:
        return run("config", "core.remote").strip()
    except ReclipError:
        return None


def sentence(said: str) -> str:
    """Return DVC's error message as one sentence, without the password of an address."""
    for sign, hint in HINTS.items():
        if sign in said.lower():
            return hint
    errors = [line.partition(":")[2] for line in said.splitlines() if line.startswith("ERROR:")]
    text = " ".join((errors or [said])[0].split())
    return without_password(text)[:300]


def cache_folder() -> Path:
    """Return the folder of DVC's cache: one file for each content, named by its md5."""
    return Path(run("cache", "dir").strip()) / "files" / "md5"


def cached_file(cache: Path, path: Path) -> Path:
    """Return the cache file that must have the content of `path`; it may not exist."""
    with open(path, "rb") as stream:
        name = hashlib.file_digest(stream, "md5").hexdigest()
    return cache / name[:2] / name[2:]


def damaged_copy(path: Path) -> Path | None:
    """Return the cache file that equals the damaged file `path`, but has the name of another."""
    cache = cache_folder()
    own = cached_file(cache, path)
    copies = (c for c in cache.glob("*/*") if c != own and filecmp.cmp(c, path, shallow=False))
    return next(copies, None)
