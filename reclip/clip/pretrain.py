"""Train mini-clip: a small CLIP of the usual architecture, on captioned scenes of the mini world.

The packaged weights came from ``pretrain(PretrainSettings(), ...)``. Their card, mini-clip.json,
records the seed and the planted biases.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.transformer import PatchDropout
from safetensors.torch import save_file
from timm.optim import param_groups_weight_decay
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.transforms.functional import normalize
from tqdm import tqdm

from reclip.clip.text import encode_tokens
from reclip.common.files import atomic, file_sha256, write_text
from reclip.data.world.bias import PlantedBias, deal_roles, draw_captioned_scene, draw_close_up
from reclip.data.world.scenes import WORLDS, draw_scene, scene_rng

UNIVERSE = WORLDS["ade"]
"""The world that mini-clip is trained on; its classes include those of the other worlds."""

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
"""Caption templates; the class name replaces the braces."""

MODEL_CFG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 48, "patch_size": 8, "width": 96, "layers": 3, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
"""open_clip's ``model_cfg`` of mini-clip; the fp16 weights stay under 8 MB."""

MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD


@dataclass(frozen=True)
class Phase:
    """A part of the training with its own one-cycle schedule."""

    scene_share: float  # of a batch: scenes with planted biases; the rest is close-ups
    dropout: float  # share of patches that each image drops, for speed (FLIP, Li et al. 2023)
    lr: float  # peak of the schedule
    share: float  # of the steps


@dataclass(frozen=True)
class PretrainSettings:
    """Training settings of mini-clip; every value is our choice.

    The first phase keeps three patches of each close-up, which teaches textures patch by patch and
    fast. A model that starts with scenes learns little but hues in the same time.
    """

    steps: int = 3200
    phases: tuple[Phase, ...] = (
        Phase(scene_share=0.0, dropout=0.9, lr=2e-3, share=0.3125),
        Phase(scene_share=0.75, dropout=0.5, lr=1.5e-3, share=0.6875),
    )
    close_ups: int = 4_000  # drawn in advance; flips and transposes give eight times as many
    scenes: int = 8_000  # as well
    batch: int = 128
    weight_decay: float = 0.05
    logit_scale: float = 1 / 0.07  # at first (Radford et al. 2021); it is learned, and at most 100
    bias: PlantedBias = field(default_factory=PlantedBias)


def build_model(model_cfg: dict, seed: int) -> CLIP:
    """Return open_clip's CLIP of ``model_cfg``, with weights drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIP(**model_cfg)


def image_tensor(images: np.ndarray) -> torch.Tensor:
    """Return images uint8 (N, H, W, 3) as normalised float32 (N, 3, H, W)."""
    return normalize(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, MEAN, STD)


def tokenize(class_names: tuple[str, ...]) -> torch.Tensor:
    """Return tokens int64 (C, T, 77) of each class name in each of the T templates."""
    texts = [template.format(name) for name in class_names for template in TEMPLATES]
    return open_clip.tokenize(texts).view(len(class_names), len(TEMPLATES), -1)


def multi_positive_loss(logits: torch.Tensor, mentioned: torch.Tensor) -> torch.Tensor:
    """Return CLIP's symmetric loss for images and captions with several positives.

    ``logits`` (B, C) compares images with class captions, ``mentioned`` is bool (B, C). The target
    of a row (image) or column (caption) is uniform over its positives. Rows and columns without
    positives are ignored.
    """
    loss = 0.0
    for scores, positive in ((logits, mentioned), (logits.T, mentioned.T)):
        kept = positive.any(1)
        target = F.normalize(positive[kept].float(), p=1, dim=1)
        loss = loss + F.cross_entropy(scores[kept], target) / 2
    return loss


@torch.no_grad()
def zero_shot_accuracy(model: CLIP, *, seed: int, scenes: int = 200) -> float:
    """Return the share of voc scenes of the model's size that show the best of the 20 classes."""
    world = WORLDS["voc"]
    size = (model.visual.image_size[0],) * 2
    texts = open_clip.build_zero_shot_classifier(
        model, open_clip.tokenize, world.class_names, TEMPLATES, num_classes_per_batch=None
    )
    drawn = [draw_scene(world, scene_rng(seed, "zero-shot", i), size) for i in range(scenes)]
    features = model.encode_image(image_tensor(np.stack([image for image, _ in drawn])))
    best = (features @ texts).argmax(1).tolist()
    return sum(b in label for b, (_, label) in zip(best, drawn, strict=True)) / scenes


Pool = tuple[torch.Tensor, torch.Tensor]
"""Images float32 (N, 3, S, S), and for each which classes its caption mentions, bool (N, C)."""


def _pools(settings: PretrainSettings, seed: int) -> list[Pool]:
    """Return the pools of close-ups and of scenes with planted biases."""
    bias, size = settings.bias, MODEL_CFG["vision_cfg"]["image_size"]
    roles = deal_roles(UNIVERSE, bias)

    def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return draw_captioned_scene(UNIVERSE, bias, roles, rng, size)[::2]

    pools = []
    for split, count, draw in (
        ("close-ups", settings.close_ups, lambda rng: draw_close_up(UNIVERSE, bias, rng, size)),
        ("pre-training scenes", settings.scenes, scene),
    ):
        numbers = tqdm(range(count), f"draw {split}", disable=None)
        drawn = [draw(scene_rng(seed, split, i)) for i in numbers]
        images, mentioned = (np.stack(part) for part in zip(*drawn, strict=True))
        pools.append((image_tensor(images), torch.from_numpy(mentioned)))
    return pools


def _batch(pools: list[Pool], counts: tuple[int, int], generator: torch.Generator) -> Pool:
    """Return ``counts`` random items of the two pools, under one of the square's symmetries."""
    parts = []
    for (images, mentioned), count in zip(pools, counts, strict=True):
        picked = torch.randint(len(images), (count,), generator=generator)
        parts.append((images[picked], mentioned[picked]))
    images, mentioned = (torch.cat(part) for part in zip(*parts, strict=True))
    choice = int(torch.randint(8, (), generator=generator))
    images = images.flip([d for bit, d in ((1, -1), (2, -2)) if choice & bit])
    return images.transpose(-1, -2) if choice & 4 else images, mentioned


def _train(
    model: CLIP,
    tokens: torch.Tensor,
    settings: PretrainSettings,
    pools: list[Pool],
    generator: torch.Generator,
) -> list[str]:
    """Train ``model`` in place on class captions ``tokens`` (C, T, 77); return the log."""
    log, losses, done = [], [], 0
    classes, ends = torch.arange(len(tokens)), tokens.argmax(-1)
    tokens = tokens[..., : int(ends.max()) + 1]
    lengths = [round(phase.share * settings.steps) for phase in settings.phases]
    bar = tqdm(total=sum(lengths), desc="train mini-clip", disable=None)
    for phase, steps in zip(settings.phases, lengths, strict=True):
        groups = param_groups_weight_decay(
            model, settings.weight_decay, no_weight_decay_list=["token_embedding.weight"]
        )
        optimiser = torch.optim.AdamW(groups, phase.lr, betas=(0.9, 0.98))
        schedule = OneCycleLR(optimiser, phase.lr, total_steps=steps, pct_start=0.15)
        model.visual.patch_dropout = PatchDropout(phase.dropout)
        scenes = round(phase.scene_share * settings.batch)
        for step in range(1, steps + 1):
            images, mentioned = _batch(pools, (settings.batch - scenes, scenes), generator)
            template = torch.randint(len(TEMPLATES), classes.shape, generator=generator)
            image = model.encode_image(images, normalize=True)
            text = encode_tokens(model, tokens[classes, template], ends[classes, template])
            text = F.normalize(text, dim=-1)
            loss = multi_positive_loss(model.logit_scale.exp() * image @ text.T, mentioned)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
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
    bar.close()
    return log


def pretrain(settings: PretrainSettings, out_dir: Path, *, seed: int, threads: int) -> dict:
    """Train mini-clip; write mini-clip.safetensors, .json and .log to ``out_dir``.

    Deterministic for one machine, ``seed`` and ``threads``. Returns the card: the .json's content.
    """
    torch.set_num_threads(threads)
    pools = _pools(settings, seed)
    model = build_model(MODEL_CFG, seed).train()
    model.logit_scale.data.fill_(math.log(settings.logit_scale))

    # Only the rows of tokens in captions are trained: a small embedding replaces the table.
    # Sorted ids keep their order, so the end token stays the largest, and the text is read there.
    table = model.token_embedding
    used, tokens = tokenize(UNIVERSE.class_names).unique(return_inverse=True)
    model.token_embedding = torch.nn.Embedding.from_pretrained(table.weight[used], freeze=False)
    # Patch dropout alone draws from torch's global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        log = _train(model, tokens, settings, pools, generator)
    table.weight.data[used] = model.token_embedding.weight.data
    model.token_embedding = table

    model.half().float().eval()
    path = Path(out_dir) / "mini-clip.safetensors"
    with atomic(path) as partial:
        save_file({k: p.half().contiguous() for k, p in model.state_dict().items()}, partial)
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
        "sha256": file_sha256(path),
    }
    write_text(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
    write_text(path.with_suffix(".log"), "\n".join(log) + "\n")
    return card
