"""Resolve an experiment: the settings of every dataset and run, and questions about its runs."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any

from reclip.common.errors import ReclipError
from reclip.common.text import nearest
from reclip.config import compat
from reclip.config.load import validate
from reclip.config.models import ClipSettings
from reclip.config.params import DATASET_SECTIONS, RUN_SECTIONS, Params
from reclip.config.sources import Source
from reclip.config.update_recipes import UPDATE_RECIPES

METHODS = {"query": "query", "rectified": "rectify", "distilled": "distill"}
"""The roles that the check's steps and the figures compare, and the method of each."""


class Experiment:
    """A settings file with the settings of every dataset and run resolved.

    Raises ReclipError: a setting is invalid.
    """

    def __init__(self, params: Params):
        self.params = params
        self._require_origins()
        self._runs_of: dict[tuple[str, str], list[str]] = defaultdict(list)
        for run, settings in params.runs.items():
            self._runs_of[settings.dataset, settings.method].append(run)
        self.clip: ClipSettings = self._merged("clip")
        self._sections = {
            (dataset, name): self._merged(
                name,
                *(self._datasets_of(dataset) if name in RUN_SECTIONS else [("datasets", dataset)]),
            )
            for dataset in params.datasets
            for name in DATASET_SECTIONS
        }
        self._run_sections = {
            (run, name): self._merged(name, *self._datasets_of(settings.dataset), ("runs", run))
            for run, settings in params.runs.items()
            if settings.dataset in params.datasets
            for name in RUN_SECTIONS
        }

    def _require_origins(self) -> None:
        """Raise ReclipError if a dataset is `of` one that does not exist or has no source."""
        datasets = self.params.datasets
        with_source = [name for name, settings in datasets.items() if settings.source]
        for name, settings in datasets.items():
            if settings.of and settings.of not in with_source:
                raise ReclipError(
                    f"params: 'datasets.{name}.of': no dataset '{settings.of}' with a source"
                    f"{nearest(settings.of, with_source)}"
                )

    # Settings

    def _datasets_of(self, dataset: str) -> list[tuple[str, str]]:
        """Return the places of overrides: of the dataset that it is `of`, and its own."""
        return [("datasets", name) for name in dict.fromkeys((self.origin(dataset), dataset))]

    def _merged(self, section: str, *places: tuple[str, str]) -> Any:
        """Return a section: defaults, then values of `compat`, `recipe`, the file and `places`.

        places: "datasets" or "runs", with the name of one.
        """
        own = getattr(self.params, section)
        layers = {section: own.model_dump(exclude_unset=True)}
        for level, name in places:
            place = getattr(self.params, level)[name]
            layers[f"{level}.{name}.{section}"] = getattr(place, section)
        dataset = dict(places).get("datasets")
        kind = self.source(dataset).kind if dataset else None
        merged = compat.values(self.params.compat, section, kind)
        if section == "rectify" and self.params.recipe:
            merged |= UPDATE_RECIPES[self.params.recipe]
        for at, layer in layers.items():
            merged = {**merged, **layer}
            result = validate(type(own), merged, at)
        return result

    def section(self, dataset: str, name: str) -> Any:
        """Return a section of the settings for a dataset."""
        return self._sections[dataset, name]

    def run_section(self, run: str, name: str) -> Any:
        """Return a section of the settings for a run."""
        return self._run_sections[run, name]

    def rectify(self, run: str) -> Any:
        return self.run_section(run, "rectify")

    def distill(self, run: str) -> Any:
        return self.run_section(run, "distill")

    # Datasets

    def origin(self, dataset: str) -> str:
        """Return the dataset whose photos and labels `dataset` has: itself or another."""
        return self.params.datasets[dataset].of or dataset

    def source(self, dataset: str) -> Source:
        return self.params.datasets[self.origin(dataset)].source

    def clip_of(self, dataset: str) -> ClipSettings:
        """Return the CLIP that reads a dataset; `clip` has the weights that all share."""
        return self.section(dataset, "clip")

    def labelled(self, dataset: str) -> bool:
        """Return whether val photos have labels, so that the dataset's runs can be evaluated."""
        source = self.source(dataset)
        return source.kind != "folder" or source.labelled

    @cached_property
    def own_photos(self) -> dict[str, str]:
        """Datasets of the kind folder, each with the rectified run that teaches its student."""
        runs, datasets = self.params.runs, self.params.datasets
        own = [d for d, of in datasets.items() if of.source and of.source.kind == "folder"]
        students = {dataset: self.compared(dataset).get("distilled") for dataset in own}
        teachers = {dataset: runs[run].teacher for dataset, run in students.items() if run}
        return {d: teacher for d, teacher in teachers.items() if runs[teacher].method == "rectify"}

    # Runs

    def seeds(self, run: str, check: bool = False) -> tuple[int, ...]:
        """Return the seeds of a run; none for method query, which trains nothing.

        check: with those that the check adds.
        """
        settings = self.params.runs[run]
        if settings.method == "query":
            return ()
        own = settings.seeds or getattr(self.params.seeds, settings.method)
        if check and run in self.checked:
            return tuple(sorted({*own, *self.params.check.seeds}))
        return own

    @cached_property
    def _students(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for run, settings in self.params.runs.items():
            if settings.teacher:
                found[settings.teacher].append(run)
        return found

    def taught_seeds(self, teacher: str, check: bool = False) -> tuple[int, ...] | None:
        """Return the seeds whose masks a student learns from; None if `teacher` has no student.

        check: with those that the check adds.
        """
        if teacher not in self._students:
            return None
        if self.params.runs[teacher].method == "query":
            return ()
        students = self._students[teacher]
        return tuple(sorted({seed for run in students for seed in self.seeds(run, check)}))

    @cached_property
    def tabled(self) -> list[str]:
        """The runs that a table measures, each once."""
        runs = (run for table in self.params.tables for run in self.table_runs(table))
        return list(dict.fromkeys(runs))

    @cached_property
    def checked(self) -> frozenset[str]:
        """The runs that also have the check's seeds: those of tables, and all they learn from."""
        found = list(self.tabled) if self.params.check else []
        for run in found:  # grows
            settings = self.params.runs[run]
            found += [named for named in (settings.teacher, settings.student) if named]
        return frozenset(found)

    def table_runs(self, table: str) -> list[str]:
        """Return the runs of a table's measured cells, in order."""
        cells = [c for row in self.params.tables[table].rows for c in row.cells.values()]
        return list(dict.fromkeys(cell.run for cell in cells if cell.run))

    def compared(self, dataset: str) -> dict[str, str]:
        """Return role (query, rectified, distilled) to the run that the figures show for it.

        Of a dataset's runs of a method, the first is taken that learns from the rectified run and
        has no overrides; in this order of importance.
        """
        found: dict[str, str] = {}
        for role, method in METHODS.items():
            ranks = {}
            for run in self._runs_of[dataset, method]:
                settings = self.params.runs[run]
                untaught = settings.teacher not in (None, found.get("rectified"))
                ranks[run] = untaught, bool(getattr(settings, method, {}))
            if ranks:
                found[role] = min(ranks, key=ranks.get)
        return found

    @cached_property
    def steps(self) -> dict[str, dict[str, str]]:
        """The runs of `compared` that the check measures, by dataset with labels and role."""
        labelled = filter(self.labelled, self.params.datasets)
        return {dataset: self.with_seeds_of_check(self.compared(dataset)) for dataset in labelled}

    def with_seeds_of_check(self, runs: dict[str, str]) -> dict[str, str]:
        """Return those of `runs`, by role, that have the check's seeds or need none."""
        return {role: run for role, run in runs.items() if role == "query" or run in self.checked}

    def bias_runs(self, dataset: str) -> dict[str, str]:
        """Return role to run as `compared`, with `reference` after the Query.

        That is the first run of method rectify whose only override is `positional: false`. If no
        other run is rectified, it is not named twice.
        """
        compared = self.compared(dataset)
        alone = [
            run
            for run in self._runs_of[dataset, "rectify"]
            if self.params.runs[run].rectify == {"positional": False}
        ]
        if not alone:
            return compared
        found = {"query": compared.get("query"), "reference": alone[0]}
        found |= {role: run for role, run in compared.items() if run not in found.values()}
        return {role: run for role, run in found.items() if run}
