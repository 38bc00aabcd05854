"""Run all commands of a user who has photos and no labels, and time each.

    python tests/smoke/photos.py voc --samples DIR --output DIR
    python tests/smoke/photos.py scenes --output DIR

`voc` takes thirty photos of VOC 2012 from a sample of its archive, and six class names. Its CLIP,
mini-clip, was never trained on photos: only the time and the existence of all outputs count.
`scenes` takes the photos of experiment `mini`'s VOC. It reads the labels after `reclip predict` has
written the masks of the val photos. Their mIoU is compared with mini's.
"""

from __future__ import annotations

import subprocess
import tarfile
import time
from pathlib import Path, PurePosixPath
from statistics import mean

import click

from reclip.common.files import read_json
from reclip.config.load import load_params
from reclip.data.images import read_label, write_image, write_label
from reclip.data.world.scenes import WORLDS, draw_scene, scene_rng, scene_size
from reclip.evaluate import metrics
from reclip.evaluate.counts import Counts

VOC, COUNT = "VOCtrainval-subset.tar", 30
CLASSES = "person=person|man|woman, car, dog, cat, grass, sky"
SEEDS = (0, 1, 2)  # three, because the mIoU of single models differs by several points
CHECK = Path("results/mini/check/check.json")  # of mini: five seeds

output = click.option("--output", type=click.Path(path_type=Path), required=True)


@click.group()
def main() -> None:
    """Test the commands of a user who has photos and class names."""


def timed(*command: str | Path) -> float:
    """Run a command as in a shell; return its time in seconds."""
    click.echo(f"$ {' '.join(map(str, command))}")
    start = time.perf_counter()
    done = subprocess.run(list(map(str, command)), check=False)
    if done.returncode:
        raise click.ClickException(f"{command[0]} failed with status {done.returncode}")
    took = time.perf_counter() - start
    click.echo(f"  {took:.0f} s")
    return took


def to_a_model(
    photos: Path, classes: str | Path, experiment: str, settings: Path, seed: int = 0
) -> float:
    """Train a model on photos; return the time in seconds."""
    return timed(
        "reclip", "init", "folder", "--images", photos, "--classes", classes,
        "--clip", "mini-clip", "--experiment", experiment, "--output", settings, "--force",
        "--set", f"seeds.rectify=[{seed}]", "--set", f"seeds.distill=[{seed}]",
    ) + timed("snakemake", "--config", f"params={settings}")  # fmt: skip


@main.command()
@click.option("--samples", type=click.Path(path_type=Path), required=True)
@output
def voc(samples: Path, output: Path) -> None:
    """Thirty photos and six class names: masks, overlays, a card and an ONNX file."""
    archive = samples / VOC
    if not archive.is_file():
        raise click.ClickException(
            f"no '{archive}': name its folder, make smoke-photos SAMPLES=DIR"
        )
    photos = output / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        found = sorted(name for name in tar.getnames() if name.endswith(".jpg"))[:COUNT]
        for name in found:
            (photos / PurePosixPath(name).name).write_bytes(tar.extractfile(name).read())
    took = to_a_model(photos, CLASSES, "smoke-photos", output / "own.yaml")
    model, onnx = Path("results/smoke-photos/runs/distilled/model"), output / "model.onnx"
    by_torch, by_onnx = output / "by-torch", output / "by-onnx"
    took += timed("reclip", "predict", photos, "--model", model, "--out", by_torch)
    took += timed("reclip", "export", "--model", model, "--onnx", onnx)
    took += timed("reclip", "predict", photos, "--model", onnx, "--out", by_onnx)
    masks = sorted((by_torch / "masks").iterdir())
    other = [by_onnx / "masks" / mask.name for mask in masks]
    same = [(read_label(a) == read_label(b)).mean() for a, b in zip(masks, other, strict=True)]
    click.echo(f"{len(masks)} of {len(found)} photos in {took:.0f} s; see {by_torch} and {model}")
    click.echo(f"PyTorch and ONNX agree on {100 * sum(same) / len(same):.4f}% of their pixels")


@main.command()
@output
def scenes(output: Path) -> None:
    """Train on the scenes of mini's VOC without labels, and compare the mIoU with mini's."""
    source = load_params("params.yaml").datasets["voc"].source
    world = WORLDS[source.world]
    names, classes = world.class_names, output / "classes.txt"
    for split, count in (("train", source.train), ("val", source.val)):
        for i in range(count):
            rng = scene_rng(source.seed, split, i)
            image, label = draw_scene(world, rng, scene_size(rng))
            write_image(output / split / f"{i:05d}.png", image)
            if split == "val":
                write_label(output / "labels" / f"{i:05d}.png", label, len(names))
    classes.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    found: dict[str, list[float]] = {"rectified": [], "distilled": []}
    for seed in SEEDS:
        settings, experiment = output / f"own-{seed}.yaml", f"smoke-scenes-{seed}"
        to_a_model(output / "train", classes, experiment, settings, seed)
        timed("reclip", "package", "--run", "rectified", "--params", settings)
        for run, values in found.items():
            model, there = Path(f"results/{experiment}/runs/{run}/model"), output / f"{run}-{seed}"
            timed("reclip", "predict", output / "val", "--model", model, "--out", there)
            values.append(miou(there / "masks", output / "labels", len(names)))
    of_mini = mini_by_seed()
    for run, values in found.items():
        both = [
            f"{mean(v):.1f} ({', '.join(f'{x:.1f}' for x in v)})" for v in (values, of_mini[run])
        ]
        apart = mean(values) - mean(of_mini[run])
        click.echo(f"{run}: mIoU {both[0]}; mini {both[1]}; difference {apart:+.1f}")


def miou(masks: Path, labels: Path, classes: int) -> float:
    """Return the mIoU of all masks together, in percent."""
    counts = Counts(classes)
    for label in sorted(labels.iterdir()):
        counts.update(read_label(masks / label.name), read_label(label), label.name)
    return 100 * metrics.miou(counts.confusion)


def mini_by_seed() -> dict[str, list[float]]:
    """Return the mIoU of each of mini's seeds, from the tracked results."""
    query = read_json("results/mini/runs/voc-query/metrics.json")["miou"]["mean"]
    gains = read_json(CHECK)["steps"]["voc"]
    rectified = [query + gain for gain in gains["rectified - query"]["values"]]
    steps = gains["distilled - rectified"]["values"]
    return {
        "rectified": rectified,
        "distilled": [one + step for one, step in zip(rectified, steps, strict=True)],
    }


if __name__ == "__main__":
    main()
