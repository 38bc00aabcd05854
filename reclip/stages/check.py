"""Stage `check`: does rectification beat the untouched CLIP, and distillation rectification?"""

from __future__ import annotations

from reclip.common.files import read_json, write_json, write_text
from reclip.evaluate.metrics import summarise
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish


def main(job: Job) -> None:
    """Write check.json and check.md: the differences, seed by seed, with 95% intervals.

    A single seed has no interval, and then nothing is said of whether the difference is real.
    """
    check = job.settings["check"]
    scores = {}
    for role, run in check.model_dump().items():
        metrics = read_json(job.inputs[run].outputs[0])
        scores[role] = {r["seed"]: r["miou"] for r in metrics["seeds"]}
    query = scores["query"][None]
    gains = {
        "rectified - query": [v - query for v in scores["rectified"].values()],
        "distilled - rectified": [
            v - scores["rectified"][seed] for seed, v in scores["distilled"].items()
        ],
    }
    lines = [
        "| difference (mIoU points) | seeds | mean | 95% interval | above 0 |",
        "|---|---|---|---|---|",
    ]
    results = {}
    for name, values in gains.items():
        summary = summarise(values)
        results[name] = {
            "values": values,
            "mean": summary.mean,
            "low": summary.low,
            "high": summary.high,
        }
        if summary.low is None:
            interval, above = "–", "unknown: one seed"
        else:
            interval = f"{summary.low:.2f} to {summary.high:.2f}"
            above = "yes" if summary.low > 0 else "no"
        lines.append(f"| {name} | {len(values)} | {summary.mean:.2f} | {interval} | {above} |")
    write_json(job.folder / "check.json", results)
    write_text(job.outputs[0], "\n".join(lines) + "\n")
    finish(job, [job.folder / "check.json", *job.outputs])
