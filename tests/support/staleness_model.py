"""What must be stale, from what was edited: nothing in here knows of digests, receipts or times.

An output *means* the settings, modules and data that its job read, and the meanings of what it was
made from. It is stale if what lies there means something else than what is on screen.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

# What each stage reads of the settings that are edited, and of the package.
SETTINGS = {
    "fetch": ["archive"],
    "prepare": ["datasets.voc.source.limit"],
    "embed-text": ["prompts.templates", "compute.threads"],
    "cache-features": ["views.count", "compute.threads"],
    "hypothesise": ["hypotheses.threshold"],
    "rectify": ["rectify.lr", "seeds.rectify", "compute.threads"],
    "pseudo-mask": ["pseudo_mask.denoising_threshold", "seeds.distill", "compute.threads"],
    "distill": ["distill.alpha", "seeds.distill", "compute.threads"],
    "evaluate": ["evaluate.distance_bins", "compute.threads"],
    "package": ["distill.alpha"],
    "tabulate": ["tables.table4.title"],
    "plot": ["compute.threads"],
    "summarise": ["compute.threads"],
}
MODULES = {
    "fetch": ["reclip/stages/fetch.py"],
    "prepare": ["reclip/stages/prepare.py"],
    "embed-text": ["reclip/stages/embed_text.py"],
    "cache-features": ["reclip/stages/cache_features.py"],
    "hypothesise": ["reclip/stages/hypothesise.py", "reclip/rectify/hypotheses.py"],
    "rectify": ["reclip/stages/rectify.py", "reclip/rectify/loss.py"],
    "pseudo-mask": ["reclip/stages/pseudo_mask.py"],
    "distill": ["reclip/stages/distill.py", "reclip/rectify/loss.py"],
    "evaluate": ["reclip/stages/evaluate.py"],
    "package": ["reclip/stages/package.py"],
    "tabulate": ["reclip/stages/tabulate.py"],
    "plot": ["reclip/stages/plot.py"],
    "summarise": ["reclip/stages/summarise.py"],
}
EVERY_STAGE_USES = ["reclip/common/files.py"]
USED_BY_USED = {"reclip/rectify/hypotheses.py": ["reclip/data/index.py"]}  # an import's imports
NO_RESULT_USES = [
    "reclip/pipeline/plan.py",
    "reclip/config/models.py",
    "reclip/pipeline/staleness.py",
    "reclip/cli/main.py",
]
NO_STAGE_READS = ["tracking.when", "downloads"]

IN_GIT = ("evaluate", "tabulate", "plot", "summarise")  # git tracks their results


@dataclass
class Screen:
    """What is on screen: edited settings, modules and data by name, and the runs' methods."""

    facts: dict[str, object] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=lambda: {"query": "query", "ref-pe": "rectify"})


def inputs(runs: dict[str, str]) -> dict[str, list[str]]:
    """Which job reads which, each after its inputs."""
    scenes = ["prepare voc", "cache-features voc", "hypothesise voc"]
    found = {
        "fetch voc": [],
        "prepare voc": ["fetch voc"],
        "embed-text voc": ["prepare voc"],
        "cache-features voc": ["prepare voc"],
        "hypothesise voc": ["cache-features voc", "embed-text voc"],
    }
    for run, method in runs.items():
        if method == "rectify":
            found[f"rectify {run}"] = [*scenes, "embed-text voc"]
        if method == "distill":
            found["pseudo-mask ref-pe"] = [*scenes[:2], "rectify ref-pe"]
            found[f"distill {run}"] = [*scenes, "rectify ref-pe", "pseudo-mask ref-pe"]
        model = "embed-text voc" if method == "query" else f"{method} {run}"
        found[f"evaluate {run}"] = [*scenes, model]
        if method == "distill":
            found[f"package {run}"] = ["prepare voc", model, f"evaluate {run}"]
    found["tabulate table4"] = ["evaluate query", "evaluate ref-pe"]
    pictured = [f"evaluate {run}" for run in ("query", "ref-pe", "student") if run in runs]
    read = {job: None for run in pictured for job in (run, *found[run])}
    trained = [f"rectify {run}" for run, method in runs.items() if method == "rectify"]
    return {**found, "plot tiny": list(read), "summarise tiny": trained}


def facts_read(job: str, screen: Screen) -> dict[str, object]:
    """What a job reads itself, by name."""
    stage, id = job.split()
    names = [*SETTINGS[stage], *MODULES[stage], *EVERY_STAGE_USES]
    names += [used for name in names for used in USED_BY_USED.get(name, ())]
    if stage == "evaluate" and id != "query":
        names.append(f"seeds.{screen.runs[id]}")
    found = {name: screen.facts.get(name) for name in names}
    own = screen.facts.get(f"runs.{id}.evaluate.distance_bins")
    if stage == "evaluate" and own is not None:
        found["evaluate.distance_bins"] = own  # a run's setting goes before its section's
    return found


@dataclass
class Output:
    """What a job's files on disk mean: equal numbers, equal meanings; None: lost; negative: spoilt.

    Attributes:
        receipt: its receipt.
        tracked: those of its files that git tracks.
        rest: the others.
    """

    receipt: int | None = None
    tracked: int | None = None
    rest: int | None = None

    def is_whole(self, meaning: int) -> bool:
        return self.receipt == self.tracked == self.rest == meaning


@dataclass
class Commit:
    screen: Screen
    lock: dict[str, int]
    tracked: dict[str, int | None]


class Model:
    """A project's state: what is on screen, what lies on disk, what DVC and git have of it."""

    def __init__(self) -> None:
        self.screen = Screen()
        self.disk: dict[str, Output] = {}
        self.lock: dict[str, int] = {}  # what dvc.lock has
        self.kept: set[int] = set()  # meanings that DVC's cache has
        self.runnable: set[int] = set()  # ... and knows by what they were made from
        self.commits: list[Commit] = []
        self._numbers: dict[object, int] = {}
        self._spoilt = 0

    @property
    def jobs(self) -> dict[str, list[str]]:
        return inputs(self.screen.runs)

    def meanings(self) -> dict[str, int]:
        """What each job's output would mean, made now."""
        found: dict[str, int] = {}
        for job, read in self.jobs.items():
            own = sorted(facts_read(job, self.screen).items())
            what = (job, repr(own), tuple(found[i] for i in read))
            found[job] = self._numbers.setdefault(what, len(self._numbers))
        return found

    def stale(self) -> set[str]:
        wanted = self.meanings()
        return {job for job in wanted if not self._at(job).is_whole(wanted[job])}

    def pending_for_dvc(self) -> set[str]:
        """The stages that `dvc status` lists: DVC goes by dvc.lock, which may lag behind."""
        wanted, stale = self.meanings(), self.stale()
        return {
            job
            for job, read in self.jobs.items()
            if self.lock.get(job) != wanted[job]
            or job in stale
            or any(self._at(i).receipt != wanted[i] for i in read)
        }

    def unknown_to_dvc(self) -> set[str]:
        """Jobs that are up to date, and that DVC would delete."""
        wanted = self.meanings()
        return {job for job in wanted.keys() - self.stale() if wanted[job] not in self.kept}

    def _at(self, job: str) -> Output:
        return self.disk.get(job, Output())

    # What happens

    def made(self, jobs: set[str]) -> None:
        wanted = self.meanings()
        self.disk |= {job: Output(*[wanted[job]] * 3) for job in jobs}

    def spoil(self, job: str, *parts: str) -> None:
        """Another content, or none, in place of what was there."""
        output = self.disk.setdefault(job, Output())
        for part in parts:
            self._spoilt -= 1
            setattr(output, part, self._spoilt)

    def recorded(self) -> None:
        """`reclip record`: what is whole and was made from what is."""
        stale, wanted = self.stale(), self.meanings()
        done: set[str] = set()
        for job, read in self.jobs.items():
            if job not in stale and done.issuperset(read):
                done.add(job)
        self._locked({job: wanted[job] for job in done})
        self.runnable |= {wanted[job] for job in done}

    def reproduced(self) -> None:
        """`dvc repro`, which makes all that is stale or brings it back."""
        self.runnable |= {self.meanings()[job] for job in self.stale()}
        self.made(self.stale())
        self._locked(self.meanings())

    def _locked(self, meanings: dict[str, int]) -> None:
        self.lock |= meanings
        self.kept |= set(meanings.values())

    def committed(self) -> None:
        tracked = {job: o.tracked for job, o in self.disk.items() if job.split()[0] in IN_GIT}
        self.commits.append(copy.deepcopy(Commit(self.screen, self.lock, tracked)))

    def checked_out(self, index: int, restored: bool) -> None:
        """`git checkout` of a commit, by force; `reclip restore` or `dvc checkout` after it."""
        target, head = copy.deepcopy(self.commits[index]), self.commits[-1]
        for job in head.tracked.keys() | target.tracked.keys():
            self.disk.setdefault(job, Output()).tracked = target.tracked.get(job)
        self.screen, self.lock = target.screen, target.lock
        del self.commits[index + 1 :]
        for job in self.jobs if restored else ():
            output = self.disk.setdefault(job, Output())
            output.receipt = output.rest = self.lock[job]
            if job.split()[0] not in IN_GIT:
                output.tracked = self.lock[job]

    def cloned(self) -> None:
        """`git clone` and `reclip restore`: what is not in git and dvc.lock is not there."""
        index = len(self.commits) - 1
        self.disk, self.kept, self.runnable = {}, set(), set()
        self.checked_out(index, restored=True)
        self.kept = {self.lock[job] for job in self.jobs}

    def is_whole_somehow(self, job: str) -> bool:
        """Whether its files are of one meaning, wanted or not."""
        output = self._at(job)
        return output.receipt is not None and output.is_whole(output.receipt)
