"""Files that a person keeps among results, drawn at random; some have names near ours."""

from __future__ import annotations

import random
from pathlib import Path

NEAR_OURS = (
    "receipt.json~", "receipt (copy).json", "my.receipt.json.txt", "made.json", ".made.json.bak",
    "weights.safetensors.bak", "curve (1).csv", ".weights.checkpoint.old", "seed-99/curve.csv",
    ".train.4194305.partial.npy", "train.npy.bak", "metrics.json.orig", "unrecorded.txt",
    "mine.onnx", "NOTES.txt", ".gitkeep", "notes/2024 ideas.txt", "ä ö (1).png", "rectify.json",
)  # fmt: skip
"""Also a partial file as another program, or an earlier version of this one, would name it."""


def scatter(results: Path, rng: random.Random) -> dict[Path, bytes]:
    """Put a few files into every folder of the results; return each with its content."""
    placed: dict[Path, bytes] = {}
    folders = [results, *sorted(p for p in results.rglob("*") if p.is_dir())]
    for folder in folders:
        drawn = "".join(rng.choices("abcxyz019._- ", k=rng.randint(1, 12))).strip() + "x"
        for name in (drawn, f"{drawn}/{drawn}.json", *rng.sample(NEAR_OURS, 3)):
            path = folder / name
            if path.exists() or not (path.parent.is_dir() or not path.parent.exists()):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            placed[path] = rng.randbytes(rng.randint(0, 40))
            path.write_bytes(placed[path])
    return placed


def lost(placed: dict[Path, bytes]) -> list[Path]:
    """Return the placed files that are missing or have another content."""
    return [p for p, content in placed.items() if not p.is_file() or p.read_bytes() != content]
