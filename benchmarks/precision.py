"""What bfloat16 saves and changes: speed, dense features, and mIoU on `mini`.

    python benchmarks/precision.py speed [--threads 1 2] [--pairs 4] [--only student]
    python benchmarks/precision.py fidelity [--photos FOLDER_OR_TAR] [--count 20]
    python benchmarks/precision.py mini [--datasets voc context ade] [--epochs N]

`speed` times float32 and bfloat16 by turns in one process, with random weights. Only the ratios
mean something. `fidelity` compares the features of a ViT-B/16 with seeded weights, and its Query's
class maps, on drawn scenes or on photos. `mini` makes the experiment `mini-bfloat16`, which is the
committed settings with `compute.precision: bfloat16`, and compares its mIoU with the table of
`snakemake mini_check`: about 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tarfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import mini
import numpy as np
import torch
from open_clip.factory import get_model_config
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reclip.clip.dense import dense_features
from reclip.clip.load import Clip
from reclip.clip.text import query_embeddings
from reclip.common.files import read_json
from reclip.config.models import DistillSettings
from reclip.data.images import read_image
from reclip.data.layouts.class_names import VOC_CLASSES
from reclip.data.photos import list_photos
from reclip.data.reading import resize_image
from reclip.data.resize_maps import resize
from reclip.data.views import normalise
from reclip.data.world.scenes import WORLDS, draw_scene, scene_rng
from reclip.device import deterministic
from reclip.device.precision import Precision, resolve
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.distill.losses import distillation_loss
from reclip.evaluate.statistics import summarise
from reclip.pipeline.plan import Plan
from reclip.training.loop import make_sgd

BOTH: tuple[Precision, ...] = ("float32", "bfloat16")
TOKENS = 4096  # of a batch of reclip.clip.extract
CLASSES, DIM, PATCH = 20, 512, 16
SIZES = ((224, 224), (336, 448))
STUDENTS = (("resnet50c", 512, 2), ("resnet18", 160, 16))
EXTRACTORS = {
    "value": {},
    "naclip": {"attention": "naclip", "residual": False, "mlp": False},
}


# ---------------------------------------------------------------- speed


def by_turns(steps: dict[Precision, Callable[[], object]], pairs: int) -> tuple[float, float]:
    """Return the median seconds in float32 and in bfloat16; the first pair does not count."""
    times: dict[Precision, list[float]] = {name: [] for name in BOTH}
    for _ in range(pairs):
        for name in BOTH:
            began = time.perf_counter()
            steps[name]()
            times[name].append(time.perf_counter() - began)
    return tuple(statistics.median(times[name][1:]) for name in BOTH)


def vit(precision: Precision) -> Clip:
    """Return ViT-B/16 with seeded weights."""
    torch.manual_seed(0)
    model = CLIP(**get_model_config("ViT-B-16"))
    return Clip(model, SimpleTokenizer(), (0, 0, 0), (1, 1, 1)).compute_in(precision)


def features_of(clip: Clip, images: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return dense_features(clip, images)[0]

    return run


def student_step(backbone: str, side: int, batch: int, precision: Precision) -> Callable[[], None]:
    """Return a step of distillation at grid resolution, on random images and labels."""
    torch.manual_seed(0)
    settings = DistillSettings(feature_resolution="grid")
    texts = F.normalize(torch.randn(CLASSES, DIM), dim=1)
    head = SegmentationHead("query_reference", CLASSES, DIM, w_q=texts, w_r=0.1 * texts)
    student = Student(DeepLabV2(backbone, DIM), head).train()
    student.deeplab.precision = precision
    optimiser = make_sgd(student, settings)
    images, labels = torch.randn(batch, 3, side, side), torch.randint(CLASSES, (batch, side, side))
    teacher = F.normalize(torch.randn(batch, DIM, side // PATCH, side // PATCH), dim=1)
    hypotheses = torch.rand(batch, CLASSES) < 0.2
    hypotheses[:, 0] = True

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        logits, unit = student(images)
        terms = distillation_loss(logits, unit, labels, teacher, texts, hypotheses, settings, 30.0)
        sum(terms.values()).backward()
        optimiser.step()

    return step


def cases() -> Iterator[tuple[str, dict[Precision, Callable]]]:
    """Yield what is timed, in words, and its call in each precision."""
    clips = {name: vit(name) for name in BOTH}
    for height, width in SIZES:
        whole = max(1, TOKENS // (height * width // PATCH**2))
        for batch in (1, whole):
            images = torch.randn(batch, 3, height, width)
            case = f"dense features, ViT-B/16, {width}×{height}, batch {batch}"
            yield case, {name: features_of(clips[name], images) for name in BOTH}
    for backbone, side, batch in STUDENTS:
        case = f"student step, {backbone}, {side}×{side}, batch {batch}"
        yield case, {name: student_step(backbone, side, batch, name) for name in BOTH}


def speed(threads: list[int], pairs: int, only: str) -> None:
    """Print the seconds of features and of student steps, and their ratios."""
    deterministic()
    print("| what | threads | float32, s | bfloat16, s | times faster |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for case, steps in cases():
        for number in threads if only in case else ():
            torch.set_num_threads(number)
            slow, fast = by_turns(steps, pairs)
            row = f"| {case} | {number} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f} |"
            print(row, flush=True)


# ---------------------------------------------------------------- dense features


def photos_of(where: str | None, count: int) -> Iterator[np.ndarray]:
    """Yield photos uint8 (H, W, 3): of a folder, of a tar archive, or drawn scenes."""
    if where is None:
        for number in range(count):
            yield draw_scene(WORLDS["ade"], scene_rng(0, "val", number), (336, 448))[0]
    elif Path(where).is_dir():
        yield from map(read_image, list_photos(where, "--photos")[:count])
    else:
        with tarfile.open(where) as archive:
            named = (member for member in archive if member.name.lower().endswith(".jpg"))
            for member in islice(named, count):
                yield np.asarray(Image.open(archive.extractfile(member)).convert("RGB"))


def fidelity(where: str | None, count: int) -> None:
    """Print how far features and class maps in bfloat16 are from those in float32."""
    deterministic()
    torch.set_num_threads(2)
    clips = {name: vit(name) for name in BOTH}
    texts = query_embeddings(clips["float32"], VOC_CLASSES, ["a photo of a {}."])
    print("| last block | photos | cosine, mean | cosine, least | changed pixels, % |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, options in EXTRACTORS.items():
        cosines, changed, pixels = [], 0, 0
        for photo in photos_of(where, count):
            scale = 336 / min(photo.shape[:2])
            size = tuple(round(scale * side) for side in photo.shape[:2])
            image = normalise(resize_image(photo, size), "clip")[None]
            with torch.inference_mode():
                found = [dense_features(clips[p], image, **options)[0] for p in BOTH]
                maps = [resize((z @ texts.T).permute(0, 3, 1, 2), size).argmax(1) for z in found]
            cosines.append((found[0] * found[1]).sum(-1).flatten())
            changed += int((maps[0] != maps[1]).sum())
            pixels += maps[0].numel()
        cosine = torch.cat(cosines)
        print(f"| {name} | {count} | {cosine.mean():.5f} | {cosine.min():.5f} | ", end="")
        print(f"{100 * changed / pixels:.2f} |", flush=True)


# ---------------------------------------------------------------- mini


def on_mini(datasets: list[str], epochs: int | None) -> None:
    """Print mIoU on `mini` in bfloat16 beside that of the committed check in float32."""
    seeds, runs = mini.committed()["check"]["seeds"], {}
    for dataset in datasets:
        for run in ("query", "ref-pe", "distill"):
            settings = dict(mini.committed()["runs"][f"{dataset}-{run}"])
            if settings["method"] != "query":
                settings["seeds"] = seeds
                if epochs:
                    section = settings["method"]
                    settings[section] = {**settings.get(section, {}), "epochs": epochs}
            runs[f"{dataset}-{run}"] = settings
    sources = {name: mini.committed()["datasets"][name] for name in datasets}
    compute = {**mini.committed()["compute"], "precision": "bfloat16"}
    path = mini.write_experiment("mini-bfloat16", sources, runs, compute=compute)
    plan = Plan.load(path)
    jobs = {run: mini.evaluations(plan, run) for run in runs}
    mini.make(path, (job.receipt for of_run in jobs.values() for job in of_run))
    with open("results/mini/check/tables.csv", encoding="utf-8", newline="") as file:
        wanted = {row["run"]: row for row in csv.DictReader(file) if row["ours"]}
    print("| run | seeds | float32 | bfloat16 | difference | mean within float32's interval |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for run, of_run in jobs.items():
        found = [read_json(job.folder / "scores.json")["miou"] for job in of_run]
        own, before = summarise(found)["mean"], wanted[run]
        apart = own - float(before["ours"])
        shown, within = before["ours"], ""
        if before["low"]:
            shown = f"{before['ours']} ({before['low']} to {before['high']})"
            within = "yes" if float(before["low"]) <= own <= float(before["high"]) else "no"
        print(
            f"| {run} | {len(found)} | {shown} | {mini.mean(found, 2)} | {apart:+.2f} | {within} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    timed = parts.add_parser("speed")
    timed.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    timed.add_argument("--pairs", type=int, default=4)
    timed.add_argument("--only", metavar="TEXT", default="", help="cases that hold it")
    compared = parts.add_parser("fidelity")
    compared.add_argument("--photos", metavar="FOLDER_OR_TAR", help="instead of drawn scenes")
    compared.add_argument("--count", type=int, default=20, help="number of photos")
    trained = parts.add_parser("mini")
    trained.add_argument("--datasets", nargs="+", default=["voc", "context", "ade"])
    trained.add_argument("--epochs", type=int, help="of each training, to try the script")
    given = parser.parse_args()
    if resolve("auto", torch.device("cpu")) != "bfloat16":
        print("This processor has no known bfloat16: times are those of its emulation.\n")
    if given.part == "speed":
        speed(given.threads, given.pairs, given.only)
    elif given.part == "fidelity":
        fidelity(given.photos, given.count)
    else:
        on_mini(given.datasets, given.epochs)


if __name__ == "__main__":
    main()
