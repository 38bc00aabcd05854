"""A copy of the workflow in a folder of its own, and the commands a person runs there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from support.paths import ROOT


@dataclass
class Checkout:
    """A project folder: `folder`, and how to run commands in it."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """The copied package comes before the installed one."""
        bin_folder = str(Path(sys.executable).parent)
        path = os.pathsep.join([bin_folder, os.environ.get("PATH", "")])
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}

    def run(self, *command: str, check: bool = True) -> str:
        """Output of a command, stdout and stderr together."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def copy(self, folder: Path) -> Checkout:
        shutil.copytree(self.folder, folder)
        return Checkout(folder)

    def planned(self, *targets: str) -> set[str]:
        """The jobs of a dry run, as `rule:wildcard`; of a run's seed, as `rule:run/seed-0`."""
        text = self.run("snakemake", "-n", *targets)
        jobs, rule = set(), ""
        for line in text.splitlines():
            words = line.split()
            if line.startswith(("rule ", "localrule ")):
                rule = words[1].rstrip(":")
                jobs.add(rule)
            elif re.match(r"Job \d+: everything", line):
                jobs.add("all")
            elif line.strip().startswith("wildcards:"):
                jobs.discard(rule)
                values = (pair.split("=")[1] for pair in line.strip().split(", "))
                jobs.add(f"{rule}:{'/'.join(values)}")
        return jobs

    def params(self) -> dict:
        return yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))

    def write_params(self, params: dict) -> None:
        text = yaml.safe_dump(params, sort_keys=False)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")


def make_checkout(folder: Path, params: dict) -> Checkout:
    for name in ("Snakefile", "workflow", "profiles", "reclip"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    checkout = Checkout(folder)
    checkout.write_params(params)
    return checkout
