"""Ask git about the project's files. Without git, no file is tracked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path


def git(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run git in the project's folder; return code 127 means that git is not installed."""
    command = ["git", *arguments]
    try:
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def is_repository() -> bool:
    """Return whether the project is a git repository."""
    return git("rev-parse", "--is-inside-work-tree").stdout.strip() == "true"


def committed(path: str | Path) -> str | None:
    """Return the text of a file in git's last commit; None if there is no commit or file."""
    done = git("show", f"HEAD:./{Path(path).as_posix()}")
    return None if done.returncode else done.stdout


def ignored(paths: Iterable[Path]) -> set[Path]:
    """Return the paths that git ignores: all of them outside a repository."""
    paths = list(paths)
    done = git("check-ignore", "--stdin", "-z", given="".join(f"{path}\0" for path in paths))
    if done.returncode not in (0, 1):
        return set(paths)
    return {Path(name) for name in done.stdout.split("\0") if name}


def tracked(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that git tracks."""
    paths = [str(path) for path in paths]
    found = git("ls-files", "-z", "--", *paths).stdout if paths else ""
    return [Path(name) for name in found.split("\0") if name]
