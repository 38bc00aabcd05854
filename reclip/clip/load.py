"""Load a frozen CLIP: the packaged mini-clip, a downloaded open_clip model, or a file of weights.

Importing this module is cheap; torch and open_clip are imported by the functions that need them.
"""

from __future__ import annotations

import json
import zipfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclip.config import ClipSettings
from reclip.errors import ReclipError

if TYPE_CHECKING:
    import torch
    from open_clip.model import CLIP
    from open_clip.tokenizer import SimpleTokenizer

MINI_CLIP = "mini-clip"


class Clip:
    """A frozen open_clip model in eval mode with its tokenizer and image normalisation.

    `mean` and `std` are per RGB channel for pixel values in [0, 1]. The class is no nn.Module, so
    that a module that holds one neither trains nor saves it.
    """

    def __init__(
        self,
        model: CLIP,
        tokenizer: SimpleTokenizer,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.mean = tuple(mean)
        self.std = tuple(std)

    @property
    def embed_dim(self) -> int:
        return self.model.visual.output_dim

    @property
    def context_length(self) -> int:
        return self.model.context_length

    @property
    def text_width(self) -> int:
        return self.model.token_embedding.embedding_dim

    @property
    def patch_size(self) -> int:
        return self.model.visual.patch_size[0]

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the positional embedding as trained, in patches."""
        return tuple(self.model.visual.grid_size)

    @property
    def positional_embedding(self) -> torch.Tensor:
        """(1 + h*w, width): the class position first."""
        return self.model.visual.positional_embedding

    @property
    def logit_scale(self) -> float:
        """Factor on the cosine similarity (100 for OpenAI's weights)."""
        return float(self.model.logit_scale.exp())

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device


def load_clip(spec: ClipSettings, device: str | torch.device = "cpu") -> Clip:
    """Build the CLIP that `spec` names, in float32, on `device`.

    Raises ReclipError where the model is unknown or no plain ViT CLIP, the file of weights is
    missing or of another architecture, or the download fails.
    """
    path = weights_file(spec)
    state, openai_archive = read_state_dict(path)
    return clip_from_state_dict(spec, state, device, source=path, quick_gelu=openai_archive)


def clip_from_state_dict(
    spec: ClipSettings,
    state: dict[str, torch.Tensor],
    device: str | torch.device = "cpu",
    *,
    source: str | Path = "the given state dict",
    quick_gelu: bool = False,
) -> Clip:
    """Build the architecture of `spec` around a state dict with OpenAI's or open_clip's keys.

    quick_gelu: the weights were trained with QuickGELU whatever `spec.model` says. `source` names
    the weights in error messages. Raises ReclipError as `load_clip` does.
    """
    import torch
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.model import CLIP
    from open_clip.pretrained import get_pretrained_cfg
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transformer import QuickGELU

    tag = (get_pretrained_cfg(spec.model, spec.pretrained) if spec.pretrained else None) or {}
    config, mean, std = _architecture(spec.model)
    if quick_gelu or tag.get("quick_gelu"):
        config["quick_gelu"] = True
    try:
        model = CLIP(**config)
    except TypeError as error:
        raise ReclipError(
            f"{spec.model} is not a plain CLIP; name a ViT such as ViT-B-16 as clip.model."
        ) from error
    _require_plain_vit(spec.model, model)
    _fill(model, state, spec.model, source)
    for block in model.visual.transformer.resblocks:
        if spec.activation != "default":
            block.mlp.gelu = QuickGELU() if spec.activation == "quick_gelu" else torch.nn.GELU()
        if spec.block_ln_eps is not None:
            block.ln_1.eps = block.ln_2.eps = spec.block_ln_eps
    return Clip(
        model.to(device=device, dtype=torch.float32),
        SimpleTokenizer(context_length=model.context_length),
        mean or tag.get("mean", OPENAI_DATASET_MEAN),
        std or tag.get("std", OPENAI_DATASET_STD),
    )


def weights_file(spec: ClipSettings) -> Path:
    """The file that holds the weights of `spec`, downloaded by open_clip if need be."""
    local = _local_weights(spec)
    if local is not None:
        if not local.is_file():
            raise ReclipError(
                f"There is no file of CLIP weights at {local}; correct clip.checkpoint."
            )
        return local
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    tag = get_pretrained_cfg(spec.model, spec.pretrained) if spec.pretrained else None
    if not tag:
        raise ReclipError(
            f"No weights are named for {spec.model} (clip.pretrained is {spec.pretrained!r}); set"
            " clip.pretrained to a tag that open_clip knows (openai) or clip.checkpoint to a file."
        )
    try:
        # The original file rather than a converted copy: its sha256 is known and checked.
        return Path(download_pretrained(tag, prefer_hf_hub=False))
    except Exception as error:  # network, disk, proxy, hub: all mended in the same way
        where = tag.get("url") or f"https://huggingface.co/{tag.get('hf_hub', '').rstrip('/')}"
        raise ReclipError(
            f"Could not download the {spec.pretrained} weights of {spec.model} ({error}); fetch"
            f" {where} on another machine and give the file's path as clip.checkpoint."
        ) from error


def read_state_dict(path: Path) -> tuple[dict[str, torch.Tensor], bool]:
    """Tensors by name, and whether the file is an OpenAI TorchScript archive.

    Never unpickles objects. Raises ReclipError where the file holds no state dict.
    """
    import torch
    from safetensors.torch import load_file

    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path), False
        if _is_torchscript(path):
            state = torch.jit.load(str(path), map_location="cpu").state_dict()
            no_weights = {"input_resolution", "context_length", "vocab_size", "attn_mask"}
            return {name: t for name, t in state.items() if name not in no_weights}, True
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ReclipError(
            f"{path} cannot be read as CLIP weights ({type(error).__name__}); it must be a"
            " safetensors file, a .pt state dict or OpenAI's TorchScript archive."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    if not state or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise ReclipError(f"{path} holds no CLIP state dict; give a file of weights alone.")
    return {name.removeprefix("module."): t for name, t in state.items()}, False


def _local_weights(spec: ClipSettings) -> Path | None:
    if spec.checkpoint is not None:
        return Path(spec.checkpoint).expanduser()
    return Path(str(_asset("mini-clip.safetensors"))) if spec.model == MINI_CLIP else None


def _asset(name: str) -> Any:
    return resources.files("reclip") / "assets" / name


def _architecture(name: str) -> tuple[dict[str, Any], Any, Any]:
    """Arguments of open_clip's CLIP, and (mini-clip only) its mean and std."""
    if name == MINI_CLIP:
        asset = json.loads(_asset("mini-clip.json").read_text())
        return dict(asset["model_cfg"]), asset["mean"], asset["std"]
    from open_clip.factory import get_model_config

    config = get_model_config(name)
    if config is None:
        raise ReclipError(
            f"There is no CLIP model {name!r}; name mini-clip or one of open_clip's, such as"
            " ViT-B-16, as clip.model."
        )
    return config, None, None


def _require_plain_vit(name: str, model: CLIP) -> None:
    """The dense features and the Reference read these parts of the two towers directly."""
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
    from torch import nn

    visual = model.visual
    plain = (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and not visual.final_ln_after_pool
        and model.text_pool_type == "argmax"
        and isinstance(model.text_projection, nn.Parameter)
        and all(
            isinstance(block, ResidualAttentionBlock) and isinstance(block.ls_1, nn.Identity)
            for tower in (visual.transformer, model.transformer)
            for block in tower.resblocks
        )
    )
    if not plain:
        raise ReclipError(
            f"The towers of {name} differ from CLIP's ViT; name a model such as ViT-B-16."
        )


def _fill(model: CLIP, state: dict[str, torch.Tensor], name: str, source: str | Path) -> None:
    own = model.state_dict()
    wrong = [
        key
        for key in sorted(own.keys() | state.keys())
        if key not in own or key not in state or own[key].shape != state[key].shape
    ]
    if wrong:
        shapes = [tuple(d[wrong[0]].shape) if wrong[0] in d else "absent" for d in (state, own)]
        raise ReclipError(
            f"The weights in {source} do not fit {name}: {wrong[0]} is {shapes[0]} there and"
            f" {shapes[1]} in the model ({len(wrong)} such tensors); correct clip.model or"
            " clip.checkpoint."
        )
    model.load_state_dict(state)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
