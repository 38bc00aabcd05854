"""A project that is edited at random, and a model that says what must be stale each time."""

from __future__ import annotations

import copy
import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from reclip.pipeline.job import options_of
from support.staleness_edits import Edits
from support.staleness_model import IN_GIT, Model, parts
from support.stand_ins import SMALL, Project, make_project

IMPORTED = [  # by stand-ins, so that their stages depend on modules of others
    ("reclip/stages/hypothesise.py", "reclip.rectify.hypotheses"),
    ("reclip/stages/rectify.py", "reclip.rectify.loss"),
    ("reclip/stages/distill.py", "reclip.rectify.loss"),
]


class Violation(AssertionError):
    """The tools say or do something else than the model."""


class Walk(Edits):
    """A project, the model of it, and the random steps that they take together."""

    def __init__(self, project: Project, *, dvc_status: bool = True) -> None:
        """Two states are made, recorded and committed; the second lacks a seed of the first."""
        self.project = project
        self.dvc_status = dvc_status
        self.model = Model()
        self.random = random.Random(0)
        self.deck = []
        self.steps = []
        self.seen: dict[tuple[Path, int], bytes] = {}  # (file, meaning) -> content
        self.project.set("datasets.voc.source.archive", f"../{self.archive.name}")
        self.original = self.project.params()
        self._write_archive(0)
        for seeds in (None, [0]):
            self._set("seeds.rectify", seeds)
            self.check()
            self.project.make_all()
            self.model.made(set(self.model.jobs))
            self._check_contents()
            self._keep()

    def copy(self, folder: Path, seed: int, *, forked: bool) -> Walk:
        """A sequence of its own that goes on from here; `forked` as in Project."""
        other = copy.copy(self)
        shutil.copytree(self.project.folder.parent, folder, symlinks=True)
        other.project = Project(folder / self.project.folder.name, forked)
        other.model = copy.deepcopy(self.model)
        other.seen = dict(self.seen)
        other.random = random.Random(seed)
        other.steps = [f"seed {seed}"]
        other.deck = []
        return other

    @property
    def archive(self) -> Path:
        """Beside the project and its clones."""
        return self.project.folder.parent / "voc.tar"

    def require(self, truth: bool, said: str) -> None:
        if not truth:
            raise Violation("\n".join([*self.steps, said]))

    def equal(self, what: str, found: set[str], expected: set[str]) -> None:
        more, less = sorted(found - expected), sorted(expected - found)
        self.require(found == expected, f"{what}: not expected {more}; missing {less}")

    def step(self) -> None:
        """An edit or some, then the checks; then perhaps the tools run, and the checks again."""
        for _ in range(self.random.randint(1, 3)):
            self.note(self.edit())
        self.check()
        if self.random.random() < 0.6:
            self.note(self.random.choice(self.acts)())
            self.check()

    def finish(self) -> None:
        """A module, a setting and a seed change, which few steps may have left out.

        `dvc repro` makes all; then neither tool has anything to do, and every byte is true.
        """
        self.note(self.module())
        self.check()  # before a setting makes the same jobs stale
        self.note(self.setting())
        self.note(self.seed())
        self.check()
        self.note(self.repro())
        self.check()
        self.require(not self.model.stale(), "the model is not done")
        said = self._run("reclip", "status", "--verify")
        self.require("everything is fresh" in said, said)

    def note(self, what: str) -> None:
        self.steps.append(what)

    # The tools, and what is on disk

    def check(self) -> None:
        expected = self.model.stale()
        self.equal("reclip status", self._stale_by_status(), expected)
        planned = self.project.planned() - {"all"}
        self.equal("snakemake -n", {_job(name) for name in planned}, expected)
        if self.dvc_status:
            pending = json.loads(self.project.run("dvc", "status", "--json").splitlines()[-1])
            found = {_job_of_dvc(name) for name in pending.keys() - {"plan"}}
            self.equal("dvc status", found, self.model.pending_for_dvc())
        self._check_contents()

    def _stale_by_status(self) -> set[str]:
        said = self.project.run("reclip", "status")
        lines = (line.split(":")[0].split() for line in said.splitlines())
        return {" ".join(line[1:]) for line in lines if line[0] == "stale"}

    def _run(self, *command: str) -> str:
        return self.project.run(*command)

    def _check_contents(self) -> None:
        """A result that counts as fresh is of the settings on screen, and of no others."""
        wanted = self.model.meanings()
        for job in wanted.keys() - self.model.stale():
            for name in self._files(job):
                content = (self.project.folder / name).read_bytes()
                first = self.seen.setdefault((name, wanted[job]), content)
                self.require(first == content, f"{name} is not that of the settings on screen")
                alike = [n for (path, n), c in self.seen.items() if c == content
                         and (path == name or name.suffix == ".bin")]  # fmt: skip
                what = f"{name}: the same from other settings, or of another seed"
                self.require(set(alike) == {wanted[job]}, what)

    # What a person does then

    @property
    def acts(self) -> list[Callable[[], str]]:
        return [self.snakemake, self.snakemake, self.repro, self.repro, self.by_hand, self.record,
                self.commit, self.check_out, self.check_out, self.clone]  # fmt: skip

    def snakemake(self) -> str:
        expected = self.model.stale()
        self._run("snakemake")
        self.equal("snakemake ran", self.project.ran(), expected)
        self.model.made(expected)
        return "snakemake"

    def by_hand(self) -> str:
        job = self.random.choice(sorted(self.model.jobs))
        stale = self.model.stale()
        options = options_of(*parts(job)).split()
        said = self.project.run("reclip", parts(job)[0], *options, check=False)
        refused = job in stale and any(i in stale for i in self.model.jobs[job])
        expected = {job} if job in stale and not refused else set()
        self.equal(f"{job} by hand ran ({said})", self.project.ran(), expected)
        self.require(("is stale" in said) == refused, said)
        self.model.made(expected)
        return f"by hand: {job}"

    def record(self) -> str:
        self._run("reclip", "record", *["--partial"] * bool(self.model.stale()))
        self.model.recorded()
        return "reclip record"

    def repro(self) -> str:
        """`dvc repro`, which refuses to delete what it does not know: it is recorded then."""
        if self.model.unknown_to_dvc():
            before = self.project.bytes()
            said = self.project.run("dvc", "repro", check=False)
            self.equal("dvc repro, to be refused, ran", self.project.ran(), set())
            self.require(self.project.bytes() == before, "a refused dvc repro changed results")
            self.require("DVC would delete" in said or "would delete them" in said, said)
            self._make_known()
        elif self.model.without_receipt():
            self._make_known()
        stale, wanted = self.model.stale(), self.model.meanings()
        self._run("dvc", "repro")
        ran = self.project.ran()
        sure = {job for job in stale if wanted[job] not in self.model.kept}
        brought = {job for job in stale if wanted[job] in self.model.runnable}
        self.require(sure <= ran, f"dvc repro left out {sorted(sure - ran)}")
        self.require(ran <= stale - brought, f"dvc repro ran {sorted(ran - (stale - brought))}")
        self.model.reproduced()
        return "dvc repro"

    def _make_known(self) -> None:
        self.snakemake()  # what was made from a lost result cannot be recorded without it
        self.record()

    def commit(self) -> str:
        """Everything is made, recorded and committed."""
        self.snakemake()
        self._keep()
        return "snakemake, reclip record, git commit, dvc push"

    def _keep(self) -> None:
        self.record()
        self.project.commit(f"state {len(self.model.commits)}")
        self._run("dvc", "push", "--quiet")
        self.model.committed()

    def check_out(self) -> str:
        """An older commit, with or without its results."""
        index = self.random.randrange(len(self.model.commits))
        how = self.random.choice(["nothing", "reclip restore", "dvc checkout"])
        back = len(self.model.commits) - 1 - index
        self._run("git", "checkout", "--quiet", "--force", f"HEAD~{back}")
        archive = self.model.screen.facts.get("archive")
        self.model.checked_out(index, restored=how != "nothing")
        if how != "nothing":
            self.archive_of_commit()
            # What DVC does not know, such as a spoilt result, it overwrites by force only.
            self.project.run(*how.split(), check=False)
            self._run("dvc", "checkout", "--force", "--quiet")
            self._drop_unlinked()
        else:
            self.model.screen.facts["archive"] = archive
        return f"git checkout HEAD~{back}, {how}"

    def _drop_unlinked(self) -> None:
        """`dvc checkout` removes what it had linked and no stage names any more.

        E.g. results of a seed that was taken away: DVC's cache must have them.
        """
        for job in self.model.disk.keys() - self.model.jobs.keys():
            output = self.model.disk[job]
            if not self._receipt(job).exists() and output.receipt is not None:
                known = output.receipt < 0 or output.receipt in self.model.kept
                self.require(known, f"{job} was removed, and DVC has no copy")
                output.receipt = output.rest = None
                if parts(job)[0] not in IN_GIT:
                    output.tracked = None

    def archive_of_commit(self) -> None:
        """Data are in no commit: the archive of that time is put back by hand."""
        self._write_archive(self.model.commits[-1].screen.facts.get("archive") or 0)

    def clone(self) -> str:
        """On with the last commit in a clone."""
        self.project = self.project.clone(self.archive.with_name(f"clone-{len(self.steps)}"))
        self.model.cloned()
        self.archive_of_commit()
        self._run("reclip", "restore")
        return "git clone, reclip restore"


def _job(name: str) -> str:
    """The model's name of a job in Snakemake's dry run, such as `rectify:ref-pe/seed-0`."""
    rule, _, id = name.partition(":")
    id = re.sub(r"/seed-(\d+)$", r" seed \1", id or "tiny").removesuffix("/query")
    return f"{rule.replace('_', '-')} {id}"


def _job_of_dvc(name: str) -> str:
    """The model's name of a stage of dvc.yaml: `rectify@ref-pe.seed-0`, `gather-of-2@ref-pe`."""
    if name == "table4":
        return "tabulate table4"
    stage, _, key = re.sub("^gather-of-[0-9]+", "gather", name).partition("@")
    return _job(f"{stage}:{key.replace('.', '/')}" if key else stage)


def start_project(folder: Path, params: dict) -> Project:
    """Stand-ins, some of which import modules of others; nothing made yet."""
    project = make_project(folder / "project", params)
    for path, module in IMPORTED:
        with open(project.folder / path, "a", encoding="utf-8") as stream:
            stream.write(f"\n\ndef never_called():\n    import {module}  # noqa: F401\n")
    project.use_remote(str(folder / "remote"))
    project.commit("stand-ins")
    return project


CHANGES = {
    **SMALL,
    "datasets": {"voc": {"source": {"kind": "voc", "world": None, "train": None, "val": None}}},
}
