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
from pathlib import Path

import mini
import numpy as np

from reclip.pipeline.plan import Plan

DEVELOPMENT_SEED = 7


def write_settings(stage: str, epochs: list[int], datasets: list[str]) -> Path:
    """Write the committed settings with each run of `stage` once for each number of epochs."""
    params = mini.committed()
    runs = {run: own for run, own in params["runs"].items() if own["dataset"] in datasets}
    tried = {
        f"{run}-{number}": {**own, stage: {**own.get(stage, {}), "epochs": number}}
        for run, own in runs.items()
        if own["method"] == stage
        for number in epochs
    }
    kept = {name: params["datasets"][name] for name in datasets}
    for own in kept.values():
        own["source"]["seed"] = DEVELOPMENT_SEED
    return mini.write_experiment("lengths", kept, runs | tried)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["rectify", "distill"])
    parser.add_argument("epochs", type=int, nargs="+")
    parser.add_argument("--datasets", nargs="+", default=["voc", "context", "ade"])
    parser.add_argument("--runs", nargs="+", help="only these")
    given = parser.parse_args()
    settings = write_settings(given.stage, sorted(given.epochs), given.datasets)
    runs = Plan.load(settings).params.runs
    rows = [
        run
        for run, own in runs.items()
        if own.method == given.stage
        and f"{run}-{given.epochs[0]}" in runs
        and (not given.runs or run in given.runs)
    ]
    places = {
        (run, number): settings.parent / f"runs/{run}-{number}/{given.stage}/seed-0"
        for run in rows
        for number in sorted(given.epochs)
    }
    mini.make(settings, (place / "receipt.json" for place in places.values()))
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
