"""The one source of runs, tables, jobs and paths, for both front ends and the command line."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from reclip.config import (
    DATASET_SECTIONS,
    Check,
    Params,
    RunSettings,
    Settings,
    load_params,
    nearest,
    validate,
)
from reclip.errors import ReclipError
from reclip.jobs import STAGES, Job
from reclip.weights import checkpoint_sha256, weights_sha256


class Plan:
    """Every job of an experiment, resolved from its params.

    Paths are relative to the project's folder, where all commands run.

    Raises ReclipError: a run, table or check that names what is not there.
    """

    def __init__(self, params: Params):
        self.params = params
        self.root = Path("results") / params.experiment
        self._jobs: dict[tuple[str, str], Job] = {}
        self._sections = {
            (dataset, name): self._merge(name, "datasets", dataset)
            for dataset in params.datasets
            for name in DATASET_SECTIONS
        }
        self._run_sections = {
            (run, name): self._merge(name, "runs", run)
            for run, settings in params.runs.items()
            if settings.dataset in params.datasets
            for name in ("rectify", "distill", "probe")
        }
        for run, settings in params.runs.items():
            self._check_run(run, settings)
        for table, settings in params.tables.items():
            for i, row in enumerate(settings.rows):
                for column, cell in row.cells.items():
                    if cell.run is not None:
                        self._known_run(cell.run, f"tables.{table}.rows.{i}.cells.{column}.run")
        if params.check:
            for role, run in params.check.model_dump().items():
                self._known_run(run, f"check.{role}")
            self._check_roles(params.check)

    @classmethod
    def load(cls, path: str | Path = "params.yaml") -> Plan:
        return cls(load_params(path))

    # Settings

    def _merge(self, section: str, level: str, name: str) -> Settings:
        """The section's settings with the data set's, then the run's overrides."""
        model = DATASET_SECTIONS[section]
        base = getattr(self.params, section).model_dump(exclude_unset=True)
        layers = [(f"{section}", base)]
        if level == "runs":
            dataset = self.params.runs[name].dataset
            layers.append((f"datasets.{dataset}.{section}", self._override(dataset, section)))
            layers.append((f"runs.{name}.{section}", getattr(self.params.runs[name], section)))
        else:
            layers.append((f"datasets.{name}.{section}", self._override(name, section)))
        merged: dict[str, Any] = {}
        for at, layer in layers:
            merged = {**merged, **layer}
            result = validate(model, merged, at)
        return result

    def _override(self, dataset: str, section: str) -> dict[str, Any]:
        return getattr(self.params.datasets[dataset], section)

    def _check_run(self, run: str, settings: RunSettings) -> None:
        at = f"runs.{run}"
        if settings.dataset not in self.params.datasets:
            hint = nearest(settings.dataset, self.params.datasets)
            raise ReclipError(f"params: '{at}.dataset': no data set '{settings.dataset}'{hint}")
        for role, method, others in (
            ("teacher", "distill", ("query", "rectify")),
            ("student", "probe", ("distill",)),
        ):
            named = getattr(settings, role)
            if settings.method != method:
                if named is not None:
                    raise ReclipError(
                        f"params: '{at}.{role}' is only for method {method}: remove it"
                    )
                continue
            if named is None:
                raise ReclipError(
                    f"params: '{at}.{role}' is missing: name a run of method {' or '.join(others)}"
                )
            self._known_run(named, f"{at}.{role}")
            other = self.params.runs[named]
            if other.method not in others or other.dataset != settings.dataset:
                raise ReclipError(
                    f"params: '{at}.{role}': '{named}' must be a run of method "
                    f"{' or '.join(others)} on data set '{settings.dataset}'"
                )
            missing = set(self.seeds(run)) - set(self.seeds(named))
            if other.method != "query" and missing:
                raise ReclipError(
                    f"params: '{at}.seeds': {role} '{named}' has no seed {min(missing)}: "
                    f"add it to its seeds"
                )
        if settings.method == "distill":
            self._check_head(run, settings)
        if settings.method == "rectify":
            given = self.rectify(run)
            if not (given.reference or given.learn_query or given.positional):
                raise ReclipError(
                    f"params: '{at}.rectify' learns nothing: "
                    f"set reference, learn_query or positional to true"
                )

    def _check_head(self, run: str, settings: RunSettings) -> None:
        head = self.distill(run).head
        teacher = self.params.runs[settings.teacher]
        given = self.rectify(settings.teacher)
        has_reference = teacher.method == "rectify" and given.reference
        needed = {
            "query_reference": has_reference,
            "query_reference_positional": has_reference and given.positional,
        }
        if not needed.get(head, True):
            raise ReclipError(
                f"params: 'runs.{run}.distill.head': teacher '{settings.teacher}' has no such head "
                f"('{head}') to inherit; choose 'query' or another teacher"
            )

    def _check_roles(self, check: Check) -> None:
        """Seeds are compared one by one, so the three runs must be one line of teaching."""
        for role, run, method in (
            ("query", check.query, "query"),
            ("rectified", check.rectified, "rectify"),
            ("distilled", check.distilled, "distill"),
        ):
            if self.params.runs[run].method != method:
                raise ReclipError(f"params: 'check.{role}': '{run}' is no run of method {method}")
        if self.params.runs[check.query].dataset != self.params.runs[check.rectified].dataset:
            raise ReclipError(
                f"params: 'check.query': '{check.query}' must be on the data set of "
                f"'{check.rectified}'"
            )
        if self.params.runs[check.distilled].teacher != check.rectified:
            raise ReclipError(
                f"params: 'check.distilled': the teacher of '{check.distilled}' must be "
                f"'{check.rectified}'"
            )

    def _known_run(self, run: str, at: str) -> None:
        if run not in self.params.runs:
            raise ReclipError(f"params: '{at}': no run '{run}'{nearest(run, self.params.runs)}")

    def section(self, dataset: str, name: str) -> Any:
        return self._sections[dataset, name]

    def rectify(self, run: str) -> Any:
        return self._run_sections[run, "rectify"]

    def distill(self, run: str) -> Any:
        return self._run_sections[run, "distill"]

    def seeds(self, run: str) -> tuple[int, ...]:
        """Seeds of a run; none for method query, which trains nothing."""
        settings = self.params.runs[run]
        if settings.method == "query":
            return ()
        return settings.seeds or getattr(self.params.seeds, settings.method)

    # Jobs

    def job(self, stage: str, id: str) -> Job:
        """The job of `stage` on data set, run, table or experiment `id`.

        Raises ReclipError if there is no such thing.
        """
        if (stage, id) not in self._jobs:
            known = self.ids(stage)
            if id not in known:
                kind = STAGES[stage][1]
                raise ReclipError(f"no {kind} '{id}' for {stage}{nearest(id, known)}")
            make = getattr(self, "_" + stage.replace("-", "_"))
            self._jobs[stage, id] = make(id)
        return self._jobs[stage, id]

    def ids(self, stage: str) -> list[str]:
        """What `stage` can be asked for."""
        params = self.params
        if stage == "fetch":
            return [d for d, s in params.datasets.items() if s.source.kind != "world"]
        if STAGES[stage][1] == "dataset":
            return list(params.datasets)
        if stage == "tabulate":
            return list(params.tables)
        if stage == "plot":
            return [params.experiment]
        if stage == "check":
            return [params.experiment] if params.check else []
        if stage == "pseudo-mask":
            return [run for run in params.runs if self.taught_seeds(run) is not None]
        methods = {"rectify": {"rectify"}, "distill": {"distill"}, "probe": {"probe"}}
        allowed = methods.get(stage)
        return [run for run, s in params.runs.items() if allowed is None or s.method in allowed]

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs, each after its inputs."""
        return [self.job(stage, id) for stage in STAGES for id in self.ids(stage)]

    def taught_seeds(self, teacher: str) -> tuple[int, ...] | None:
        """Seeds whose masks some student learns from; None if `teacher` has no student."""
        students = [r for r, s in self.params.runs.items() if s.teacher == teacher]
        if not students:
            return None
        if self.params.runs[teacher].method == "query":
            return ()
        return tuple(sorted({seed for run in students for seed in self.seeds(run)}))

    def _make(self, stage: str, id: str, folder: Path, settings: dict, **more: Any) -> Job:
        return Job(stage, id, self.root / folder, self.root / "plan", settings, **more)

    def _clip(self) -> dict[str, Any]:
        return {"clip": self.params.clip, "weights": checkpoint_sha256(self.params.clip)}

    def _fetch(self, dataset: str) -> Job:
        source = self.params.datasets[dataset].source
        source = source.model_copy(update={"limit": None})  # what is unpacked does not depend on it
        return self._make("fetch", dataset, Path("raw") / dataset, {"source": source})

    def _prepare(self, dataset: str) -> Job:
        source = self.params.datasets[dataset].source
        fetched = source.kind != "world"
        inputs = {"raw": self.job("fetch", dataset)} if fetched else {}
        return self._make(
            "prepare", dataset, Path("data") / dataset, {"source": source}, inputs=inputs
        )

    def _embed_text(self, dataset: str) -> Job:
        return self._make(
            "embed-text",
            dataset,
            Path("text") / dataset,
            {
                **self._clip(),
                "prompts": self.section(dataset, "prompts"),
                "compute": self.params.compute,
            },
            inputs={"data": self.job("prepare", dataset)},
        )

    def _cache_features(self, dataset: str) -> Job:
        settings = {
            **self._clip(),
            "image": self.section(dataset, "image"),
            "views": self.section(dataset, "views"),
            "hypothesis_image": self.section(dataset, "hypotheses").image,
            "compute": self.params.compute,
        }
        return self._make(
            "cache-features",
            dataset,
            Path("features") / dataset,
            settings,
            inputs={"data": self.job("prepare", dataset)},
        )

    def _hypothesise(self, dataset: str) -> Job:
        return self._make(
            "hypothesise",
            dataset,
            Path("hypotheses") / dataset,
            {"hypotheses": self.section(dataset, "hypotheses")},
            inputs={
                "features": self.job("cache-features", dataset),
                "text": self.job("embed-text", dataset),
            },
        )

    def _rectify(self, run: str) -> Job:
        dataset = self.params.runs[run].dataset
        return self._make(
            "rectify",
            run,
            Path("runs") / run / "rectify",
            {
                **self._clip(),
                "rectify": self.rectify(run),
                "seeds": self.seeds(run),
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "text": self.job("embed-text", dataset),
                "hypotheses": self.job("hypothesise", dataset),
            },
        )

    def _teacher(self, run: str) -> Job:
        """The job that holds the teacher's weights: its rectification, or the Query text alone."""
        settings = self.params.runs[run]
        if settings.method == "query":
            return self.job("embed-text", settings.dataset)
        return self.job("rectify", run)

    def _pseudo_mask(self, run: str) -> Job:
        dataset = self.params.runs[run].dataset
        return self._make(
            "pseudo-mask",
            run,
            Path("runs") / run / "pseudo-mask",
            {"seeds": self.taught_seeds(run), "compute": self.params.compute},
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "teacher": self._teacher(run),
            },
        )

    def _distill(self, run: str) -> Job:
        settings = self.params.runs[run]
        dataset = settings.dataset
        weights = self.distill(run).checkpoint
        backbone = {"weights": weights_sha256(weights, "distill.checkpoint")} if weights else {}
        return self._make(
            "distill",
            run,
            Path("runs") / run / "distill",
            {
                "distill": self.distill(run),
                **backbone,
                "seeds": self.seeds(run),
                "seeded_teacher": self.params.runs[settings.teacher].method == "rectify",
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "hypotheses": self.job("hypothesise", dataset),
                "masks": self.job("pseudo-mask", settings.teacher),
                "teacher": self._teacher(settings.teacher),
            },
        )

    def _probe(self, run: str) -> Job:
        settings = self.params.runs[run]
        return self._make(
            "probe",
            run,
            Path("runs") / run / "probe",
            {
                "probe": self._run_sections[run, "probe"],
                "seeds": self.seeds(run),
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", settings.dataset),
                "features": self.job("cache-features", settings.dataset),
                "student": self.job("distill", settings.student),
            },
        )

    def _evaluate(self, run: str) -> Job:
        settings = self.params.runs[run]
        dataset = settings.dataset
        inputs = {
            "data": self.job("prepare", dataset),
            "features": self.job("cache-features", dataset),
            "hypotheses": self.job("hypothesise", dataset),
        }
        if settings.method == "query":
            inputs["model"] = self.job("embed-text", dataset)
        else:
            inputs["model"] = self.job(settings.method, run)
        return self._make(
            "evaluate",
            run,
            Path("runs") / run / "evaluate",
            {
                "dataset": dataset,
                "method": settings.method,
                "seeds": self.seeds(run),
                "evaluate": self.params.evaluate,
                "compute": self.params.compute,
            },
            inputs=inputs,
            outputs=(self.metrics_file(run),),
        )

    def metrics_file(self, run: str) -> Path:
        return self.root / "runs" / run / "metrics.json"

    def table_runs(self, table: str) -> list[str]:
        """Runs that a table's measured cells need, in order."""
        cells = [c for row in self.params.tables[table].rows for c in row.cells.values()]
        return list(dict.fromkeys(cell.run for cell in cells if cell.run))

    def _tabulate(self, table: str) -> Job:
        folder = Path("tables")
        return self._make(
            "tabulate",
            table,
            folder,
            {"table": self.params.tables[table], "experiment": self.params.experiment},
            inputs={run: self.job("evaluate", run) for run in self.table_runs(table)},
            outputs=tuple(self.root / folder / f"{table}.{kind}" for kind in ("csv", "md", "html")),
            shares_folder=True,
        )

    def compared(self, dataset: str) -> dict[str, str]:
        """Role (query, rectified, distilled) to the run that the figures show for it.

        The runs of `check`; on its other data sets, and without `check`, those set up alike: with
        the same overrides (without `check`: none), else the first of their method.
        """
        like = self.params.check.model_dump() if self.params.check else {}
        found: dict[str, str] = {}

        def unlike(run: str) -> tuple[bool, bool, bool]:
            settings, model = self.params.runs[run], self.params.runs.get(like.get(role))
            overrides = getattr(settings, method, {}), getattr(model, method, {})
            taught = settings.teacher in (None, found.get("rectified"))
            return run != like.get(role), not taught, overrides[0] != overrides[1]

        methods = {"query": "query", "rectified": "rectify", "distilled": "distill"}
        for role, method in methods.items():
            of = (dataset, method)
            runs = [r for r, s in self.params.runs.items() if (s.dataset, s.method) == of]
            if runs:
                found[role] = min(runs, key=unlike)
        return found

    def _plot(self, experiment: str) -> Job:
        compared = {d: runs for d in self.params.datasets if (runs := self.compared(d))}
        check = self.params.check
        pictured = self.params.runs[check.query].dataset if check else next(iter(compared), None)
        inputs = {}
        for run in (run for runs in compared.values() for run in runs.values()):
            evaluation = self.job("evaluate", run)
            # Pictures predict again, from what the evaluation read.
            for job in (evaluation, *evaluation.inputs.values()):
                inputs[job.name] = job
        return self._make(
            "plot",
            experiment,
            Path("figures"),
            {
                "compared": compared,
                "pictured": pictured,
                "clip": self.params.clip,
                "compute": self.params.compute,
            },
            inputs=inputs,
            outputs=tuple(self.root / "figures" / name for name in (*FIGURES, "bias.csv")),
        )

    def _check(self, experiment: str) -> Job:
        check = self.params.check
        return self._make(
            "check",
            experiment,
            Path("check"),
            {"check": check},
            inputs={run: self.job("evaluate", run) for run in check.model_dump().values()},
            outputs=(self.root / "check" / "check.md",),
        )


# The report's pictures; `reclip.evaluate.plot` draws each.
FIGURES = (
    "examples.png",
    "heatmaps.png",
    "distance.png",
    "confusion.png",
    "per-class-iou.png",
    "curves.png",
    "bias.png",
)
