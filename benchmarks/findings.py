"""What docs/findings.md discusses: variants of rectification, and where masks go wrong by place.

    python benchmarks/findings.py          # a table; trains for five minutes on two cores
    python benchmarks/findings.py --edge   # a figure, from the results of `snakemake mini_check`
    python benchmarks/findings.py --parts  # what Reference and position add, from the same results

The table makes the experiment `findings`: the committed settings on `mini`'s VOC, with runs that
the paper's tables do not have, over five seeds. For each it prints the held-out loss (no labels),
mIoU and the total variation of class shares with 95% intervals, and how the trainings went.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mini
import numpy as np

from reclip.common.files import read_json
from reclip.evaluate.preference import total_variation
from reclip.evaluate.statistics import summarise
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan

FIGURE = Path("docs/images/findings-edge.png")
SEEDS = [0, 1, 2, 3, 4]
MEASURED = {
    "Query": "voc-query",
    "+ Reference": "voc-ref",
    "+ Reference, learnable Query": "voc-learnq-ref",
    "+ Reference + PE": "voc-ref-pe",
}
"""Runs of the check, for comparison."""

VARIANTS: dict[str, dict[str, Any]] = {
    "+ Reference + PE, a sixth of the epochs": {"epochs": 12},
    "+ Reference + PE, pooled over the mask": {"pool_over": "mask"},
    "+ Reference + PE, batch 1": {"batch": 1, "epochs": 5},
    "+ Reference + PE, batch 1, a twentieth of the rate": {"batch": 1, "epochs": 5, "lr": 0.0005},
}
"""Overrides of `rectify`."""


def write_settings() -> Path:
    """Write the committed settings with the variants as the only runs."""
    runs = {
        f"variant-{number}": {
            "dataset": "voc", "method": "rectify", "rectify": changes, "seeds": SEEDS
        }
        for number, changes in enumerate(VARIANTS.values())
    }  # fmt: skip
    voc = mini.committed()["datasets"]["voc"]
    return mini.write_experiment("findings", {"voc": voc}, runs)


METHODS = {
    "Query": ("query", "#777777"),
    "+ Reference": ("ref", "#0072b2"),
    "+ Reference + PE": ("ref-pe", "#d55e00"),
    "distilled": ("distill", "#009e73"),
}
"""Runs whose masks the figure compares, and their colours."""


def draw_edge(path: Path) -> None:
    """Draw, by distance from the centre, how far predicted class shares are off; a panel a dataset.

    Bands are 95% intervals over the check's seeds.
    """
    from matplotlib.figure import Figure

    plan = Plan.load()
    figure = Figure(figsize=(9, 3), layout="constrained", dpi=150)
    axes = figure.subplots(1, len(plan.params.datasets), sharey=True)
    for ax, dataset in zip(axes, plan.params.datasets, strict=True):
        for label, (run, colour) in METHODS.items():
            jobs = mini.evaluations(plan, f"{dataset}-{run}")
            rings = np.stack([np.load(job.folder / "rings.npy") for job in jobs])
            shares = rings / rings.sum(axis=-1, keepdims=True)
            off = 50 * np.abs(shares[:, :, 1] - shares[:, :, 2]).sum(axis=-1)  # (seeds, rings)
            found = [summarise(list(ring)) for ring in off.T]
            place = (np.arange(len(found)) + 0.5) / len(found)
            ax.plot(place, [f["mean"] for f in found], color=colour, label=label, lw=1.8)
            if found[0]["low"] is not None:
                ends = ([f[key] for f in found] for key in ("low", "high"))
                ax.fill_between(place, *ends, color=colour, alpha=0.15, lw=0)
        ax.set(title=dataset, xlabel="distance from the centre", xlim=(0, 1), ylim=(0, None))
        ax.set_xticks((0, 0.5, 1), ("centre", "½", "corner"))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("predicted class shares\nare off by … %")
    axes[-1].legend(frameon=False, fontsize=8)
    figure.savefig(path)


def print_parts() -> None:
    """Print the mIoU of Reference + PE with its position whole, averaged over places, and left out.

    The position is changed after the training, so the rows show what each part has learned.
    """
    import torch

    from reclip.clip.feature_cache import FeatureCache
    from reclip.config.models import EvaluateSettings
    from reclip.data.images import read_label
    from reclip.data.index import DataSet
    from reclip.evaluate.counts import Counts
    from reclip.evaluate.metrics import miou
    from reclip.rectify.model import Rectifier
    from reclip.rectify.predict import predict_from_features

    class Averaged(Rectifier):
        """The positional logits of each class are the mean over all places."""

        def positional_logits(self, grid):
            found = super().positional_logits(grid)
            return found.mean(dim=(0, 1), keepdim=True).expand_as(found)

    class Absent(Rectifier):
        """There are no positional logits."""

        def positional_logits(self, grid):
            return None

    kinds = {"whole": Rectifier, "averaged over places": Averaged, "left out": Absent}
    plan = Plan.load()
    print("| dataset | position | mIoU |")
    print("| --- | --- | ---: |")
    for dataset in plan.params.datasets:
        run = f"{dataset}-ref-pe"
        jobs = mini.evaluations(plan, run)
        data = DataSet(jobs[0].inputs["data"].folder)
        features = FeatureCache(jobs[0].inputs["features"].folder)
        items = data.items("val")
        labels = [read_label(item.label) for item in items]
        for name, kind in kinds.items():
            values = []
            for job in jobs:
                model = kind.load(job.inputs["model"].folder / "weights.safetensors")
                counts = Counts(data.num_classes)
                for i, (item, label) in enumerate(zip(items, labels, strict=True)):
                    with torch.inference_mode():
                        found = predict_from_features(
                            model, features, "val", i, item, EvaluateSettings()
                        )
                    counts.update(found, label)
                values.append(100 * miou(counts.confusion))
            print(f"| {dataset} | {name} | {mini.mean(values, 1)} |", flush=True)


def main() -> None:
    if sys.argv[1:] == ["--parts"]:
        print_parts()
        return
    if sys.argv[1:] == ["--edge"]:
        draw_edge(FIGURE)
        return
    settings = write_settings()
    plan, checked = Plan.load(settings), Plan.load()
    rows = {name: mini.evaluations(checked, run) for name, run in MEASURED.items()}
    runs = zip(VARIANTS, plan.params.runs, strict=True)
    variants = {name: mini.evaluations(plan, run) for name, run in runs}
    mini.make(settings, (job.receipt for jobs in variants.values() for job in jobs))
    print("| rectification | loss on held-out photos | mIoU | total variation | trainings |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name, jobs in (rows | variants).items():
        print(f"| {name} | {' | '.join(_cells(jobs))} |")


def _cells(jobs: list[Job]) -> list[str]:
    """Return held-out loss, mIoU and total variation of a run's seeds, and how they trained."""
    shares = [float(total_variation(np.load(job.folder / "confusion.npy"))) for job in jobs]
    trained = [job.inputs["model"] for job in jobs]
    files = [one.folder / "held-out.csv" for one in trained]
    losses = [np.genfromtxt(f, delimiter=",", names=True)["loss"][-1] for f in files if f.is_file()]
    healths = [read_json(one.receipt).get("health") for one in trained]
    verdicts = ["healthy" if h["verdict"] == "healthy" else "diverged" for h in healths if h]
    said = ", ".join(f"{verdicts.count(v)} {v}" for v in ("healthy", "diverged") if v in verdicts)
    return [
        mini.mean(losses, 3) if losses else "",
        mini.mean([read_json(job.folder / "scores.json")["miou"] for job in jobs], 1),
        mini.mean(shares, 1),
        said,
    ]


if __name__ == "__main__":
    main()
