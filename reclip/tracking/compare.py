"""Compare runs in the terminal, from their metrics files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.pipeline.job import snakemake
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.tracking.results import as_text, mean_iou, settings_behind

NONE = "-"


def compare(plan: Plan, runs: Sequence[str], top: int = 10) -> str:
    """Return three tables: settings that differ, metrics, and classes whose IoU differs most.

    Args:
        runs: run ids. Differences are to the first run.
        top: maximum number of classes.

    Raises ReclipError: fewer than two runs, an unknown run, or a stale result.
    """
    runs = list(dict.fromkeys(runs))
    if len(runs) < 2:
        raise ReclipError("name two runs or more to compare, e.g. `reclip compare voc-ref voc-add`")
    metrics = _fresh_metrics(plan, runs)
    settings = differing({run: settings_behind(plan, run) for run in runs})
    tables = [
        _table("settings that differ", settings),
        _table("result, %", _results(metrics)),
        _classes(pd.DataFrame({run: mean_iou(m) for run, m in metrics.items()}), top),
    ]
    return "\n\n".join(tables)


def _fresh_metrics(plan: Plan, runs: list[str]) -> dict[str, dict[str, Any]]:
    jobs = {run: plan.job("gather", run) for run in runs}
    reasons = {job: reason for job in jobs.values() if (reason := why_stale(job))}
    if reasons:
        job, reason = next(iter(reasons.items()))
        others = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        targets = " ".join(str(job.outputs[0]) for job in reasons)
        raise ReclipError(
            f"{job.name} is stale ({reason}){others}: run `{snakemake(targets, plan.file)}`"
        )
    return {run: read_json(job.outputs[0]) for run, job in jobs.items()}


def differing(settings: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return a row for each setting that differs, and a column for each run, all as text.

    A section that some runs lack gets one row, `section.*`. Its settings are compared between the
    other runs.
    """
    texts = pd.DataFrame({run: as_text(given, limit=None) for run, given in settings.items()})
    section = texts.index.str.extract(r"(.*?\.)", expand=False)
    counts = texts.notna().groupby(section).sum()
    lacks = counts.reindex(section).set_axis(texts.index) == 0
    texts = texts.fillna(NONE)
    missing = counts[(counts == 0).any(axis=1)].rename(lambda name: f"{name}*")
    missing = missing.map(lambda count: f"{count} settings" if count else NONE)
    return pd.concat([texts[texts.mask(lacks).nunique(axis=1) > 1], missing]).sort_index()


def _results(metrics: dict[str, dict[str, Any]]) -> pd.DataFrame:
    columns = {}
    for run, found in metrics.items():
        seeds = sum(result["seed"] is not None for result in found["seeds"])
        columns[run] = {
            "mIoU": _mean_and_sd(found["miou"]),
            "pixel accuracy": _mean_and_sd(found["pixel_accuracy"]),
            "seeds": str(seeds or NONE),
        }
    return pd.DataFrame(columns)


def _mean_and_sd(summary: dict[str, Any]) -> str:
    sd = "" if summary["sd"] is None else f" ± {summary['sd']:.1f}"
    return f"{summary['mean']:.1f}{sd}"


def _classes(iou: pd.DataFrame, top: int) -> str:
    """Return the table of the classes whose IoU differs most between any two runs.

    iou: of each class (rows) and run (columns), the mean over the seeds.
    """
    common = iou.dropna()
    if common.empty:
        return "IoU by class: the runs have no class in common"
    ranges = common.max(axis=1) - common.min(axis=1)
    shown = common.loc[ranges.sort_values(ascending=False, kind="stable").index[:top]]
    texts = shown.map("{:.1f}".format)
    differences = shown.sub(shown.iloc[:, 0], axis=0).map(" ({:+.1f})".format)
    texts.iloc[:, 1:] += differences.iloc[:, 1:]
    return _table(f"IoU by class, {len(shown)} of {len(common)}", texts)


def _table(title: str, rows: pd.DataFrame) -> str:
    return f"{title}: none" if rows.empty else rows.rename_axis(columns=title).to_string()
