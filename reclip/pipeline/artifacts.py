"""Names of the files that one stage writes and another reads."""

from __future__ import annotations

from pathlib import Path

QUERY_FILE = "query.safetensors"
"""Weights of the unrectified CLIP, written by `embed-text`."""


def seed_file(folder: Path, seed: int) -> Path:
    """Return the weights file of one seed."""
    return folder / f"seed-{seed}.safetensors"


def curve_file(folder: Path, seed: int) -> Path:
    """Return the training curve of one seed: step, epoch, learning rate and losses."""
    return folder / f"seed-{seed}-curve.csv"


def teacher_file(folder: Path, seed: int | None) -> Path:
    """Return the weights file of a teacher: of one seed, or of the unrectified CLIP (None)."""
    return folder / QUERY_FILE if seed is None else seed_file(folder, seed)


def mask_folder(folder: Path, seed: int | None) -> Path:
    """Return the folder of a teacher's masks: of one seed, or of the unrectified CLIP (None)."""
    return folder / ("query" if seed is None else f"seed-{seed}")
