"""Own photos from `reclip init` to a model, in two versions of the code: seconds by stage, ratio.

    python benchmarks/own_photos.py 711bbd8 HEAD [--photos 100] [--shares 0.05 0.15]

Draws photos of 500×375 pixels and writes ViT-B/16 with seeded weights. Each version runs
`reclip init folder` and then `snakemake`, side by side with one core each, so that both meet the
same machine. The later version gets the sizes that the earlier one chose, so both train as much;
what `init` chose else, such as the precision, is its own. Seeded weights make meaningless masks:
quality is measured on drawn scenes (`make smoke-photos`).

With two shares, each version trains twice: a twentieth and then three twentieths of the steps of
each training, say. The whole is on the line through both, because steps take the same time.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from versions import clone

from reclip.clip.architecture import architecture
from reclip.common.files import read_json
from reclip.config.load import VARIABLES
from reclip.config.models import ClipSettings
from reclip.data.world.scenes import WORLDS, draw_scene, scene_rng

SIZE = (375, 500)
CLASSES = 10
TRAININGS = ("rectify", "distill")


class Version(NamedTuple):
    """A clone of the repository, and its settings file there."""

    commit: str
    folder: Path

    def run(self, *command: str) -> None:
        """Run a module of Python in the clone. Raises CalledProcessError: it failed."""
        kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        with open(self.folder / "said.txt", "a", encoding="utf-8") as said:
            subprocess.run(
                [sys.executable, "-m", *command],
                cwd=self.folder,
                env={**kept, "PYTHONPATH": str(self.folder)},
                stdout=said,
                stderr=subprocess.STDOUT,
                check=True,
            )

    @property
    def settings(self) -> Path:
        return self.folder / "own.yaml"


def write_inputs(folder: Path, photos: int) -> None:
    """Write drawn photos as JPEG files, and ViT-B/16 with seeded weights."""
    (folder / "photos").mkdir()
    for i in range(photos):
        image, _ = draw_scene(WORLDS["voc"], scene_rng(7, "own", i), (72, 96))
        photo = Image.fromarray(image).resize(SIZE[::-1], Image.Resampling.BICUBIC)
        photo.save(folder / "photos" / f"{i:05d}.jpg", quality=95)
    from open_clip.model import CLIP

    torch.manual_seed(0)
    model = CLIP(**architecture(ClipSettings(model="ViT-B-16-quickgelu"), (), None).config)
    state = {name: t.half().contiguous() for name, t in model.state_dict().items()}
    save_file(state, folder / "clip.safetensors")


def init(version: Version, inputs: Path) -> dict[str, Any]:
    """Run `reclip init folder` in a clone; return the settings that it wrote."""
    names = ", ".join(WORLDS["voc"].class_names[:CLASSES])
    version.run(
        "reclip", "init", "folder", "--images", str(inputs / "photos"), "--classes", names,
        "--checkpoint", str(inputs / "clip.safetensors"), "--clip", "ViT-B-16-quickgelu",
        "--experiment", "own", "--output", str(version.settings),
        "--set", "compute.threads=1", "--set", "distill.pretrained=false",
    )  # fmt: skip
    return yaml.safe_load(version.settings.read_text(encoding="utf-8"))


def write(version: Version, settings: dict[str, Any], share: float) -> dict[str, float]:
    """Write settings with a share of the epochs; return the share of each training in fact."""
    given, found = copy.deepcopy(settings), {}
    for training in TRAININGS:
        epochs = settings[training]["epochs"]
        given[training]["epochs"] = max(1, round(share * epochs))
        found[training] = given[training]["epochs"] / epochs
    version.settings.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return found


def seconds(version: Version) -> tuple[dict[str, float], float]:
    """Run all jobs from nothing with one core; return the seconds of each stage, and of all."""
    began = time.monotonic()
    version.run("snakemake", "--cores", "1", "--config", f"params={version.settings.name}")
    whole = time.monotonic() - began
    notes, found = version.folder / "logs/own/usage", {}
    for path in sorted(notes.rglob("*.json")):
        usage, stage = read_json(path), path.relative_to(notes).parts[0]
        found[stage] = found.get(stage, 0.0) + usage["ended"] - usage["began"]
    return found, whole


def at_full_length(shares: list[float], took: list[float]) -> float:
    """Return the seconds of a training from those of one or two shares of its steps."""
    if len(set(shares)) == 1:
        return took[0] / shares[0]
    (first, last), (began, ended) = (shares[0], shares[-1]), (took[0], took[-1])
    return began + (ended - began) / (last - first) * (1 - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0], help="of the trainings")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor() as both:
        inputs = Path(temporary)
        write_inputs(inputs, given.photos)
        versions = [
            Version(commit, inputs / name)
            for commit, name in ((given.before, "before"), (given.after, "after"))
        ]
        chosen = []
        for version in versions:
            clone(version.commit, version.folder)
            chosen.append(init(version, inputs))
        for section, key in (("image", "short_side"), ("views", "crop"), ("distill", "epochs")):
            print(f"{section}.{key}: {chosen[0][section][key]}, {chosen[1][section][key]}")
            chosen[1][section][key] = chosen[0][section][key]
        shares, runs = [], []
        for share in given.shares:
            shares.append(write(versions[0], chosen[0], share))
            write(versions[1], chosen[1], share)
            runs.append(list(both.map(seconds, versions)))
    (before, whole), (after, whole_after) = runs[0]
    rest = [whole - sum(before.values()), whole_after - sum(after.values())]
    print("| stage | before, s | after, s | times faster |\n| --- | ---: | ---: | ---: |")
    totals = np.zeros(2)
    for stage in [*before, "starts of jobs"]:
        pair = rest if stage == "starts of jobs" else [before[stage], after[stage]]
        if stage in TRAININGS:
            parts = [share[stage] for share in shares]
            pair = [at_full_length(parts, [run[i][0][stage] for run in runs]) for i in (0, 1)]
        totals += pair
        print(f"| {stage} | {pair[0]:.0f} | {pair[1]:.0f} | {pair[0] / max(pair[1], 1e-9):.1f} |")
    print(f"| all | {totals[0]:.0f} | {totals[1]:.0f} | {totals[0] / totals[1]:.1f} |")


if __name__ == "__main__":
    main()
