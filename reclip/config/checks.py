"""Checks of an experiment as a whole: runs and tables must name things that exist."""

from __future__ import annotations

from collections.abc import Collection

from reclip.common.errors import ReclipError
from reclip.common.text import nearest
from reclip.config.params import Params, RunSettings
from reclip.config.resolve import Experiment


def check_experiment(experiment: Experiment, rules: Collection[str] = ()) -> None:
    """Check every run and table, and that the check has rows to compare.

    rules: names of Snakemake's rules, which no table may have.
    Raises ReclipError: a name is unknown or a rule's, or the named run does not fit.
    """
    params = experiment.params
    _check_tables_are_no_rules(params, rules)
    for run, settings in params.runs.items():
        _check_run(experiment, run, settings)
    for table, settings in params.tables.items():
        for i, row in enumerate(settings.rows):
            for column, cell in row.cells.items():
                if cell.run is not None:
                    at = f"tables.{table}.rows.{i}.cells.{column}.run"
                    require_measured(experiment, cell.run, at)
    if params.check and not experiment.tabled:
        raise ReclipError(
            "params: 'check' compares the measured rows of tables, but no cell under `tables` "
            "names a run: add one, or remove 'check'"
        )


def _check_tables_are_no_rules(params: Params, rules: Collection[str]) -> None:
    own = f"{params.experiment}_check"
    for table in params.tables:
        if table in rules or (params.check and table == own):
            raise ReclipError(
                f"params: 'tables.{table}': `snakemake {table}` is the name of a rule: rename this "
                f"table, for example to '{table}-table'"
            )


def require_measured(experiment: Experiment, run: str, at: str) -> None:
    """Raise ReclipError unless `run` exists and its dataset has labels of val photos.

    at: the key that names the run.
    """
    dataset = _run_named(experiment, run, at).dataset
    if not experiment.labelled(dataset):
        raise ReclipError(
            f"params: '{at}': cannot evaluate run '{run}', because dataset '{dataset}' has no "
            f"labels: add val_images and val_labels to its source, or remove the run here"
        )


def _run_named(experiment: Experiment, run: str, at: str) -> RunSettings:
    runs = experiment.params.runs
    if run not in runs:
        raise ReclipError(f"params: '{at}': no run '{run}'{nearest(run, runs)}")
    return runs[run]


def _check_run(experiment: Experiment, run: str, settings: RunSettings) -> None:
    at = f"runs.{run}"
    datasets = experiment.params.datasets
    if settings.dataset not in datasets:
        hint = nearest(settings.dataset, datasets)
        raise ReclipError(f"params: '{at}.dataset': no dataset '{settings.dataset}'{hint}")
    # Settings that name another run, the method that needs it, and the methods it may name.
    for role, method, allowed in (
        ("teacher", "distill", ("query", "rectify")),
        ("student", "probe", ("distill",)),
    ):
        named = getattr(settings, role)
        if settings.method == method:
            _check_role(experiment, run, role, named, allowed)
        elif named is not None:
            raise ReclipError(f"params: '{at}.{role}' is only for method {method}: remove it")
    if settings.method == "distill":
        _check_head(experiment, run, settings)
    if settings.method == "probe" and experiment.source(settings.dataset).kind == "folder":
        raise ReclipError(
            f"params: '{at}' learns from labels of training photos, but dataset "
            f"'{settings.dataset}' has none: remove the run"
        )
    if settings.method == "rectify":
        own = experiment.rectify(run)
        for part in ("reference", "positional"):
            if own.model == "reclip++" and not getattr(own, part):
                raise ReclipError(
                    f"params: '{at}.rectify.{part}' is false, but the bias of ReCLIP++ is made "
                    f"of Reference and position: remove it, or set rectify.model to reclip"
                )
        if not (own.reference or own.learn_query or own.positional):
            raise ReclipError(
                f"params: '{at}.rectify' learns nothing: set reference, learn_query or "
                f"positional to true"
            )


def _check_role(
    experiment: Experiment, run: str, role: str, named: str | None, allowed: tuple[str, ...]
) -> None:
    """Check the teacher or student that a run names."""
    at, methods = f"runs.{run}.{role}", " or ".join(allowed)
    if named is None:
        raise ReclipError(f"params: '{at}' is missing: name a run of method {methods}")
    dataset = experiment.params.runs[run].dataset
    other = _run_named(experiment, named, at)
    if other.method not in allowed or other.dataset != dataset:
        raise ReclipError(
            f"params: '{at}': '{named}' must be a run of method {methods} on dataset '{dataset}'"
        )
    missing = set(experiment.seeds(run)) - set(experiment.seeds(named))
    if other.method != "query" and missing:
        raise ReclipError(
            f"params: 'runs.{run}.seeds': {role} '{named}' has no seed {min(missing)}: "
            f"add it to its seeds"
        )


def _check_head(experiment: Experiment, run: str, settings: RunSettings) -> None:
    """Check that the teacher has the head that a student inherits."""
    head, own = experiment.distill(run).head, experiment.rectify(settings.teacher)
    rectified = experiment.params.runs[settings.teacher].method == "rectify"
    if rectified and own.model == "reclip++" and "reference" in head:
        raise ReclipError(
            f"params: 'runs.{run}.distill.head': the Reference of teacher '{settings.teacher}' "
            f"(ReCLIP++) says nothing without the position, so no student inherits it: set the "
            f"head to 'query' or 'classifier'"
        )
    has_reference = rectified and own.reference
    if ("reference" in head and not has_reference) or ("positional" in head and not own.positional):
        raise ReclipError(
            f"params: 'runs.{run}.distill.head': teacher '{settings.teacher}' has no head "
            f"'{head}': choose 'query' or another teacher"
        )
