"""Trains mini-clip: a CLIP of the usual architecture, small, on captioned scenes of the mini world.

The packaged weights came from ``pretrain(PretrainSettings(), ...)``; their card, mini-clip.json,
says with which seed, and records the biases that were planted.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.transformer import PatchDropout
from safetensors.torch import save
from tqdm import tqdm

from reclip.data.world.bias import PlantedBias, deal_roles, draw_captioned_scene, draw_close_up
from reclip.data.world.scenes import WORLDS, draw_scene, scene_rng

UNIVERSE = WORLDS["ade"]
"""The world that mini-clip is trained on; the classes of the others are among its classes."""

TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of {}.",
    "a picture of {}.",
    "a drawing of {}.",
    "a photo of a small {}.",
    "a photo of a large {}.",
    "a photo of many {}.",
    "a bright photo of {}.",
    "a dark photo of {}.",
    "there is {} in the scene.",
    "{}.",
)
"""Caption templates; the class name takes the braces' place."""

MODEL_CFG = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 48,
        "patch_size": 8,
        "width": 96,
        "layers": 3,
        "head_width": 32,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 2,
    },
}
"""open_clip's ``model_cfg`` of mini-clip; the fp16 weights stay under 8 MB."""

MEAN = open_clip.OPENAI_DATASET_MEAN
STD = open_clip.OPENAI_DATASET_STD


@dataclass(frozen=True)
class Phase:
    """A stretch of training with a one-cycle schedule of its own."""

    scene_share: float
    """Share of scenes with planted biases in a batch; the others are unbiased close-ups."""

    dropout: float
    """Share of patches that each image goes without, for speed (FLIP, Li et al. 2023)."""

    lr: float
    """Peak of the schedule."""

    share: float
    """Share of the steps."""


@dataclass(frozen=True)
class PretrainSettings:
    """How mini-clip is trained; every value is our choice."""

    steps: int = 3200
    phases: tuple[Phase, ...] = (
        Phase(scene_share=0.0, dropout=0.9, lr=2e-3, share=0.3125),
        Phase(scene_share=0.75, dropout=0.5, lr=1.5e-3, share=0.6875),
    )
    """Close-ups of which three patches are left teach textures, patch by patch and fast; a model
    that starts with scenes learns hues and little else in the same time."""

    close_ups: int = 4_000
    scenes: int = 8_000
    """Sizes of the pre-rendered pools; flips and transposes multiply them by eight."""

    batch: int = 128
    weight_decay: float = 0.05
    logit_scale: float = 1 / 0.07
    """Initial value (Radford et al. 2021); learned, at most 100."""

    bias: PlantedBias = field(default_factory=PlantedBias)


def build_model(model_cfg: dict, seed: int) -> CLIP:
    """open_clip's CLIP of ``model_cfg`` with weights drawn from ``seed``, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIP(**model_cfg)


def image_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 3) -> normalised float32 (N, 3, H, W)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def tokenize(class_names: tuple[str, ...]) -> torch.Tensor:
    """Tokens int64 (C, T, 77) of each class name in each of the T templates."""
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    texts = [template.format(name) for name in class_names for template in TEMPLATES]
    return tokenizer(texts).view(len(class_names), len(TEMPLATES), -1)


def multi_positive_loss(logits: torch.Tensor, mentioned: torch.Tensor) -> torch.Tensor:
    """CLIP's symmetric loss where images and captions have several positives.

    ``logits`` (B, C) of images against class captions, ``mentioned`` bool (B, C). The target of a
    row (image) or column (caption) is uniform over its positives; those without any are left out.
    """
    loss = logits.new_zeros(())
    for scores, positive in ((logits, mentioned), (logits.T, mentioned.T)):
        kept = positive.any(1)
        target = positive[kept].float()
        loss = loss + F.cross_entropy(scores[kept], target / target.sum(1, keepdim=True)) / 2
    return loss


@torch.no_grad()
def zero_shot_accuracy(model: CLIP, *, seed: int, scenes: int = 200) -> float:
    """Share of uniform voc scenes of the model's size that show the best of the 20 classes."""
    world = WORLDS["voc"]
    texts = F.normalize(class_texts(model, world.class_names), dim=-1)
    size = (model.visual.image_size[0],) * 2
    drawn = [draw_scene(world, scene_rng(seed, "zero-shot", i), size) for i in range(scenes)]
    features = model.encode_image(image_tensor(np.stack([image for image, _ in drawn])))
    best = (features @ texts.T).argmax(1).tolist()
    hits = [b in label for b, (_, label) in zip(best, drawn, strict=True)]
    return sum(hits) / len(hits)


def class_texts(model: CLIP, class_names: tuple[str, ...]) -> torch.Tensor:
    """Mean over the templates of the normalised text embeddings, (C, D)."""
    tokens = tokenize(class_names)
    features = model.encode_text(tokens.flatten(0, 1), normalize=True)
    return features.unflatten(0, tokens.shape[:2]).mean(1)


def _encode_short(model: CLIP, tokens: torch.Tensor, length: int) -> torch.Tensor:
    """``model.encode_text`` of texts that end within ``length`` tokens, at less cost.

    Exact: attention is causal, so that the padding after the end token changes nothing.
    """
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(x)), tokens.argmax(-1)] @ model.text_projection
    return F.normalize(x, dim=-1)


Pool = tuple[torch.Tensor, torch.Tensor]
"""Images float32 (N, 3, S, S) and mentioned bool (N, C)."""


def _pools(settings: PretrainSettings, seed: int, progress: bool) -> tuple[Pool, Pool]:
    """The pools of close-ups and of scenes with planted biases."""
    bias, size = settings.bias, MODEL_CFG["vision_cfg"]["image_size"]
    roles = deal_roles(UNIVERSE, bias)

    def close_up(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return draw_close_up(UNIVERSE, rng, size)

    def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, _, mentioned = draw_captioned_scene(UNIVERSE, bias, roles, rng, size)
        return image, mentioned

    def pool(draw: Callable, split: str, count: int) -> Pool:
        numbers = tqdm(range(count), f"draw {split}", disable=not progress)
        drawn = [draw(scene_rng(seed, split, i)) for i in numbers]
        images, mentioned = (np.stack(part) for part in zip(*drawn, strict=True))
        return image_tensor(images), torch.from_numpy(mentioned)

    return (
        pool(close_up, "close-ups", settings.close_ups),
        pool(scene, "pre-training scenes", settings.scenes),
    )


def _flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One of the square's eight symmetries, the same for the whole batch."""
    choice = int(torch.randint(8, (), generator=generator))
    dims = [d for bit, d in ((1, -1), (2, -2)) if choice & bit]
    images = images.flip(dims) if dims else images
    return images.transpose(-1, -2) if choice & 4 else images


def _batch(
    close_ups: Pool, scenes: Pool, counts: tuple[int, int], generator: torch.Generator
) -> Pool:
    """``counts`` random items of the two pools, flipped alike."""
    parts = []
    for (images, mentioned), count in zip((close_ups, scenes), counts, strict=True):
        picked = torch.randint(len(images), (count,), generator=generator)
        parts.append((images[picked], mentioned[picked]))
    images, mentioned = (torch.cat(part) for part in zip(*parts, strict=True))
    return _flip(images, generator), mentioned


def _optimizer(
    model: CLIP, phase: Phase, steps: int, weight_decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW that decays matrices only, and the one-cycle schedule of ``phase``."""
    table = model.token_embedding.weight
    decayed = [p for p in model.parameters() if p.ndim >= 2 and p is not table]
    plain = [p for p in model.parameters() if p.ndim < 2 or p is table]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=phase.lr, betas=(0.9, 0.98), weight_decay=weight_decay)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, phase.lr, total_steps=steps, pct_start=0.15
    )


def _train(
    model: CLIP,
    tokens: torch.Tensor,
    settings: PretrainSettings,
    pools: tuple[Pool, Pool],
    generator: torch.Generator,
    bar: tqdm,
) -> list[str]:
    """Trains ``model`` in place on class captions ``tokens`` (C, T, 77); returns the log."""
    log, losses, done = [], [], 0
    classes = torch.arange(len(tokens))
    length = int(tokens.argmax(-1).max()) + 1
    for phase in settings.phases:
        steps = round(phase.share * settings.steps)
        optimizer, schedule = _optimizer(model, phase, steps, settings.weight_decay)
        model.visual.patch_dropout = PatchDropout(phase.dropout)
        scenes = round(phase.scene_share * settings.batch)
        for step in range(1, steps + 1):
            images, mentioned = _batch(*pools, (settings.batch - scenes, scenes), generator)
            template = torch.randint(len(TEMPLATES), classes.shape, generator=generator)
            image = model.encode_image(images, normalize=True)
            text = _encode_short(model, tokens[classes, template], length)
            loss = multi_positive_loss(model.logit_scale.exp() * image @ text.T, mentioned)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            model.logit_scale.data.clamp_(max=math.log(100))
            losses.append(loss.item())
            bar.update()
            done += 1
            if step % 100 == 0 or step == steps:
                mean, scale = float(np.mean(losses)), model.logit_scale.exp().item()
                log.append(f"step {done} loss {mean:.4f} logit scale {scale:.1f}")
                bar.set_postfix_str(log[-1])
                losses.clear()
    return log


def pretrain(
    settings: PretrainSettings,
    out_dir: Path,
    *,
    seed: int,
    threads: int,
    progress: bool = True,
) -> dict:
    """Trains mini-clip and writes mini-clip.safetensors, .json and .log to ``out_dir``.

    Deterministic for one machine, ``seed`` and ``threads``. Returns the card, the .json's content.
    """
    torch.set_num_threads(threads)
    pools = _pools(settings, seed, progress)
    model = build_model(MODEL_CFG, seed).train()
    model.logit_scale.data.fill_(math.log(settings.logit_scale))

    # Only rows of tokens that captions use are trained: a small embedding stands in for the table.
    # Sorted ids keep their order, so that the end token stays the largest, where the text is read.
    table = model.token_embedding
    used, tokens = tokenize(UNIVERSE.class_names).unique(return_inverse=True)
    model.token_embedding = torch.nn.Embedding.from_pretrained(table.weight[used], freeze=False)
    total = sum(round(phase.share * settings.steps) for phase in settings.phases)
    bar = tqdm(total=total, desc="train mini-clip", disable=not progress)
    # Patch dropout, alone, draws from torch's global generator.
    with bar, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        log = _train(model, tokens, settings, pools, generator, bar)
    table.weight.data[used] = model.token_embedding.weight.data
    model.token_embedding = table
    return _write(model.half().float().eval(), settings, Path(out_dir), seed, threads, log)


def _write(
    model: CLIP, settings: PretrainSettings, out_dir: Path, seed: int, threads: int, log: list[str]
) -> dict:
    weights = save({name: p.half().contiguous() for name, p in model.state_dict().items()})
    card = {
        "model_cfg": MODEL_CFG,
        "mean": MEAN,
        "std": STD,
        "command": f"reclip pretrain --seed {seed} --threads {threads}",
        "seed": seed,
        "threads": threads,
        "settings": asdict(settings),
        "class_names": UNIVERSE.class_names,
        "templates": TEMPLATES,
        "zero_shot_accuracy": zero_shot_accuracy(model, seed=seed),
        "torch": torch.__version__,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    texts = {"json": json.dumps(card, indent=2) + "\n", "log": "\n".join(log) + "\n"}
    contents = {suffix: text.encode() for suffix, text in texts.items()} | {"safetensors": weights}
    for suffix, content in contents.items():
        part = out_dir / f"mini-clip.{suffix}.part"
        part.write_bytes(content)
        os.replace(part, out_dir / f"mini-clip.{suffix}")
    return card
