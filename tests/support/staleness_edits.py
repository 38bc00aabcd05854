"""What is edited at random in a project; each edit is told to the model as well."""

from __future__ import annotations

import copy
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from reclip.common.files import read_json
from support.staleness_model import (
    IN_GIT,
    MODULES,
    NO_RESULT_USES,
    NO_STAGE_READS,
    USED_BY_USED,
    Model,
    Screen,
    parts,
)
from support.stand_ins import Project

RESULTS = Path("results/tiny")
# Values that an edit may give; the present one may come back, as with any edit that is undone.
VALUES: dict[str, list[object]] = {
    "datasets.voc.source.limit": [3, 5],
    "prompts.templates": ["reclip", "imagenet"],
    "compute.threads": [2, 3],
    "views.count": [3, 4],
    "hypotheses.threshold": [21.0, 22.0],
    "rectify.lr": [0.02, 0.03],
    "pseudo_mask.denoising_threshold": [0.3, 0.4],
    "distill.alpha": [0.1, 0.2],
    "evaluate.distance_bins": [4, 6],
    "runs.ref-pe.evaluate.distance_bins": [5, 7],
    "tables.table4.title": ["Another title", "Other titles"],
    "tracking.when": ["end"],
    "downloads": ["elsewhere"],
}
assert set(NO_STAGE_READS) <= set(VALUES)
SEEDS = (0, 1, 3)  # those that a run may have: few, so that one that was removed is added again
RUNS = {
    "ref": {"dataset": "voc", "method": "rectify", "rectify": {"positional": False}},
    "student": {"dataset": "voc", "method": "distill", "teacher": "ref-pe"},
}
EDITED_MODULES = sorted(
    {name for names in MODULES.values() for name in names}
    | {name for names in USED_BY_USED.values() for name in names}
    | {"reclip/common/files.py", *NO_RESULT_USES}
)

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "deleted": bytes,
    "truncated": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"\n",
    "same size": lambda content: content.swapcase(),
    "receipt deleted": bytes,
    "receipt truncated": lambda content: content[: len(content) // 2],
}

FOLDERS = {
    "fetch": "raw/{}", "prepare": "data/{}", "embed-text": "text/{}",
    "cache-features": "features/{}", "hypothesise": "hypotheses/{}", "gather": "runs/{}/gather",
    "package": "runs/{}/model", "plot": "figures", "summarise": "summary",
}  # fmt: skip


def receipt_of(job: str) -> Path:
    stage, id, seed = parts(job)
    if stage == "tabulate":
        return RESULTS / "tables" / f"{id}.receipt.json"
    of_seed = f"runs/{{}}/{stage}/{'query' if seed is None else f'seed-{seed}'}"
    return RESULTS / FOLDERS.get(stage, of_seed).format(id) / "receipt.json"


class Edits:
    """A project, its model, and what may be done to both."""

    random: random.Random
    project: Project
    model: Model
    archive: Path
    original: dict
    deck: list[Callable[[], str]]

    def edit(self) -> str:
        """A setting, a module, a lost output and a seed in every seven."""
        if not self.deck:
            others = [self.comment, self.touch, self.data, self.undo, self.spoil, self.run_or_not,
                      self.impostor]  # fmt: skip
            always = [self.setting, self.module, self.lose, self.seed]
            self.deck = [*always, *self.random.sample(others, 3)]
            self.random.shuffle(self.deck)
        return self.deck.pop()()

    def setting(self) -> str:
        key = self.random.choice(sorted(VALUES))
        return self._set(key, self.random.choice(VALUES[key]))

    def _set(self, key: str, value: object) -> str:
        old = self.original
        for part in key.split("."):
            old = old.get(part) if isinstance(old, dict) else None
        self.model.screen.facts[key] = value
        value = old if value is None else value
        self.project.set(key, value)
        if key.endswith("seeds") or key.startswith("seeds"):
            self.project.run("reclip", "dvc")
        return f"{key} = {value}"

    def seed(self) -> str:
        """Add a seed to those of a run or a method, or take one away."""
        screen, changes = self.model.screen, []
        places = {"ref-pe": ["runs.ref-pe.seeds", "seeds.rectify"], "student": ["seeds.distill"]}
        for run, key in ((run, key) for run, keys in places.items() for key in keys):
            now = screen.seeds(run) if run in screen.runs else []
            changes += [(key, [*now, seed]) for seed in SEEDS if now and seed not in now]
            changes += [(key, [s for s in now if s != seed]) for seed in now if len(now) > 1]
        return self._set(*self.random.choice([c for c in changes if self._is_legal(*c)]))

    def _is_legal(self, key: str, value: object) -> bool:
        screen: Screen = copy.deepcopy(self.model.screen)
        screen.facts[key] = value
        return screen.is_legal()

    def module(self) -> str:
        name = self.random.choice(EDITED_MODULES)
        return self._edit(name, self.random.choice([1, 2]))

    def _edit(self, name: str, version: int | None) -> str:
        path = self.project.folder / name
        text = re.sub(r"\nEDITED = .*\n$", "\n", path.read_text(encoding="utf-8"))
        text += f"\nEDITED = {version}\n" if version else ""
        path.write_text(text, encoding="utf-8")
        self.model.screen.facts[name] = version
        return f"{name} edited: {version}"

    def undo(self) -> str:
        edited = {k: v for k, v in self.model.screen.facts.items() if v is not None}
        facts = {key: v for key, v in edited.items() if self._is_legal(key, None)}
        if not facts:
            return "nothing to undo"
        name = self.random.choice(sorted(facts))
        if name == "archive":
            return self._write_archive(0)
        return self._edit(name, None) if name.endswith(".py") else self._set(name, None)

    def comment(self) -> str:
        name = self.random.choice(EDITED_MODULES)
        path = self.project.folder / name
        path.write_text(f"# a remark\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
        return f"a remark in {name}"

    def touch(self) -> str:
        some = [path for path in (self.project.folder / "results").rglob("*") if path.is_file()]
        for path in self.random.sample(sorted(some), min(5, len(some))):
            time = self.random.randrange(2 * 10**9)  # 1970 to 2033
            os.utime(path, (time, time))
        return "touched outputs"

    def data(self) -> str:
        """Another archive of the same size, and perhaps of the same time, as `cp -p` gives it."""
        old = self.archive.stat()
        said = self._write_archive(self.random.choice([1, 2]))
        if self.random.random() < 0.5:
            os.utime(self.archive, ns=(old.st_mtime_ns, old.st_mtime_ns))
        return said

    def _write_archive(self, version: int) -> str:
        self.archive.write_text(f"archive {version}\n", encoding="utf-8")
        self.model.screen.facts["archive"] = version or None
        return f"the archive is version {version}"

    def run_or_not(self) -> str:
        """Add a run, or take it away."""
        run = self.random.choice(sorted(RUNS))
        gone = self.model.screen.runs.pop(run, None)
        if not gone:
            self.model.screen.runs[run] = RUNS[run]["method"]
            if not self.model.screen.is_legal():
                del self.model.screen.runs[run]
                return f"run {run} lacks seeds of its teacher"
        self.project.set(f"runs.{run}", None if gone else RUNS[run])
        self.project.run("reclip", "dvc")
        return f"run {run} is {'taken away' if gone else 'added'}"

    def impostor(self) -> str:
        """Copy the results of one seed over those of another, as if they were the same."""
        made = [job for job in self.model.jobs if self._receipt(job).is_file()]
        pairs = [
            (source, target)
            for source in made
            for target in self.model.jobs
            if source != target and parts(source)[:2] == parts(target)[:2]
        ]
        if not pairs:
            return "no two seeds to copy"
        source, target = self.random.choice(pairs)
        folder = self._receipt(target).parent
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._receipt(source).parent, folder, symlinks=True)
        self.model.disk[target] = copy.copy(self.model.disk[source])
        return f"{source} copied to {target}"

    def lose(self) -> str:
        return self._damage(self.random.choice(["deleted", "truncated", "longer"]))

    def spoil(self) -> str:
        return self._damage(
            self.random.choice(["same size", "receipt deleted", "receipt truncated"])
        )

    def _damage(self, kind: str) -> str:
        made = [job for job in self.model.jobs if self._receipt(job).is_file()]
        whole = [job for job in made if self.model.is_whole_somehow(job)]
        if not whole:
            return "nothing to damage"
        stale = self.model.stale()
        job = self.random.choice([job for job in whole if job not in stale] or whole)
        if kind.startswith("receipt"):
            return self._spoil(job, receipt_of(job), kind, "receipt")
        files = {name: self._part(job, name) for name in self._files(job)}
        if kind == "same size":  # plain `reclip status` looks at sizes; --verify at every byte
            files = {name: part for name, part in files.items() if part == "tracked"}
        if not files:
            return "nothing to damage so"
        name = self.random.choice(sorted(files))
        return self._spoil(job, name, kind, files[name])

    def _part(self, job: str, name: Path) -> str:
        """Which of the model's parts a file belongs to."""
        ignored = self.project.run("git", "check-ignore", str(name), check=False).strip()
        return "tracked" if job.split()[0] in IN_GIT and not ignored else "rest"

    def _spoil(self, job: str, name: Path, kind: str, part: str) -> str:
        path = self.project.folder / name
        content = path.read_bytes()
        path.unlink()  # it may be a link into DVC's cache
        if not kind.endswith("deleted"):
            path.write_bytes(DAMAGE[kind](content))
        self.model.spoil(job, part)
        return f"{name}: {kind}"

    def _receipt(self, job: str) -> Path:
        return self.project.folder / receipt_of(job)

    def _files(self, job: str) -> list[Path]:
        """What the receipt lists, seen from the project's folder."""
        folder = receipt_of(job).parent
        names = read_json(self._receipt(job))["outputs"]
        root = self.project.folder.resolve()
        return [(root / folder / name).resolve().relative_to(root) for name in names]
