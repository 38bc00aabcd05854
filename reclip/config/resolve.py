"""Resolve an experiment: the settings of every dataset and run, and questions about its runs."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from reclip.config import PARAMS, compat
from reclip.config.base import Settings
from reclip.config.load import load_params, validate
from reclip.config.models import (
    DATASET_SECTIONS,
    RUN_SECTIONS,
    ClipSettings,
    Params,
    RunSettings,
)
from reclip.config.sources import Source

METHODS = {"query": "query", "rectified": "rectify", "distilled": "distill"}
"""The roles that the check and the figures compare, and the method of each."""


class Experiment:
    """A settings file with the settings of every dataset and run resolved.

    Raises ReclipError: a setting is invalid.
    """

    def __init__(self, params: Params):
        self.params = params
        self.clip: ClipSettings = self._merge("clip", ClipSettings, [])
        self._sections = {
            (dataset, name): self._resolve(name, "datasets", dataset)
            for dataset in params.datasets
            for name in DATASET_SECTIONS
        }
        self._run_sections = {
            (run, name): self._resolve(name, "runs", run)
            for run, settings in params.runs.items()
            if settings.dataset in params.datasets
            for name in RUN_SECTIONS
        }

    @classmethod
    def load(cls, path: str | Path = PARAMS) -> Self:
        """Read a settings file."""
        return cls(load_params(path))

    # Settings

    def _merge(self, section: str, model: type[Settings], over: list[tuple[str, dict]]) -> Any:
        """Return a section: defaults, then `compat`'s values, the file's, and those of `over`."""
        merged = dict(compat.layer(self.params.compat, section))
        own = getattr(self.params, section).model_dump(exclude_unset=True)
        for at, layer in [(section, own), *over]:
            merged = {**merged, **layer}
            result = validate(model, merged, at)
        return result

    def _resolve(self, section: str, level: str, name: str) -> Settings:
        """Return a section with the overrides of the dataset, then of the run."""
        dataset = self.params.runs[name].dataset if level == "runs" else name
        own = getattr(self.params.datasets[dataset], section)
        over = [(f"datasets.{dataset}.{section}", own)]
        if level == "runs":
            over.append((f"runs.{name}.{section}", getattr(self.params.runs[name], section)))
        return self._merge(section, DATASET_SECTIONS[section], over)

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

    def choices(self, section: str, key: str) -> tuple[Any, list[Any]]:
        """Return a setting's default, and its distinct values over the datasets."""
        sections = [self.clip] if section == "clip" else [
            self.section(dataset, section) for dataset in self.params.datasets
        ]  # fmt: skip
        values = [getattr(s, key) for s in sections]
        return type(sections[0]).model_fields[key].default, list(dict.fromkeys(values))

    # Datasets

    def source(self, dataset: str) -> Source:
        return self.params.datasets[dataset].source

    def labelled(self, dataset: str) -> bool:
        """Return whether val photos have labels, so that the dataset's runs can be evaluated."""
        source = self.source(dataset)
        return source.kind != "folder" or source.labelled

    @cached_property
    def own_photos(self) -> dict[str, str]:
        """Datasets of the kind folder, each with the rectified run that teaches its student."""
        found = {}
        for dataset in self.params.datasets:
            student = self.compared(dataset).get("distilled")
            if self.source(dataset).kind == "folder" and student:
                teacher = self.params.runs[student].teacher
                if self.params.runs[teacher].method == "rectify":
                    found[dataset] = teacher
        return found

    # Runs

    @cached_property
    def _runs_of(self) -> dict[tuple[str, str], list[str]]:
        """Runs by dataset and method."""
        found = defaultdict(list)
        for run, settings in self.params.runs.items():
            found[settings.dataset, settings.method].append(run)
        return found

    def seeds(self, run: str) -> tuple[int, ...]:
        """Return the seeds of a run; none for method query, which trains nothing."""
        settings = self.params.runs[run]
        if settings.method == "query":
            return ()
        return settings.seeds or getattr(self.params.seeds, settings.method)

    @cached_property
    def _seeds_of_students(self) -> dict[str, set[int]]:
        found = defaultdict(set)
        for run, settings in self.params.runs.items():
            if settings.teacher:
                found[settings.teacher] |= set(self.seeds(run))
        return found

    def taught_seeds(self, teacher: str) -> tuple[int, ...] | None:
        """Return the seeds whose masks a student learns from; None if `teacher` has no student."""
        if teacher not in self._seeds_of_students:
            return None
        if self.params.runs[teacher].method == "query":
            return ()
        return tuple(sorted(self._seeds_of_students[teacher]))

    @cached_property
    def check_only(self) -> set[str]:
        """Runs that only `check` needs: plain `snakemake` leaves them to `<experiment>_check`."""
        tabled = {run for table in self.params.tables for run in self.table_runs(table)}
        check = self.params.check
        return {run for run in check.model_dump().values() if run not in tabled} if check else set()

    @cached_property
    def packaged(self) -> list[str]:
        """Runs whose model plain `snakemake` writes; others are written on request."""
        runs = self.params.runs.items()
        return [r for r, s in runs if s.method == "distill" and r not in self.check_only]

    def table_runs(self, table: str) -> list[str]:
        """Return the runs of a table's measured cells, in order."""
        cells = [c for row in self.params.tables[table].rows for c in row.cells.values()]
        return list(dict.fromkeys(cell.run for cell in cells if cell.run))

    def compared(self, dataset: str) -> dict[str, str]:
        """Return role (query, rectified, distilled) to the run that the figures show for it.

        Of a dataset's runs of a method, the first is taken that is not for `check` alone, learns
        from the rectified run, and has no overrides; in this order of importance.
        """
        found: dict[str, str] = {}
        for role, method in METHODS.items():

            def rank(run: str, method: str = method) -> tuple[bool, bool, bool]:
                settings: RunSettings = self.params.runs[run]
                taught = settings.teacher in (None, found.get("rectified"))
                return run in self.check_only, not taught, bool(getattr(settings, method, {}))

            if runs := self._runs_of[dataset, method]:
                found[role] = min(runs, key=rank)
        return found
