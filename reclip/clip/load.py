"""Load a frozen CLIP: the packaged mini-clip, a downloaded open_clip model, or a weights file.

Importing this module is cheap: torch and open_clip are imported by the functions that need them.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclip.common.errors import ReclipError
from reclip.common.text import listed
from reclip.config.models import ClipSettings
from reclip.data.reading import MEAN_STD
from reclip.device.precision import Precision, autocast, round_weights, widened
from reclip.weights.identity import MINI_CLIP, PACKAGED, log_file, weights_sha256
from reclip.weights.releases import Release, clip_release, release_of

if TYPE_CHECKING:
    import torch
    from open_clip.model import CLIP
    from open_clip.tokenizer import SimpleTokenizer

log = logging.getLogger(__name__)


class Clip:
    """A frozen open_clip model in eval mode, with its tokenizer and image normalisation.

    The class is no nn.Module, so a module that holds one neither trains nor saves it.

    Attributes:
        mean, std: per RGB channel, for pixel values in [0, 1].
        patch_size: side of a patch in pixels.
        grid: size (h, w) of the positional embedding as trained, in patches.
        embed_dim: width D of the joint embedding space.
        precision: of the image tower; see `compute_in`.
    """

    def __init__(
        self, model: CLIP, tokenizer: SimpleTokenizer, mean: Iterable[float], std: Iterable[float]
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.mean, self.std = tuple(mean), tuple(std)
        self.patch_size: int = model.visual.patch_size[0]
        self.grid: tuple[int, int] = tuple(model.visual.grid_size)
        self.embed_dim: int = model.visual.output_dim
        self.context_length: int = model.context_length
        self.text_width: int = model.token_embedding.embedding_dim
        self.precision: Precision = "float32"

    @property
    def positional_embedding(self) -> torch.Tensor:
        """Positional embedding (1 + h*w, width) of the image tower, the class position first."""
        return self.model.visual.positional_embedding

    @property
    def logit_scale(self) -> float:
        """Factor on the cosine similarity; 100 for OpenAI's weights."""
        return float(self.model.logit_scale.exp())

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    def compute_in(self, precision: Precision) -> Clip:
        """Let the image tower compute in a precision, and return this CLIP.

        The weights of its layers are rounded once. The text tower stays in float32.
        """
        self.precision = precision
        round_weights(self.model.visual, precision)
        if precision == "bfloat16":
            for block in self.model.visual.transformer.resblocks:
                block.attn.register_forward_pre_hook(_tokens_first)
        return self

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Return image embeddings (B, D), not normalised, of images (B, 3, side, side)."""
        with autocast(self.precision, images.device):
            return widened(self.model.encode_image(images))


def _tokens_first(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple:
    """Return queries, keys and values (B, N, width) that lie in memory as (N, B, width).

    Under autocast torch's attention swaps the two axes itself, and then copies its weights once a
    token if a batch has more than one image: 20 images take 20 s instead of 2.
    """
    laid = {id(x): x.transpose(0, 1).contiguous().transpose(0, 1) for x in inputs}
    return tuple(laid[id(x)] for x in inputs)


def load_clip(spec: ClipSettings, device: str | torch.device = "cpu") -> Clip:
    """Return the CLIP of `spec` in float32 on `device`; log which weights it has.

    Raises ReclipError: the model is unknown or no plain ViT CLIP; the weights file is missing,
        damaged, not what its name says, or of another architecture; the download fails; or the
        weights expect another normalisation of photos than `clip.norm`.
    """
    from reclip.weights.state_dict import read_state_dict

    path = weights_file(spec)
    sha256 = weights_sha256(str(path), "clip.checkpoint", clip_release(spec.model))
    log_file("CLIP weights", path, sha256)
    state = read_state_dict(path, "clip.checkpoint")
    release = release_of(sha256)
    clip = clip_from_state_dict(spec, state, device, source=f"'{path}'", release=release)
    require_norm(spec, clip.mean, clip.std)
    return clip


def require_norm(spec: ClipSettings, mean: Iterable[float], std: Iterable[float]) -> None:
    """Raise ReclipError if `clip.norm` is not the normalisation that the weights expect.

    The official code gives ImageNet's to a CLIP that expects CLIP's, and so may the user.

    mean, std: as the weights expect, for pixel values in [0, 1].
    """
    wanted = [*mean, *std]
    fitting = next((norm for norm in MEAN_STD if _is_norm(norm, wanted)), None)
    if spec.norm == fitting or (spec.norm, fitting) == ("imagenet", "clip"):
        return
    weights = " of ".join(filter(None, (spec.pretrained or spec.checkpoint, spec.model)))
    fix = f"Set clip.norm to {fitting}"
    if fitting is None:
        fix = "reclip cannot give them such photos: set clip.pretrained to another tag"
    raise ReclipError(
        f"The weights {weights} expect photos with mean {tuple(wanted[:3])} and deviation "
        f"{tuple(wanted[3:])}, but clip.norm is {spec.norm}. {fix}."
    )


def _is_norm(norm: str, wanted: Iterable[float]) -> bool:
    """Return whether mean and deviation are those of `norm`, apart from rounding."""
    known = [value / 255 for values in MEAN_STD[norm] for value in values]
    return all(abs(a - b) < 0.01 for a, b in zip(wanted, known, strict=True))


def clip_from_state_dict(
    spec: ClipSettings,
    state: dict[str, torch.Tensor],
    device: str | torch.device = "cpu",
    *,
    source: str = "the given state dict",
    release: Release | None = None,
) -> Clip:
    """Return the architecture of `spec` with the weights `state`, in OpenAI's or open_clip's keys.

    Args:
        source: names the weights in errors.
        release: the published file that the weights are known to be.
    Raises ReclipError: as `load_clip`.
    """
    import torch
    from open_clip.model import CLIP
    from open_clip.tokenizer import SimpleTokenizer

    from reclip.clip.architecture import architecture, fitting_weights

    config, mean, std, activation = architecture(spec, state, release)
    log.info("CLIP activation: %s", activation)
    model = CLIP(**config)
    model.load_state_dict(fitting_weights(spec.model, model.state_dict(), state, source))
    for block in model.visual.transformer.resblocks:
        if spec.activation == "gelu":  # official code: in the image tower alone
            block.mlp.gelu = torch.nn.GELU()
        if spec.block_ln_eps is not None:
            block.ln_1.eps = block.ln_2.eps = spec.block_ln_eps
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    return Clip(model.to(device=device, dtype=torch.float32), tokenizer, mean, std)


def weights_file(spec: ClipSettings) -> Path:
    """Return the path of the weights of `spec`, which may be missing; download those of a tag.

    Raises ReclipError: there is no such tag, it expects another `clip.norm`, or the download fails.
    """
    if spec.checkpoint is not None:
        return Path(spec.checkpoint).expanduser()
    if spec.model == MINI_CLIP:
        return PACKAGED / "mini-clip.safetensors"
    from open_clip.pretrained import download_pretrained

    tag = published(spec)
    try:
        # The original file, not a converted copy, because its sha256 is known and checked.
        return Path(download_pretrained(tag, prefer_hf_hub=False))
    except Exception as error:  # network, disk, proxy or hub: the fix is the same
        where = tag.get("url") or f"https://huggingface.co/{tag.get('hf_hub', '').rstrip('/')}"
        raise ReclipError(
            f"Could not download the {spec.pretrained} weights of {spec.model} ({error}). Download "
            f"{where} on another machine and set clip.checkpoint to the file."
        ) from error


def published(spec: ClipSettings) -> dict[str, Any]:
    """Return what open_clip knows of the weights `clip.pretrained` of `clip.model`.

    Raises ReclipError: there is no such tag, or `clip.norm` is another normalisation than its.
    """
    from open_clip.pretrained import get_pretrained_cfg

    tag = get_pretrained_cfg(spec.model, spec.pretrained) if spec.pretrained else None
    if not tag:
        raise ReclipError(
            f"No weights are named for {spec.model} (clip.pretrained is {spec.pretrained!r}). "
            f"{_other_tag(spec)}, or set clip.checkpoint to a file."
        )
    require_norm(spec, tag["mean"], tag["std"])
    return tag


def _other_tag(spec: ClipSettings) -> str:
    """Return what to set in place of a tag that the model has not."""
    from open_clip.pretrained import list_pretrained_models_by_tag, list_pretrained_tags_by_model

    bare = spec.model.removesuffix("-quickgelu")
    if spec.pretrained and bare in list_pretrained_models_by_tag(spec.pretrained):
        return f"These are weights of {bare} with GELU: set clip.model to it"
    tags = list_pretrained_tags_by_model(spec.model)
    if not tags:
        return "open_clip knows none for it: set clip.model to another, such as ViT-B-16"
    close = difflib.get_close_matches(spec.pretrained or "", tags) or tags
    return f"Set clip.pretrained to a tag that open_clip knows for it ({listed(close)})"
