"""Output folders of `reclip predict` made of given masks, and what other programs read of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from reclip.common.files import file_sha256, write_json
from reclip.config.models import ImageSettings
from reclip.data.images import palette, write_label
from reclip.inference.model_info import INFO, ModelInfo
from reclip.inference.records import Record, write_record
from support.paths import ROOT, TESTS

READERS = ROOT / ".venv-readers"
Masks = dict[tuple[str, str], tuple[int, np.ndarray]]
"""Item and label: number of annotations, and their union, bool (H, W)."""


def model_info(names: tuple[str, ...], colours: tuple[tuple[int, int, int], ...] = ()) -> ModelInfo:
    flat = palette(len(names))
    colours = colours or tuple(tuple(flat[3 * k : 3 * k + 3]) for k in range(len(names)))
    return ModelInfo(
        format="reclip-model-1", kind="student", classes=tuple((name,) for name in names),
        palette=colours, image=ImageSettings(short_side=None), norm="imagenet", mean=(0, 0, 0),
        std=(1, 1, 1), stride=8, logit_scale=1, denoising={}, clip=None, sources=(),
        run="distilled", experiment="made", seed=0, sha256="0" * 64, digest="0" * 64,
    )  # fmt: skip


def made(out: Path, info: ModelInfo, masks: Mapping[str, np.ndarray]) -> Path:
    """Make an output folder with masks (H, W) of photos `/photos/KEY`, which do not exist."""
    write_json(out / INFO, info.model_dump(mode="json"))
    count = len(info.classes)
    for number, (photo, mask) in enumerate(masks.items()):
        file = out / f"masks/{number}.png"
        write_label(file, mask, count)
        write_record(out, Record(
            photo=f"/photos/{photo}", photo_sha256="0" * 64, name=f"{number}",
            plain_name=f"{number}",
            height=mask.shape[0], width=mask.shape[1], mask=f"masks/{number}.png",
            mask_sha256=file_sha256(file), overlay=f"overlays/{number}.jpg",
            overlay_sha256="",
            pixels=np.bincount(mask.ravel(), minlength=count), confidence=0.5, entropy=0.5,
            probabilities=(1 / count,) * count,
        ))  # fmt: skip
    return out


def read_back(folder: Path, written: Mapping[Path, str]) -> dict[Path, Masks]:
    """Return what datumaro and Label Studio's converter read. written: paths and formats."""
    python, output = READERS / "bin/python", folder / "read-back.npz"
    if not python.is_file():
        pytest.skip(
            "no datumaro and Label Studio here: they need other versions of our packages, so `make "
            "readers`, which `make test` runs, puts them into an environment of their own"
        )
    script = TESTS / "readers/read_back.py"
    arguments = [f"{format}={path}" for path, format in written.items()]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, script, output, *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[Path, Masks] = {path: {} for path in written}
    with np.load(output) as arrays:
        for number, (path, item, label, count) in enumerate(json.loads(str(arrays["index"]))):
            found[Path(path)][item, label] = count, arrays[f"mask-{number}"]
    return found
