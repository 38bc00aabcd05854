"""What an experiment asks for: its params, resolved for each data set and run, and checked."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Self

from reclip.common.errors import ReclipError
from reclip.config import compat
from reclip.config.base import Settings
from reclip.config.load import load_params, nearest, validate
from reclip.config.models import (
    DATASET_SECTIONS,
    RUN_SECTIONS,
    Check,
    ClipSettings,
    Params,
    RunSettings,
)
from reclip.config.sources import Source

# What the check and the figures compare, and the method of each.
METHODS = {"query": "query", "rectified": "rectify", "distilled": "distill"}


class Experiment:
    """An experiment's params with every setting of every data set and run resolved and checked.

    Raises ReclipError: a run, table or check that names what is not there.
    """

    def __init__(self, params: Params):
        self.params = params
        self.clip: ClipSettings = self._lay("clip", ClipSettings, [])
        self._sections = {
            (dataset, name): self._merge(name, "datasets", dataset)
            for dataset in params.datasets
            for name in DATASET_SECTIONS
        }
        self._run_sections = {
            (run, name): self._merge(name, "runs", run)
            for run, settings in params.runs.items()
            if settings.dataset in params.datasets
            for name in RUN_SECTIONS
        }
        for run, settings in params.runs.items():
            self._check_run(run, settings)
        for table, settings in params.tables.items():
            for i, row in enumerate(settings.rows):
                for column, cell in row.cells.items():
                    if cell.run is not None:
                        self._measured_run(cell.run, f"tables.{table}.rows.{i}.cells.{column}.run")
        if params.check:
            for role, run in params.check.model_dump().items():
                self._measured_run(run, f"check.{role}")
            self._check_roles(params.check)

    @classmethod
    def load(cls, path: str | Path = "params.yaml") -> Self:
        return cls(load_params(path))

    # Settings

    def _lay(self, section: str, model: type[Settings], over: list[tuple[str, dict]]) -> Any:
        """A section's settings: its defaults, `compat`'s, the file's, and those laid over them."""
        merged = dict(compat.layer(self.params.compat, section))
        own = getattr(self.params, section).model_dump(exclude_unset=True)
        for at, layer in [(section, own), *over]:
            merged = {**merged, **layer}
            result = validate(model, merged, at)
        return result

    def _merge(self, section: str, level: str, name: str) -> Settings:
        """The section's settings with the data set's, then the run's overrides."""
        dataset = self.params.runs[name].dataset if level == "runs" else name
        over = [(f"datasets.{dataset}.{section}", self._override(dataset, section))]
        if level == "runs":
            over.append((f"runs.{name}.{section}", getattr(self.params.runs[name], section)))
        return self._lay(section, DATASET_SECTIONS[section], over)

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
        if settings.method == "probe" and self._source(settings.dataset).kind == "folder":
            raise ReclipError(
                f"params: '{at}' learns from labels of training photos, and data set "
                f"'{settings.dataset}' has none: remove the run"
            )
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
        for role, run in check.model_dump().items():
            method = METHODS[role]
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

    def _source(self, dataset: str) -> Source:
        return self.params.datasets[dataset].source

    def labelled(self, dataset: str) -> bool:
        """Whether the data set has labels of val photos, so that its runs can be evaluated."""
        source = self._source(dataset)
        return source.kind != "folder" or source.labelled

    def _measured_run(self, run: str, at: str) -> None:
        self._known_run(run, at)
        dataset = self.params.runs[run].dataset
        if not self.labelled(dataset):
            raise ReclipError(
                f"params: '{at}': '{run}' cannot be measured, as data set '{dataset}' has no "
                f"labels: give its source val_images and val_labels, or take the run out of here"
            )

    def _known_run(self, run: str, at: str) -> None:
        if run not in self.params.runs:
            raise ReclipError(f"params: '{at}': no run '{run}'{nearest(run, self.params.runs)}")

    def section(self, dataset: str, name: str) -> Any:
        return self._sections[dataset, name]

    def choices(self, section: str, key: str) -> tuple[Any, list[Any]]:
        """A setting's default, and the different values that it has on the data sets."""
        sections = [self.clip] if section == "clip" else [
            self.section(dataset, section) for dataset in self.params.datasets
        ]  # fmt: skip
        values = [getattr(s, key) for s in sections]
        return type(sections[0]).model_fields[key].default, list(dict.fromkeys(values))

    def run_section(self, run: str, name: str) -> Any:
        return self._run_sections[run, name]

    def rectify(self, run: str) -> Any:
        return self.run_section(run, "rectify")

    def distill(self, run: str) -> Any:
        return self.run_section(run, "distill")

    def seeds(self, run: str) -> tuple[int, ...]:
        """Seeds of a run; none for method query, which trains nothing."""
        settings = self.params.runs[run]
        if settings.method == "query":
            return ()
        return settings.seeds or getattr(self.params.seeds, settings.method)

    def taught_seeds(self, teacher: str) -> tuple[int, ...] | None:
        """Seeds whose masks some student learns from; None if `teacher` has no student."""
        students = [r for r, s in self.params.runs.items() if s.teacher == teacher]
        if not students:
            return None
        if self.params.runs[teacher].method == "query":
            return ()
        return tuple(sorted({seed for run in students for seed in self.seeds(run)}))

    @cached_property
    def check_only(self) -> set[str]:
        """Runs that only `check` asks for: `snakemake` leaves them to `<experiment>_check`."""
        cells = [c for t in self.params.tables.values() for r in t.rows for c in r.cells.values()]
        tabled = {cell.run for cell in cells}
        check = self.params.check
        return {run for run in check.model_dump().values() if run not in tabled} if check else set()

    def compared(self, dataset: str) -> dict[str, str]:
        """Role (query, rectified, distilled) to the run that the figures show for it.

        Of a data set's runs of a method: those that are not for `check` alone before those that
        are, then those that learn from the rectified one, then those without overrides.
        """
        found: dict[str, str] = {}
        for role, method in METHODS.items():

            def rank(run: str, method: str = method) -> tuple[bool, bool, bool]:
                settings = self.params.runs[run]
                taught = settings.teacher in (None, found.get("rectified"))
                return run in self.check_only, not taught, bool(getattr(settings, method, {}))

            of = (dataset, method)
            runs = [r for r, s in self.params.runs.items() if (s.dataset, s.method) == of]
            if runs:
                found[role] = min(runs, key=rank)
        return found
