"""Names of the files that one stage writes and another reads."""

from __future__ import annotations

WEIGHTS_FILE = "weights.safetensors"
"""Weights of a trained seed; in the folder of `embed-text`, of the unrectified CLIP."""

CURVE_FILE = "curve.csv"
"""Training curve of a seed: step, epoch, learning rate and losses."""

HELD_OUT_FILE = "held-out.csv"
"""Losses on held-out photos: epoch (0: before the training) and losses."""

SCORES_FILE = "scores.json"
CONFUSION_FILE = "confusion.npy"
DISTANCE_FILE = "distance.csv"
RINGS_FILE = "rings.npy"
"""Results of an evaluation: of one seed, and joined over the seeds of a run."""

DISTANCE_COLUMNS = ("from", "to", "objects", "miou")
"""Of DISTANCE_FILE; joined over the seeds, with a column `seed` before them."""

CHECK_FACTS = "check.json"
"""The verdicts of a check in numbers, with the digest of its job."""
