"""A checkout under git and DVC whose stages compute nothing, so that whole pipelines take seconds.

Each stage writes outputs that follow from its digest alone, as real ones do, and notes that it ran.
Beside a file `other-processor`, features and all that follows from them have other bytes.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from reclip.common.files import read_json
from reclip.pipeline.stages import STAGES
from support.forks import Forks
from support.project_copy import ROOT, Checkout, make_checkout

RAN = "logs/ran.txt"
STAGE = f'''
from pathlib import Path
from reclip.common.files import write_json, write_text
from reclip.pipeline.receipts import finish


def main(job):
    if Path("no-computing").exists():
        raise SystemExit(f"{{job.name}} computes")
    Path("logs").mkdir(exist_ok=True)
    with open("{RAN}", "a") as log:
        log.write(job.name + "\\n")
    number, made = int(job.digest[:4], 16) / 655.36, job.digest
    if Path("other-processor").exists() and job.stage not in ("prepare", "embed-text"):
        number, made = number + 0.25, "rounded otherwise, " + made
    outputs = list(job.outputs)
    if job.stage not in ("tabulate", "plot", "check", "summarise"):
        outputs.append(job.folder / f"{{job.id}}.bin")
    if job.stage in ("rectify", "distill", "probe"):
        outputs.append(job.folder / "curve.csv")
    if job.stage == "cache-features":
        outputs += [job.folder / f"view-{{k}}.npy" for k in range(job.settings["views"].count)]
    for path in outputs:
        if path.suffix == ".csv":
            write_text(path, f"step,loss\\n0,{{number}}\\n1,{{number / 2}}\\n")
        elif path.name == "metrics.json":
            n = len(job.inputs)
            miou = {{"mean": number, "sd": 0.5 if n > 1 else None, "n": n}}
            write_json(path, {{"job": job.digest, "miou": miou}})
        else:
            write_text(path, f"{{path.name}} of {{made}}\\n")
    finish(job, outputs)
'''


ALL = """
from importlib import import_module
from reclip.pipeline.plan import Plan

for job in Plan.load().default_jobs:
    import_module(job.module).main(job)
"""


# Changes to the tiny experiment: no student, so a third of the jobs.
SMALL = {"runs": {"distill": None, "probe": None}, "check": None}

forks = cache(Forks)


@dataclass
class Project(Checkout):
    """A checkout, and what ran in it.

    Attributes:
        forked: its commands are forks of one process, which is sooner (forks.py).
        computes: its jobs are no stand-ins, so that process has their libraries as well.
    """

    forked: bool = False
    computes: bool = False

    @property
    def env(self) -> dict[str, str]:
        """Nothing of the person who tests gets into git or DVC, and nothing of DVC's stays."""
        own = self.folder / ".dvc/tmp/own"
        dvc = {f"DVC_{name}_DIR": str(own) for name in ("SITE_CACHE", "GLOBAL_CONFIG")}
        git = {f"GIT_{who}_{what}": "test@x" for who in ("AUTHOR", "COMMITTER")
               for what in ("NAME", "EMAIL")}  # fmt: skip
        env = {**super().env, **dvc, **git, "GIT_CONFIG_GLOBAL": os.devnull}
        if self.forked:
            of = forks("timm", "open_clip") if self.computes else forks()
            env["PATH"] = os.pathsep.join([str(of.path), env["PATH"]])
        return env

    def make_all(self) -> None:
        """Every output but the check's, in one process."""
        self.run("python", "-c", ALL)
        self.ran()

    def ran(self) -> set[str]:
        """The jobs that computed since this was asked last."""
        path = self.folder / RAN
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        path.unlink(missing_ok=True)
        return set(text.splitlines())

    def set(self, key: str, value: object) -> None:
        """Change a setting, as `rectify.lr`; None removes it."""
        params = at = self.params()
        *sections, name = key.split(".")
        for section in sections:
            at = at.setdefault(section, {})
        at[name] = value
        if value is None:
            del at[name]
        self.write_params(params)

    def miou(self, run: str) -> float:
        return read_json(self.folder / f"results/tiny/runs/{run}/metrics.json")["miou"]["mean"]

    def commit(self, message: str = "results") -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "--quiet", "--allow-empty", "-m", message)

    def use_remote(self, url: str) -> None:
        """What `dvc remote add --default store URL` does, a second sooner."""
        path = self.folder / ".dvc/config"
        own, _, _ = path.read_text(encoding="utf-8").partition("    remote = store")
        text = f"{own.rstrip()}\n    remote = store\n['remote \"store\"']\n    url = {url}\n"
        path.write_text(text, encoding="utf-8")

    def copy(self, folder: Path) -> Project:
        shutil.copytree(self.folder, folder, symlinks=True)
        return replace(self, folder=folder)

    def clone(self, folder: Path) -> Project:
        self.run("git", "clone", "--quiet", ".", str(folder))
        return replace(self, folder=folder)

    def bytes(self) -> dict[str, bytes]:
        """All results but the plan."""
        root = self.folder / "results"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and "plan" not in path.parts and path.name != ".gitignore"
        }


def make_project(folder: Path, params: dict) -> Project:
    """git and DVC set up, dvc.yaml written, all committed, nothing run."""
    folder.mkdir(exist_ok=True)
    make_checkout(folder, params)
    for module in (stage.module for stage in STAGES.values()):
        (folder / module.replace(".", "/")).with_suffix(".py").write_text(STAGE, encoding="utf-8")
    use_dvc(folder)
    return Project(folder)


def make_recorded(folder: Path, params: dict, remote: Path) -> Project:
    """A project whose results are recorded, committed and pushed to a folder."""
    project = make_project(folder, params)
    project.use_remote(str(remote))
    project.make_all()
    project.run("reclip", "record")
    project.commit()
    project.run("dvc", "push", "--quiet")
    return project


def use_dvc(folder: Path) -> None:
    """git and DVC as in this repository, for the experiment `tiny`."""
    project = Project(folder)
    shutil.copy(ROOT / ".dvcignore", folder)
    ignore = (ROOT / ".gitignore").read_text(encoding="utf-8").replace("/mini/", "/tiny/")
    (folder / ".gitignore").write_text(ignore, encoding="utf-8")
    project.run("git", "init", "--quiet")
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    project.run("reclip", "dvc")
    project.commit("start")
