"""Stage `check`: the tables over more seeds, a verdict on each pair of rows, and the biases."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from reclip.common.files import read_json, write_json, write_text
from reclip.common.tables import write_table
from reclip.common.templates import fill
from reclip.evaluate import results_table, verdicts
from reclip.evaluate.figures import preference, style
from reclip.evaluate.figures.preference import Preference
from reclip.evaluate.results_table import COLUMNS, Found
from reclip.evaluate.verdicts import Difference, Pair
from reclip.pipeline.artifacts import CHECK_FACTS, CONFUSION_FILE, RINGS_FILE, SCORES_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish

TABLE_COLUMNS = (*COLUMNS[:8], "low", "high", *COLUMNS[8:])
VERDICT_COLUMNS = (
    "dataset", "higher", "lower", "tables", "paper", "ours", "low", "high", "seeds", "verdict",
    "higher_run", "lower_run",
)  # fmt: skip

STEPS = (("rectified", "query"), ("distilled", "rectified"))
"""The steps of the method: a role, and the one that it improves on."""


def main(job: Job) -> None:
    """Write a Markdown file of each table, tables.csv, verdicts.csv, check.json and check.md.

    The figure of class and space preference has its numbers beside it.
    """
    settings, jobs = job.settings, defaultdict(list)
    for evaluation in job.inputs.values():
        jobs[evaluation.id].append(evaluation)
    found = {run: measure(evaluations) for run, evaluations in jobs.items()}
    rows, ordered, asked = [], [], []
    for name, table in settings["tables"].items():
        cells = results_table.cells(table, found)
        content = results_table.content(
            name, table.title, cells, settings["datasets"], settings["experiment"]
        )
        if settings["weights"][name]:
            content["notes"].append(" ".join(settings["weights"][name]))
        content["notes"] += results_table.doubts(cells, jobs)
        results_table.write(job.folder / f"{name}.md", content)
        rows += results_table.tidy(name, cells)
        ordered += results_table.ordered(name, cells, settings["datasets"])
        asked += results_table.asked(name, cells, settings["datasets"])
    pairs, gains = verdicts.pairs(ordered), steps(settings["steps"], found)
    text = (tuple(row[name] for name in TABLE_COLUMNS) for row in rows)
    write_table(job.folder / "tables.csv", TABLE_COLUMNS, text)
    write_table(job.folder / "verdicts.csv", VERDICT_COLUMNS, map(verdict_row, [*pairs, *asked]))
    write_text(
        job.folder / "check.md",
        fill(
            Path(__file__).with_suffix(".md.j2"),
            pairs=pairs,
            asked=asked,
            gains=gains,
            seeds=settings["seeds"],
            verdicts=verdicts,
        ),
    )
    facts = {
        "job": job.digest,
        "seeds": settings["seeds"],
        "pairs": verdicts.counts(pairs),
        **({"asked": verdicts.counts(asked)} if asked else {}),
        "steps": {
            dataset: {step: facts_of(gain) for step, gain in of.items()}
            for dataset, of in gains.items()
        },
    }
    write_json(job.folder / CHECK_FACTS, facts)
    preferences = [
        preferences_of(dataset, role, run, jobs[run])
        for dataset, runs in settings["biased"].items()
        for role, run in runs.items()
    ]
    preference.write(job.folder, preferences)
    with style.applied():
        style.save(preference.draw(preferences), job.folder / preference.FIGURE)
    finish(job, list(job.outputs))


def measure(evaluations: list[Job]) -> Found:
    """Return what the evaluations of a run's seeds say."""
    scores = [read_json(one.folder / SCORES_FILE) for one in evaluations]
    values = {one["seed"]: one["miou"] for one in scores}
    return Found(values, results_table.protocol(scores[0]))


def preferences_of(dataset: str, role: str, run: str, evaluations: list[Job]) -> Preference:
    """Return the class and space preference of a run's seeds."""
    confusion, rings = (
        np.stack([np.load(one.folder / file) for one in evaluations])
        for file in (CONFUSION_FILE, RINGS_FILE)
    )
    names = read_json(evaluations[0].folder / SCORES_FILE)["classes"]
    return preference.measure(dataset, role, run, confusion, rings, names)


def steps(
    runs: dict[str, dict[str, str]], found: dict[str, Found]
) -> dict[str, dict[str, Difference]]:
    """Return the gain of each step of the method on each dataset that has both of its runs.

    runs: by dataset and role.
    """
    gains: dict[str, dict[str, Difference]] = {}
    for dataset, of in runs.items():
        for better, base in STEPS:
            if better in of and base in of:
                gain = verdicts.difference(found[of[better]].values, found[of[base]].values)
                gains.setdefault(dataset, {})[f"{better} - {base}"] = gain
    return gains


def facts_of(gain: Difference) -> dict[str, object]:
    return {"values": gain.values, "mean": gain.mean, "low": gain.low, "high": gain.high}


def verdict_row(pair: Pair) -> tuple:
    """Return a row of verdicts.csv; numbers that there are not are empty."""
    found = pair.found
    numbers = [f"{v:.2f}" if v is not None else "" for v in (found.mean, found.low, found.high)]
    published = (pair.higher.paper, pair.lower.paper)
    paper = "" if None in published else f"{published[0] - published[1]:.1f}"
    return (
        pair.dataset, pair.higher.row, pair.lower.row, " ".join(pair.tables),
        paper, *numbers, len(found.values), pair.verdict,
        pair.higher.run, pair.lower.run,
    )  # fmt: skip
