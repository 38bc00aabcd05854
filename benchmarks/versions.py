"""How long `snakemake` takes in two versions of the code, as a ratio.

    python benchmarks/versions.py b21bfc1 HEAD [TARGET ...]

Clones the repository twice and runs both side by side from nothing, with one core each. So both
meet the same machine in the same minutes, which differ by 10% and more. Both use the packages of
this environment. The default experiment takes 18 minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reclip.config.load import VARIABLES


def clone(commit: str, folder: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", commit], cwd=folder, check=True)


def seconds(folder: Path, targets: list[str]) -> float:
    """Return the wall time of `snakemake` in a clone. Raises CalledProcessError: it failed."""
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    began = time.monotonic()
    with open(folder / "said.txt", "w", encoding="utf-8") as said:
        subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "1", "--", *targets],
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(folder)},
            stdout=said,
            stderr=subprocess.STDOUT,
            check=True,
        )
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("targets", nargs="*")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor() as both:
        folders = [Path(temporary) / name for name in ("before", "after")]
        for commit, folder in zip((given.before, given.after), folders, strict=True):
            clone(commit, folder)
        before, after = both.map(lambda folder: seconds(folder, given.targets), folders)
    print(f"{given.before}: {before:.0f} s, {given.after}: {after:.0f} s")
    print(f"ratio {after / before:.2f}")


if __name__ == "__main__":
    main()
