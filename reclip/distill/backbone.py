"""The student's backbone: a dilated timm network, from random numbers or from ImageNet weights.

timm itself loads weights into a network without its classifier leniently: what a file lacks keeps
its random start, and what is too much is left out, with no more than a line in the log. So the
weights are compared here, tensor by tensor, before timm gets them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from reclip.common.errors import ReclipError
from reclip.weights.identity import log_file, weights_sha256
from reclip.weights.releases import OPEN_MMLAB
from reclip.weights.state_dict import misfit, read_state_dict

KEY = "distill.checkpoint"

OPEN_MMLAB_STEM = {f"stem.{n}.": f"conv1.{n}." for n in (0, 1, 3, 4, 6)} | {"stem.7.": "bn1."}
"""open-mmlab's names of the deep stem, three pairs of convolution and norm, and timm's."""


def create_backbone(
    name: str,
    args: dict[str, Any],
    output_stride: int,
    *,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
) -> nn.Module:
    """Images (B, 3, H, W) to a list of one feature map (B, C, ceil(H/s), ceil(W/s)), s its stride.

    name: a timm model that knows `features_only` and `output_stride`; `resnet50c` is the official
    code's ResNet-50 v1c. args: further arguments of `timm.create_model`. pretrained: timm's own
    weights, downloaded. checkpoint: a file of weights instead, with timm's and torchvision's names
    or open-mmlab's, with or without a classifier. (The official code leaves out the running
    statistics of the batch norms, which training replaces; here all is loaded.)

    Raises ReclipError: timm has no such model or cannot build it so, or the weights are missing,
    cannot be read or downloaded, or differ from the model in any tensor but the classifier.
    """
    if not timm.is_model(name):
        raise ReclipError(f"timm has no model {name!r}: see `timm.list_models()` for the names.")
    state = None
    if checkpoint is not None:
        state = _read(name, Path(checkpoint).expanduser())
        source = f"'{checkpoint}'"
    elif pretrained:
        state = _download(name)
        source = "what timm downloads"
    args = {"output_stride": output_stride, **args}
    feature = {"features_only": True, "out_indices": (-1,)}
    if state is None:
        return _build(name, **feature, **args)
    _drop_classifier(name, state)
    _require_fit(name, args, state, source)
    weights = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}
    backbone = _build(name, **feature, **weights, **args)
    backbone.pretrained_cfg.pop("state_dict")  # or the weights would stay in memory twice
    return backbone


def _build(name: str, **args: Any) -> nn.Module:
    try:
        return timm.create_model(name, **args)
    except (TypeError, AssertionError, ValueError, NotImplementedError, AttributeError) as error:
        # What timm raises for an argument that a model does not know, output_stride among them.
        raise ReclipError(
            f"params: 'distill.backbone': timm cannot build {name} as a dilated network with "
            f"distill.backbone_args as given ({_first_line(error)}): change one or the other"
        ) from error


def _read(name: str, path: Path) -> dict[str, Tensor]:
    """The file's tensors under timm's names."""
    sha256 = weights_sha256(str(path), KEY, OPEN_MMLAB.get(name))
    log_file("backbone weights", path, sha256)
    state = read_state_dict(path, KEY)
    if "stem.7.weight" not in state:  # other models of timm have a "stem" too, a shorter one
        return state
    return {_timm_name(key): tensor for key, tensor in state.items()}


def _timm_name(key: str) -> str:
    stem = next((part for part in OPEN_MMLAB_STEM if key.startswith(part)), "")
    return OPEN_MMLAB_STEM.get(stem, "") + key.removeprefix(stem)


def _download(name: str) -> dict[str, Tensor]:
    config = timm.get_pretrained_cfg(name)
    try:
        # Apart, so that the student's own start is the same with weights from a file.
        with torch.random.fork_rng(devices=[]):
            return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # network, disk, hub: all mended in the same way
        hub = config.hf_hub_id if config else None
        file = (
            f"model.safetensors of https://huggingface.co/{hub}"
            if hub
            else "a file of ImageNet weights of that model"
        )
        raise ReclipError(
            f"Could not download timm's weights of {name} ({_first_line(error)}): fetch {file} on"
            f" another machine and name it as {KEY}."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _drop_classifier(name: str, state: dict[str, Tensor]) -> None:
    config = timm.get_pretrained_cfg(name)
    heads = (config.classifier if config else None) or "fc"
    for head in (heads,) if isinstance(heads, str) else heads:
        for leaf in ("weight", "bias"):
            state.pop(f"{head}.{leaf}", None)


def _require_fit(name: str, args: dict[str, Any], state: dict[str, Tensor], source: str) -> None:
    with torch.device("meta"):  # shapes alone
        wanted = timm.create_model(name, **{**args, "num_classes": 0}).state_dict()
    difference = misfit(state, wanted)
    if difference:
        release = OPEN_MMLAB.get(name)
        example = f", such as {release.url}" if release else ""
        raise ReclipError(
            f"{source} does not fit timm's {name} ({difference}): name weights of that very model"
            f" as {KEY}{example}."
        )
