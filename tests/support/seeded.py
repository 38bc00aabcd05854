"""Seeded ViT-B/16 CLIP, Reference prompt and positional net: the tensors of the golden numbers.

Every tensor is mean + scale * standard normal in float32, drawn by a PCG64 generator seeded with
the crc32 of the tensor's name, so it depends only on its own name and shape.
"""

from __future__ import annotations

import itertools
import math
import zlib

import numpy as np

VISION_WIDTH, TEXT_WIDTH, EMBED_DIM, LAYERS = 768, 512, 512, 12


def generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def tensor(name: str, shape: tuple[int, ...], scale: float, mean: float = 0.0) -> np.ndarray:
    noise = generator(name).standard_normal(shape, dtype=np.float32)
    return np.float32(mean) + np.float32(scale) * noise


def _norm(prefix: str, width: int) -> dict[str, np.ndarray]:
    return {
        f"{prefix}.weight": tensor(f"{prefix}.weight", (width,), 0.1, 1.0),
        f"{prefix}.bias": tensor(f"{prefix}.bias", (width,), 0.02),
    }


def _block(prefix: str, width: int) -> dict[str, np.ndarray]:
    out = {**_norm(f"{prefix}.ln_1", width), **_norm(f"{prefix}.ln_2", width)}
    for name, rows, columns, gain in (
        ("attn.in_proj_", 3 * width, width, 1.5),
        ("attn.out_proj.", width, width, 1.0),
        ("mlp.c_fc.", 4 * width, width, 1.0),
        ("mlp.c_proj.", width, 4 * width, 1.0),
    ):
        weight, bias = f"{prefix}.{name}weight", f"{prefix}.{name}bias"
        out[weight] = tensor(weight, (rows, columns), gain * columns**-0.5)
        out[bias] = tensor(bias, (rows,), 0.02)
    return out


def clip_state() -> dict[str, np.ndarray]:
    """Return a state dict like OpenAI's CLIP ViT-B/16: 302 tensors."""
    state = {
        name: tensor(name, shape, scale)
        for name, shape, scale in (
            ("visual.class_embedding", (VISION_WIDTH,), 0.2),
            ("visual.positional_embedding", (197, VISION_WIDTH), 0.2),
            ("visual.conv1.weight", (VISION_WIDTH, 3, 16, 16), 0.02),
            ("visual.proj", (VISION_WIDTH, EMBED_DIM), VISION_WIDTH**-0.5),
            ("token_embedding.weight", (49408, TEXT_WIDTH), 0.02),
            ("positional_embedding", (77, TEXT_WIDTH), 0.01),
            ("text_projection", (TEXT_WIDTH, EMBED_DIM), TEXT_WIDTH**-0.5),
        )
    }
    state["logit_scale"] = np.asarray(math.log(100.0), dtype=np.float32)
    for name, width in (
        ("visual.ln_pre", VISION_WIDTH),
        ("visual.ln_post", VISION_WIDTH),
        ("ln_final", TEXT_WIDTH),
    ):
        state |= _norm(name, width)
    for tower, width in (("visual.transformer", VISION_WIDTH), ("transformer", TEXT_WIDTH)):
        for layer in range(LAYERS):
            state |= _block(f"{tower}.resblocks.{layer}", width)
    return state


def prompt() -> np.ndarray:
    """Return the Reference prompt (73, 512)."""
    return tensor("prompt_token", (1, 73, TEXT_WIDTH), 0.02)[0]


def positional_net(classes: int = 20) -> dict[str, np.ndarray]:
    """Return weights of the positional net: "0.weight" … "7.bias" (conv, BN, ReLU, repeated)."""
    out = {}
    channels = (VISION_WIDTH, 512, 256, classes)
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
        conv, norm = 3 * layer, 3 * layer + 1
        shape = (outputs, inputs, 3, 3)
        gain = math.sqrt(2.0 / (inputs * 9))
        out[f"{conv}.weight"] = tensor(f"proj_net.{conv}.weight", shape, gain)
        out[f"{conv}.bias"] = tensor(f"proj_net.{conv}.bias", (outputs,), 0.02)
        for key, value in _norm(f"proj_net.{norm}", outputs).items():
            out[key.removeprefix("proj_net.")] = value
    return out


def prediction(id: str, mask: np.ndarray, classes: int = 20) -> np.ndarray:
    """Return a class map that is right for about 60 % of the mask's pixels of objects.

    mask: uint8 (H, W) as VOC stores it: 0 background, 1 to `classes`, 255 void.
    """
    rng = generator("pred:" + id)
    noise = rng.integers(0, classes, size=mask.shape, dtype=np.int64)
    kept = rng.random(mask.shape) < 0.6
    return np.where(kept & (mask >= 1) & (mask <= classes), mask.astype(np.int64) - 1, noise)


def plus_parts(classes: int = 20) -> dict[str, np.ndarray]:
    """Return weights of ReCLIP++ by their names in a BiasModel, but for the Reference's prompt."""
    out = {}
    for name, official, shape in (
        ("positional", "pe_proj", (EMBED_DIM, VISION_WIDTH, 1, 1)),
        ("decoder.conv", "decoder_conv2", (classes, EMBED_DIM + classes, 5, 5)),
    ):
        gain = math.sqrt(2.0 / math.prod(shape[1:]))
        out[f"{name}.weight"] = tensor(f"{official}.weight", shape, gain)
        out[f"{name}.bias"] = tensor(f"{official}.bias", shape[:1], 0.02)
    norm = _norm("decoder_norm2", classes)
    return out | {key.replace("_norm2", ".norm"): value for key, value in norm.items()}
