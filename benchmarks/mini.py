"""What the benchmarks on `mini` share: its settings with other runs, Snakemake, means, scenes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch import Tensor

from reclip.data.views import normalise, pad_to
from reclip.data.world.scenes import World, draw_scene, scene_rng, scene_size
from reclip.evaluate.statistics import summarise
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan


def committed() -> dict[str, Any]:
    """Return the committed settings, as params.yaml holds them."""
    return yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))


def write_experiment(
    experiment: str, datasets: dict[str, Any], runs: dict[str, Any], **sections: Any
) -> Path:
    """Write the committed settings with other datasets and runs, and return the file.

    It is results/<experiment>/params.yaml. There are no tables, no check, and nothing in MLflow.
    sections: others that replace the committed ones.
    """
    params = committed() | {"experiment": experiment, "datasets": datasets, "runs": runs}
    params |= sections
    params |= {"tables": {}, "tracking": {"enabled": False}}
    params.pop("check", None)
    path = Path(f"results/{experiment}/params.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return path


def make(settings: Path, targets: Iterable[Path]) -> None:
    """Make results with Snakemake; what it prints goes to the standard error."""
    command = ["snakemake", "--quiet", "--config", f"params={settings}", "--", *map(str, targets)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def evaluations(plan: Plan, run: str) -> list[Job]:
    """Return the evaluations of a run, of the check's seeds if there is a check."""
    return [plan.job("evaluate", run, seed) for seed in plan.seeds("evaluate", run)]


def mean(values: Sequence[float], digits: int, sign: str = "") -> str:
    """Return the mean in words, with its 95% interval if there are several values.

    sign: "+" writes the sign of a positive mean.
    """
    found = summarise(list(values))
    text = f"{found['mean']:{sign}.{digits}f}"
    if found["low"] is None:
        return text
    return f"{text} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"


def scenes(
    world: World, split: str, seed: int, count: int, patch: int
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yield drawn scenes: the image (1, 3, H, W) for mini-clip, and the label map.

    The image is padded to whole patches.
    """
    for i in range(count):
        rng = scene_rng(seed, split, i)
        photo, label = draw_scene(world, rng, scene_size(rng))
        whole = [-(-side // patch) * patch for side in label.shape]
        yield pad_to(normalise(photo, "clip"), *whole)[None], label
