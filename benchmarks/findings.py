"""Variants of rectification that the paper's tables do not have, over five seeds, on `mini`'s VOC.

    python benchmarks/findings.py

Makes the experiment `findings` of the committed settings with a few more runs: other lengths, batch
1, and pooling over the mask. Prints for each its held-out loss (no labels) and its mIoU, with 95%
intervals, and how its training went. docs/findings.md discusses them. Takes some minutes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from reclip.common.files import read_json
from reclip.evaluate.statistics import summarise
from reclip.pipeline.plan import Plan

SETTINGS = Path("results/findings/params.yaml")
SEEDS = [0, 1, 2, 3, 4]
VARIANTS: dict[str, dict[str, Any]] = {
    "Reference + PE": {},
    "a sixth of the epochs": {"epochs": 12},
    "twice the epochs": {"epochs": 144},
    "batch 1, the same rate": {"batch": 1, "epochs": 5},
    "batch 1, a twentieth of the rate": {"batch": 1, "epochs": 5, "lr": 0.0005},
    "Reference alone, batch 1": {"positional": False, "batch": 1, "epochs": 5},
    "pooled over the mask": {"pool_over": "mask"},
}


def settings() -> dict[str, Any]:
    """Return the committed settings with the variants as the only runs."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    runs = {"query": {"dataset": "voc", "method": "query"}}
    for number, changes in enumerate(VARIANTS.values()):
        run = {"dataset": "voc", "method": "rectify", "rectify": changes, "seeds": SEEDS}
        runs[f"variant-{number}"] = run
    params |= {"experiment": "findings", "runs": runs, "tables": {}}
    params["datasets"] = {"voc": params["datasets"]["voc"]}
    params["tracking"] = {"enabled": False}
    params.pop("check", None)
    return params


def main() -> None:
    SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.write_text(yaml.safe_dump(settings(), sort_keys=False), encoding="utf-8")
    plan = Plan.load(SETTINGS)
    jobs = [plan.job("gather", run) for run in plan.params.runs]
    targets = [str(job.receipt) for job in jobs]
    command = ["snakemake", "--quiet", "--config", f"params={SETTINGS}", "--", *targets]
    subprocess.run(command, check=True, stdout=sys.stderr)
    print("| rectification | loss on held-out photos | mIoU | total variation | trainings |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name, job in zip(["Query", *VARIANTS], jobs, strict=True):
        print(f"| {name} | {' | '.join(_cells(job))} |")


def _cells(job: Any) -> list[str]:
    """Return held-out loss, mIoU and total variation of a run's seeds, and how they trained."""
    from reclip.evaluate.preference import total_variation

    seeds = read_json(job.outputs[0])["seeds"]
    shares = total_variation(np.load(job.folder / "confusion.npy"))
    trained = [one.inputs["model"] for one in job.inputs.values()]
    files = [one.folder / "held-out.csv" for one in trained]
    losses = [np.genfromtxt(f, delimiter=",", names=True)["loss"][-1] for f in files if f.is_file()]
    healths = [read_json(one.receipt).get("health") for one in trained]
    verdicts = ["healthy" if h["verdict"] == "healthy" else "diverged" for h in healths if h]
    said = ", ".join(f"{verdicts.count(v)} {v}" for v in ("healthy", "diverged") if v in verdicts)
    return [
        _mean(losses, 3) if losses else "",
        _mean([seed["miou"] for seed in seeds], 1),
        _mean(list(shares), 1),
        said,
    ]


def _mean(values: list[float], digits: int) -> str:
    found = summarise(values)
    text = f"{found['mean']:.{digits}f}"
    if found["low"] is None:
        return text
    return f"{text} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"


if __name__ == "__main__":
    main()
