"""The student's backbone: a dilated timm network with random or ImageNet weights.

Without a classifier, timm ignores missing and surplus tensors of a file and only logs them. So
this module compares weights with the model, tensor by tensor, before timm loads them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from reclip.common.errors import ReclipError
from reclip.weights.finite import not_finite
from reclip.weights.identity import backbone_file, log_file, weights_sha256
from reclip.weights.releases import OPEN_MMLAB
from reclip.weights.state_dict import misfit, read_state_dict

KEY = "distill.checkpoint"

OPEN_MMLAB_STEM = {f"stem.{n}.": f"conv1.{n}." for n in (0, 1, 3, 4, 6)} | {"stem.7.": "bn1."}
"""open-mmlab's to timm's names of the deep stem, three pairs of convolution and norm."""


def create_backbone(
    name: str,
    args: dict[str, Any],
    output_stride: int,
    *,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
) -> nn.Module:
    """Return a network that maps images (B, 3, H, W) to a list of one feature map.

    The map is (B, C, ceil(H/s), ceil(W/s)) at output stride s. All tensors of the weights are
    loaded. The official code skips the running statistics of batch norms, which training replaces.

    Args:
        name: a timm model with `features_only` and `output_stride`; `resnet50c` is the official
            code's ResNet-50 v1c. args: more arguments of `timm.create_model`.
        pretrained: download timm's weights. checkpoint: a file of weights instead, with or without
            a classifier, with the names of timm and torchvision or of open-mmlab; or the packaged
            `mini-backbone`.

    Raises ReclipError: timm has no such model or cannot build it; or the weights are missing,
        cannot be read or downloaded, or differ from the model in a tensor besides the classifier.
    """
    if not timm.is_model(name):
        raise ReclipError(f"timm has no model {name!r}: see `timm.list_models()` for the names.")
    state, source = None, f"'{checkpoint}'"
    if checkpoint is not None:
        state = _read(name, backbone_file(str(checkpoint)))
    elif pretrained:
        state, source = _download(name), "timm's download"
    args = {"output_stride": output_stride, **args}
    options = {"features_only": True, "out_indices": (-1,), "pretrained": state is not None}
    if state is not None:
        _drop_classifier(name, state)
        _require_fit(name, args, state, source)
        options["pretrained_cfg_overlay"] = {"state_dict": state}
    backbone = _build(name, options, args)
    if state is not None:
        backbone.pretrained_cfg.pop("state_dict")  # else the weights stay in memory twice
    return backbone


def _build(name: str, options: dict[str, Any], args: dict[str, Any]) -> nn.Module:
    """Return timm's model with our `options` and the user's `args`.

    Raises ReclipError: the model and these arguments do not go together.
    """
    try:
        return timm.create_model(name, **options, **args)
    except Exception as error:
        # Nothing is downloaded here, so model and arguments are the cause. timm hands the arguments
        # to the model's own code, which names few mistakes: a stride that it cannot have is an
        # AssertionError, an unknown argument a TypeError, an unknown act_layer a KeyError.
        raise ReclipError(
            f"params: 'distill.backbone': timm cannot build {name} as a dilated network with "
            f"these distill.backbone_args ({_first_line(error)}): change one of the two"
        ) from error


def _read(name: str, path: Path) -> dict[str, Tensor]:
    """Return the file's tensors under timm's names; log its sha256."""
    sha256 = weights_sha256(str(path), KEY, OPEN_MMLAB.get(name))
    log_file("backbone weights", path, sha256)
    state = read_state_dict(path, KEY)
    if "stem.7.weight" not in state:  # other models of timm have a shorter "stem"
        return state
    stem = re.compile(r"^stem\.\d\.")
    return {stem.sub(lambda m: OPEN_MMLAB_STEM.get(m[0], m[0]), k): t for k, t in state.items()}


def _download(name: str) -> dict[str, Tensor]:
    """Return timm's weights of a model. Raises ReclipError: the download fails."""
    config = timm.get_pretrained_cfg(name)
    try:
        # Fork the random state, so that the student starts as it does with weights from a file.
        with torch.random.fork_rng(devices=[]):
            return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # network, disk or hub: the same fix helps
        file = "a file of ImageNet weights of that model"
        if config and config.hf_hub_id:
            file = f"model.safetensors of https://huggingface.co/{config.hf_hub_id}"
        raise ReclipError(
            f"Could not download timm's weights of {name} ({_first_line(error)}): fetch {file} on"
            f" another machine and set {KEY} to its path."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _drop_classifier(name: str, state: dict[str, Tensor]) -> None:
    """Remove the classifier's tensors from `state`."""
    config = timm.get_pretrained_cfg(name)
    heads = (config.classifier if config else None) or "fc"
    for head in (heads,) if isinstance(heads, str) else heads:
        for leaf in ("weight", "bias"):
            state.pop(f"{head}.{leaf}", None)


def _require_fit(name: str, args: dict[str, Any], state: dict[str, Tensor], source: str) -> None:
    """Raise ReclipError if a tensor of `state` is missing, surplus, of another shape, or NaN."""
    with torch.device("meta"):  # shapes only
        wanted = _build(name, {"pretrained": False}, {**args, "num_classes": 0}).state_dict()
    if trouble := not_finite(state):
        raise ReclipError(f"{source} holds {trouble}: get the weights again, or others.")
    if difference := misfit(state, wanted):
        release = OPEN_MMLAB.get(name)
        example = f", such as {release.url}" if release else ""
        raise ReclipError(
            f"{source} does not fit timm's {name} ({difference}): set {KEY} to weights of exactly"
            f" this model{example}."
        )
