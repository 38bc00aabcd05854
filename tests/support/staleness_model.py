"""What must be stale, from what was edited: nothing in here knows of digests, receipts or times.

An output *means* the settings, modules and data that its job read, and the meanings of what it was
made from. It is stale if what lies there means something else than what is on screen. Jobs have
their names of `reclip status`: `prepare voc`, `rectify ref-pe seed 0`.
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
    "rectify": ["rectify.lr", "compute.threads"],
    "pseudo-mask": ["pseudo_mask.denoising_threshold", "compute.threads"],
    "distill": ["distill.alpha", "compute.threads"],
    "evaluate": ["evaluate.distance_bins", "compute.threads"],
    "gather": [],
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
    "gather": ["reclip/stages/gather.py"],
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

UNNOTED = ("tabulate", "plot", "summarise")
"""`dvc repro` does not note what these were made from, as git tracks them; `reclip record` does."""
IN_GIT = ("gather", "tabulate", "plot", "summarise")  # git tracks their results


@dataclass
class Screen:
    """What is on screen: edited settings, modules and data by name, and the runs' methods."""

    facts: dict[str, object] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=lambda: {"query": "query", "ref-pe": "rectify"})

    def fact(self, *names: str) -> object:
        """The first of some facts that was edited; None if none was."""
        return next((v for name in names if (v := self.facts.get(name)) is not None), None)

    def seeds(self, run: str) -> list[int]:
        """A run's own seeds go before those of its method; method query has none."""
        method = self.runs[run]
        found = self.fact(f"runs.{run}.seeds", f"seeds.{method}")
        return SEEDS.get(method, []) if found is None else found

    def is_legal(self) -> bool:
        """Whether the teacher has every seed of its student."""
        taught = self.seeds("student") if "student" in self.runs else ()
        return set(taught) <= set(self.seeds("ref-pe"))


SEEDS = {"rectify": [0, 1], "distill": [0]}  # of the methods, as long as nothing is edited


def parts(job: str) -> tuple[str, str, int | None]:
    """Stage, id and seed of a job's name."""
    stage, id, *seed = job.split()
    return stage, id, int(seed[1]) if seed else None


def inputs(screen: Screen) -> dict[str, list[str]]:
    """Which job reads which, each after its inputs."""
    scenes = ["prepare voc", "cache-features voc", "hypothesise voc"]
    found = {
        "fetch voc": [],
        "prepare voc": ["fetch voc"],
        "embed-text voc": ["prepare voc"],
        "cache-features voc": ["prepare voc"],
        "hypothesise voc": ["cache-features voc", "embed-text voc"],
    }
    for run, method in screen.runs.items():
        evaluations = []
        for s in [f" seed {seed}" for seed in screen.seeds(run)] or [""]:
            if method == "rectify":
                found[f"rectify {run}{s}"] = [*scenes, "embed-text voc"]
            if method == "distill":
                masks, teacher = f"pseudo-mask ref-pe{s}", f"rectify ref-pe{s}"
                found[masks] = [*scenes[:2], teacher]
                found[f"distill {run}{s}"] = [*scenes, teacher, masks]
            model = "embed-text voc" if method == "query" else f"{method} {run}{s}"
            found[f"evaluate {run}{s}"] = [*scenes, model]
            evaluations.append(f"evaluate {run}{s}")
        found[f"gather {run}"] = evaluations
        if method == "distill":
            first = f"distill {run} seed {screen.seeds(run)[0]}"
            found[f"package {run}"] = ["prepare voc", first, f"gather {run}"]
    found["tabulate table4"] = ["gather query", "gather ref-pe"]
    shown = [f"gather {run}" for run in ("query", "ref-pe", "student") if run in screen.runs]
    predicted = [one for gather in shown for one in found[gather]]
    read = dict.fromkeys(job for one in predicted for job in (one, *found[one]))
    trained = [job for job in found if job.startswith("rectify ")]
    return {**found, "plot tiny": [*read, *shown], "summarise tiny": trained}


def facts_read(job: str, screen: Screen) -> dict[str, object]:
    """What a job reads itself, by name."""
    stage, id, _ = parts(job)
    names = [*SETTINGS[stage], *MODULES[stage], *EVERY_STAGE_USES]
    names += [used for name in names for used in USED_BY_USED.get(name, ())]
    found = {name: screen.facts.get(name) for name in names}
    if stage == "evaluate":
        bins = "evaluate.distance_bins"
        found[bins] = screen.fact(f"runs.{id}.{bins}", bins)
    if stage == "gather":
        found["seeds"] = screen.seeds(id)  # in their order
    if stage == "package":
        found["seed"] = screen.seeds(id)[0]
    return found


def dvc_stage(job: str, read: list[str]) -> str:
    """What dvc.lock knows a job by: it has gathers of another number of seeds beside each other."""
    return f"{job} of {len(read)}" if job.startswith("gather ") else job


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
        return inputs(self.screen)

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
            if self.lock.get(dvc_stage(job, read)) != wanted[job]
            or job in stale
            or any(self._at(i).receipt != wanted[i] for i in read)
        }

    def unknown_to_dvc(self) -> set[str]:
        """Jobs that are up to date, and that DVC would delete."""
        wanted = self.meanings()
        return {job for job in wanted.keys() - self.stale() if wanted[job] not in self.kept}

    def without_receipt(self) -> set[str]:
        """Jobs with files that neither a receipt nor DVC's cache has."""
        found = {job: self._at(job) for job in self.jobs}
        spoilt = {
            job: o.rest for job, o in found.items() if o.receipt is not None and o.receipt < 0
        }
        return {job for job, rest in spoilt.items() if rest is not None and rest not in self.kept}

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
        noted = {job for job in self.stale() if job.split()[0] not in UNNOTED}
        self.runnable |= {self.meanings()[job] for job in noted}
        self.made(self.stale())
        self._locked(self.meanings())

    def _locked(self, meanings: dict[str, int]) -> None:
        read = self.jobs
        self.lock |= {dvc_stage(job, read[job]): meaning for job, meaning in meanings.items()}
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
        for job, meaning in self._in_lock().items() if restored else ():
            output = self.disk.setdefault(job, Output())
            output.receipt = output.rest = meaning
            if job.split()[0] not in IN_GIT:
                output.tracked = meaning

    def _in_lock(self) -> dict[str, int]:
        """The meanings that dvc.lock has of the jobs on screen, all of which were recorded."""
        return {job: self.lock[dvc_stage(job, read)] for job, read in self.jobs.items()}

    def cloned(self) -> None:
        """`git clone` and `reclip restore`: what is not in git and dvc.lock is not there."""
        index = len(self.commits) - 1
        self.disk, self.kept, self.runnable = {}, set(), set()
        self.checked_out(index, restored=True)
        self.kept = set(self._in_lock().values())

    def is_whole_somehow(self, job: str) -> bool:
        """Whether its files are of one meaning, wanted or not."""
        output = self._at(job)
        return output.receipt is not None and output.is_whole(output.receipt)
