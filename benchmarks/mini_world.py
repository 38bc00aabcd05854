"""Which biases does an untouched mini-clip show? The log that the drawn world was chosen by.

    python benchmarks/mini_world.py            # the packaged mini-clip, half a minute
    python benchmarks/mini_world.py --train    # all candidates, six minutes each, on one core each

Trains mini-clip with other planted biases, and measures each on scenes of another seed than the
benchmark's. Nothing is rectified or distilled here: the choice cannot favour a row of a table.
docs/mini-world.md has the printed table and the criteria.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import mini
import numpy as np
import torch
from torch.nn import functional as F

from reclip.clip.dense import dense_features
from reclip.clip.load import load_clip
from reclip.clip.pretrain import PretrainSettings, pretrain
from reclip.clip.prompts import templates
from reclip.clip.text import query_embeddings
from reclip.config.models import ClipSettings
from reclip.data.resize_maps import resize
from reclip.data.world.bias import PlantedBias
from reclip.data.world.scenes import WORLDS
from reclip.evaluate import preference
from reclip.evaluate.counts import Counts
from reclip.evaluate.metrics import miou
from reclip.rectify.hypotheses import hypothesise

SEED, SCENES, RINGS = 7, 200, 8
THRESHOLDS = {"voc": 45.0, "context": 50.0, "ade": 50.0}
FALLBACK_K = 2

CHOSEN = PlantedBias()
_PLAIN = replace(CHOSEN, unnamed=0.0, framed=0.0)
CANDIDATES = {
    "until 0.1": replace(_PLAIN, central=0.85, spread=0.1, companion=0.9),
    "all in the middle": replace(_PLAIN, companion=0.0),
    "and companions": replace(_PLAIN, companion=0.5),
    "framed": replace(CHOSEN, unnamed=0.0, middle=0.6),
    "framed 0.7": replace(CHOSEN, unnamed=0.0, framed=0.7),
    "framed, unnamed, smaller": replace(CHOSEN, middle=0.6),
    "framed 0.5, unnamed 3": replace(CHOSEN, framed=0.5, unnamed=3.0, middle=0.6),
    "framed 0.8, unnamed 1.5": replace(CHOSEN, framed=0.8, unnamed=1.5),
    "chosen": CHOSEN,
}
"""Planted biases that were tried, in this order."""


@torch.inference_mode()
def examine(checkpoint: Path | None) -> list[str]:
    """Return a row of the table for each dataset, by the Query of a mini-clip."""
    named = None if checkpoint is None else str(checkpoint)
    spec = ClipSettings(model="mini-clip", checkpoint=named, residual=False, mlp=False)
    clip, rows = load_clip(spec), []
    for name, world in WORLDS.items():
        names = [[text] for text in world.class_names]
        query = query_embeddings(clip, names, templates("single"))
        counts = Counts(len(names), RINGS)
        scores, present = [], []
        for image, label in mini.scenes(world, "val", SEED, SCENES, clip.patch_size):
            z, vector = dense_features(clip, image, residual=False, mlp=False, with_global=True)
            logits = resize((z @ query.T).permute(0, 3, 1, 2), image.shape[-2:])[0]
            predicted = logits[:, : label.shape[0], : label.shape[1]].argmax(0)
            counts.update(predicted, label)
            scores.append(100 * F.normalize(vector, dim=-1)[0] @ query.T)
            present.append(torch.from_numpy(np.isin(np.arange(len(names)), label)))
        found, true = (
            hypothesise(torch.stack(scores), THRESHOLDS[name], FALLBACK_K),
            torch.stack(present),
        )
        right = int((found & true).sum())
        values = (
            100 * miou(counts.confusion),
            float(preference.drop(counts.rings)),
            float(preference.total_variation(counts.confusion)),
            float(preference.asymmetry(counts.confusion)),
            100 * right / int(found.sum()),
            100 * right / int(true.sum()),
        )
        rows.append(f"{name} | " + " | ".join(f"{value:.1f}" for value in values))
    return rows


def train(name: str, folder: Path) -> Path:
    """Train a candidate, or take the one that is there; return its weights."""
    place = folder / name.replace(" ", "-").replace(",", "")
    weights = place / "mini-clip.safetensors"
    if not weights.is_file():
        place.mkdir(parents=True, exist_ok=True)
        pretrain(PretrainSettings(bias=CANDIDATES[name]), place, seed=0, threads=1)
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", help="train every candidate first")
    parser.add_argument("--folder", type=Path, default=Path("results/mini-world"))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    weights: dict[str, Path | None] = {"chosen": None}
    if given.train:
        with ProcessPoolExecutor(given.jobs) as pool:
            trained = pool.map(train, CANDIDATES, [given.folder] * len(CANDIDATES))
            weights = dict(zip(CANDIDATES, trained, strict=True))
    print("| world | set | mIoU | drop | total variation | asymmetry | precision | recall |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, path in weights.items():
        for row in examine(path):
            print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
