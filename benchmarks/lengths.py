"""How long must a training of `mini` be? The loss on held-out photos, without labels.

    python benchmarks/lengths.py rectify 12 24 48
    python benchmarks/lengths.py distill 6 12 24 --datasets voc

Trains runs of the committed settings with several numbers of epochs, on scenes of other seeds than
the benchmark's. Prints each run's held-out loss at its end, and what twice the epochs would still
lower it by: points of the loss, and the share of the whole fall. Only training stages run, so no
label is read. Results are in results/lengths/.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

DEVELOPMENT_SEED = 7
SETTINGS = Path("results/lengths/params.yaml")


def settings(stage: str, epochs: list[int], datasets: list[str]) -> dict:
    """Return the committed settings with each run of `stage` once for each number of epochs."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    runs = {run: own for run, own in params["runs"].items() if own["dataset"] in datasets}
    tried = {
        f"{run}-{number}": {**own, stage: {**own.get(stage, {}), "epochs": number}}
        for run, own in runs.items()
        if own["method"] == stage
        for number in epochs
    }
    for name in datasets:
        params["datasets"][name]["source"]["seed"] = DEVELOPMENT_SEED
    kept = {name: own for name, own in params["datasets"].items() if name in datasets}
    params |= {"experiment": "lengths", "datasets": kept, "runs": runs | tried, "tables": {}}
    params["tracking"] = {"enabled": False}
    params.pop("check", None)
    return params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["rectify", "distill"])
    parser.add_argument("epochs", type=int, nargs="+")
    parser.add_argument("--datasets", nargs="+", default=["voc", "context", "ade"])
    parser.add_argument("--runs", nargs="+", help="only these")
    given = parser.parse_args()
    params = settings(given.stage, sorted(given.epochs), given.datasets)
    SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    rows = [
        run
        for run, own in params["runs"].items()
        if own["method"] == given.stage
        and f"{run}-{given.epochs[0]}" in params["runs"]
        and (not given.runs or run in given.runs)
    ]
    places = {
        (run, number): SETTINGS.parent / f"runs/{run}-{number}/{given.stage}/seed-0"
        for run in rows
        for number in sorted(given.epochs)
    }
    subprocess.run(
        ["snakemake", "--quiet", "--config", f"params={SETTINGS}", "--"]
        + [str(place / "receipt.json") for place in places.values()],
        check=True,
        stdout=sys.stderr,
    )
    print(
        "| run | epochs | loss before | loss at the end | twice as long: lower by | of the fall |"
    )
    print("|---|---|---|---|---|---|")
    for (run, number), place in places.items():
        start, end = _ends(place)
        line = f"| {run} | {number} | {start:.3f} | {end:.3f} |"
        if (twice := places.get((run, 2 * number))) is not None:
            gain = end - _ends(twice)[1]
            line += f" {gain:.4f} | {gain / (start - end):.0%} |"
        else:
            line += " | |"
        print(line)


def _ends(place: Path) -> tuple[float, float]:
    """Return the held-out loss before the training, and the mean of its last two epochs."""
    loss = np.genfromtxt(place / "held-out.csv", delimiter=",", names=True)["loss"]
    return float(loss[0]), float(loss[-2:].mean())


if __name__ == "__main__":
    main()
