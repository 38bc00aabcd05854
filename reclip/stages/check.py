"""Stage `check`: is rectified CLIP better than CLIP, and a distilled student better than both?"""

from __future__ import annotations

from reclip.common.files import read_json, write_json, write_text
from reclip.evaluate.statistics import summarise
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish


def main(job: Job) -> None:
    """Write check.json and check.md: the differences, seed by seed, with 95% intervals.

    A single seed has no interval. Then the check does not say whether the difference is real.
    """
    scores = {}
    for role, run in job.settings["check"].model_dump().items():
        metrics = read_json(job.inputs[run].outputs[0])
        scores[role] = {r["seed"]: r["miou"] for r in metrics["seeds"]}
    query, rectified = scores["query"][None], scores["rectified"]
    gains = {
        "rectified - query": [v - query for v in rectified.values()],
        "distilled - rectified": [v - rectified[seed] for seed, v in scores["distilled"].items()],
    }
    text = "| difference (mIoU points) | seeds | mean | 95% interval | above 0 |\n"
    text += "|---|---|---|---|---|\n"
    results = {}
    for name, values in gains.items():
        found = summarise(values)
        low, high = found["low"], found["high"]
        results[name] = {"values": values, "mean": found["mean"], "low": low, "high": high}
        interval, above = "–", "unknown: one seed"
        if low is not None:
            interval, above = f"{low:.2f} to {high:.2f}", "yes" if low > 0 else "no"
        text += f"| {name} | {found['n']} | {found['mean']:.2f} | {interval} | {above} |\n"
    write_json(job.folder / "check.json", results)
    write_text(job.outputs[0], text)
    finish(job, [job.folder / "check.json", *job.outputs])
