"""Runs side by side, from their metrics files: what MLflow's comparison shows, in a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.pipeline.job import snakemake
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.tracking.lineage import settings_behind
from reclip.tracking.results import mean_iou

NONE = "-"
Row = tuple[str, ...]


def compare(plan: Plan, runs: Sequence[str], top: int = 10, params: str = "params.yaml") -> str:
    """Settings that differ, metrics, and the classes whose IoU differs most.

    Args:
        runs: run ids; differences are to the first.
        top: how many classes at most.
        params: the plan's file, for the command that an error names.

    Raises ReclipError: fewer than two runs, one that is not there, or a stale result.
    """
    runs = list(dict.fromkeys(runs))
    if len(runs) < 2:
        raise ReclipError("name two runs or more to compare, e.g. `reclip compare voc-ref voc-add`")
    metrics = _fresh_metrics(plan, runs, params)
    names = tuple(runs)
    blocks = [
        [("settings that differ", *names), *differing([settings_behind(plan, r) for r in runs])],
        [("result, %", *names), *_results(metrics)],
        _classes(names, [mean_iou(m) for m in metrics], top),
    ]
    return "\n\n".join(_aligned(block) for block in blocks)


def _fresh_metrics(plan: Plan, runs: list[str], params: str) -> list[dict[str, Any]]:
    jobs = [plan.job("evaluate", run) for run in runs]
    reasons = {job: reason for job in jobs if (reason := why_stale(job))}
    if reasons:
        job, reason = next(iter(reasons.items()))
        others = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        targets = " ".join(str(job.outputs[0]) for job in reasons)
        raise ReclipError(
            f"{job.name} is stale ({reason}){others}: run `{snakemake(targets, params)}`"
        )
    return [read_json(job.outputs[0]) for job in jobs]


def differing(settings: list[dict[str, Any]]) -> list[Row]:
    """A row for each setting that differs; one for a section that not every run has.

    Such a section is compared between those that have it.
    """
    rows = []
    for key in {key for each in settings for key in each}:
        having = settings
        if "." in key:
            section = key.split(".")[0] + "."
            counts = [sum(other.startswith(section) for other in each) for each in settings]
            having = [each for each, count in zip(settings, counts, strict=True) if count]
            if len(having) < len(settings):
                said = (f"{count} settings" if count else NONE for count in counts)
                rows.append((f"{section}*", *said))
        if len({_text(each.get(key)) for each in having}) > 1:
            rows.append((key, *(_text(each.get(key)) for each in settings)))
    return sorted(set(rows)) or [("none",)]


def _text(value: Any) -> str:
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value)


def _results(metrics: list[dict[str, Any]]) -> list[Row]:
    rows = []
    for label, name in (("mIoU", "miou"), ("pixel accuracy", "pixel_accuracy")):
        rows.append((label, *(_spread(m[name]) for m in metrics)))
    seeds = [sum(r["seed"] is not None for r in m["seeds"]) for m in metrics]
    return [*rows, ("seeds", *(str(n) if n else NONE for n in seeds))]


def _spread(summary: dict[str, Any]) -> str:
    sd = "" if summary["sd"] is None else f" ± {summary['sd']:.1f}"
    return f"{summary['mean']:.1f}{sd}"


def _classes(names: Row, iou: list[dict[str, float | None]], top: int) -> list[Row]:
    """The classes whose IoU (mean over seeds) differs most between any two of the runs."""
    common = [name for name in iou[0] if all(each.get(name) is not None for each in iou)]
    if not common:
        return [("IoU by class: the runs have no class in common",)]

    def spread(name: str) -> float:
        values = [each[name] for each in iou]
        return max(values) - min(values)

    shown = sorted(common, key=spread, reverse=True)[:top]
    rows = [(f"IoU by class, {len(shown)} of {len(common)}", *names)]
    for name in shown:
        first, *others = [each[name] for each in iou]
        cells = (f"{value:.1f} ({value - first:+.1f})" for value in others)
        rows.append((name, f"{first:.1f}", *cells))
    return rows


def _aligned(rows: list[Row]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
