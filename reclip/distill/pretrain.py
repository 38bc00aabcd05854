"""Train mini-backbone: the drawn world's stand-in for a backbone with ImageNet's weights.

It learns to name single drawn objects. Their classes are not those of the datasets: twelve evenly
spaced hues times the textures. So the student starts with features of colour and texture, as
ImageNet's weights have features of photos.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from reclip.common.files import atomic, file_sha256, write_text
from reclip.data.views import normalise
from reclip.data.world.objects import OBJECT_CLASSES, draw_object
from reclip.data.world.scenes import scene_rng

BACKBONE = "resnet18"

BACKBONE_ARGS = {
    "layers": [1, 1, 1, 1], "channels": [32, 64, 96, 128], "stem_type": "deep", "stem_width": 16
}  # fmt: skip
"""Arguments of `timm.create_model`; 270 images per second on one core."""

NORM = "clip"  # the normalisation of the photos that the student reads


@dataclass(frozen=True)
class PretrainSettings:
    """Training settings of mini-backbone; every value is our choice."""

    objects: int = 12_800  # drawn in advance
    held_out: int = 1_280  # drawn besides, to measure the accuracy
    size: int = 48  # pixels of a side
    epochs: int = 6
    batch: int = 64
    lr: float = 0.1  # peak of the one-cycle schedule
    momentum: float = 0.9
    weight_decay: float = 5e-4


def _draw(split: str, count: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalised images float32 (N, 3, S, S) and their labels int64 (N,)."""
    numbers = tqdm(range(count), f"draw {split}", disable=None)
    drawn = [draw_object(scene_rng(seed, split, i), size) for i in numbers]
    images = torch.stack([normalise(image, NORM) for image, _ in drawn])
    return images, torch.tensor([label for _, label in drawn])


@torch.inference_mode()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images (N, 3, S, S) whose label (N,) the model names, in [0, 1]."""
    model.eval()
    found = torch.cat([model(part).argmax(1) for part in images.split(256)])
    return float((found == labels).float().mean())


def _train(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    settings: PretrainSettings,
    seed: int,
) -> list[str]:
    """Train `model` in place by SGD; return the log, a line an epoch."""
    steps = settings.epochs * (len(images) // settings.batch)
    optimiser = torch.optim.SGD(
        model.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay
    )
    schedule = OneCycleLR(optimiser, settings.lr, total_steps=steps, pct_start=0.2)
    log = []
    model.train()
    with tqdm(total=steps, desc="train mini-backbone", disable=None) as bar:
        for epoch in range(settings.epochs):
            rng, losses = np.random.default_rng([seed, epoch]), []
            order = torch.from_numpy(rng.permutation(len(images)))
            for rows in order.split(settings.batch):
                if len(rows) < settings.batch:
                    break
                loss = F.cross_entropy(model(_turned(images[rows], rng)), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
                bar.update()
            log.append(f"epoch {epoch + 1} loss {np.mean(losses):.4f}")
            bar.set_postfix_str(log[-1])
    return log


def _turned(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return square images under one of the square's eight symmetries."""
    images = images.flip([d for d in (-1, -2) if rng.integers(2)])
    return images.transpose(-1, -2) if rng.integers(2) else images


def pretrain(settings: PretrainSettings, out_dir: Path, *, seed: int, threads: int) -> dict:
    """Train mini-backbone; write mini-backbone.safetensors, .json and .log to `out_dir`.

    Deterministic for one machine, `seed` and `threads`. Returns the card: the .json's content.
    """
    torch.set_num_threads(threads)
    images, labels = _draw("objects", settings.objects, settings.size, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classes = len(OBJECT_CLASSES)
        model = timm.create_model(BACKBONE, num_classes=classes, **BACKBONE_ARGS)
        model.to(memory_format=torch.channels_last)
        log = _train(model, images, labels, settings, seed)
    path = Path(out_dir) / "mini-backbone.safetensors"
    origin = "mini-backbone, which names single drawn objects"
    with atomic(path) as partial:
        state = {k: p.contiguous() for k, p in model.state_dict().items()}
        save_file(state, partial, metadata={"origin": origin})
    held_out = _draw("held-out objects", settings.held_out, settings.size, seed)
    card = {
        "backbone": BACKBONE,
        "backbone_args": BACKBONE_ARGS,
        "norm": NORM,
        "command": f"reclip pretrain-backbone --seed {seed} --threads {threads}",
        "seed": seed,
        "threads": threads,
        "settings": asdict(settings),
        "class_names": OBJECT_CLASSES,
        "accuracy": round(accuracy(model, *held_out), 4),
        "torch": torch.__version__,
        "sha256": file_sha256(path),
    }
    write_text(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
    write_text(path.with_suffix(".log"), "\n".join(log) + "\n")
    return card
