"""Points where the paper and the official code contradict each other; `compat` picks a side.

`compat: paper` stands for the defaults of `reclip.config.models`. `compat: official` replaces these
defaults by the code's values; a value in the settings file still wins. The official code also reads
labels in training, to pick crops, foreground pixels and checkpoints. There is no option for this.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Difference(NamedTuple):
    """A setting, and the official code's value (CVPR-era recipe)."""

    section: str
    key: str
    official: Any
    what: str


DIFFERENCES = (
    Difference("clip", "residual", True, "the last block keeps its residual; the paper is silent"),
    Difference("clip", "mlp", True, "the last block keeps its MLP; the paper is silent"),
    Difference("clip", "activation", "gelu", "GELU in the image tower, which CLIP never saw"),
    Difference("clip", "block_ln_eps", 1e-6, "of the layer norms in the image tower's blocks"),
    Difference("clip", "norm", "imagenet", "ImageNet's mean and deviation for both networks"),
    Difference("clip", "cache_dtype", "float32", "features are computed anew, in float32"),
    Difference("image", "overhang", "squeezed", "the padded grid is resized to the image"),
    Difference("prompts", "templates", "reclip", "85 templates; the paper says several"),
    Difference("hypotheses", "image", "centre_crop", "CLIP's centre crop; the paper: the image"),
    Difference("rectify", "class_slots", "official", "3 token slots for a name and its end"),
    Difference("rectify", "normalise_reference", "frobenius", "W_r over its norm as a matrix"),
    Difference("rectify", "positional_channels", "class", "a channel a class; the paper: one"),
    Difference("rectify", "positional_final_relu", True, "ReLU after the last normalisation"),
    Difference("rectify", "positional_init", 1.0, "initial weight of the last normalisation"),
    Difference("rectify", "gumbel_scale", 1000.0, "a factor on M beside the paper's tau_1"),
    Difference("rectify", "pool_over", "all", "the pool divides by all positions"),
    Difference("rectify", "padding", "counted", "padded cells enter masks and pools"),
    Difference("rectify", "batch", 1, "the loader ignores the 16 of its settings file"),
    Difference("pseudo_mask", "prompt_denoising", True, "of the teacher's masks; not in the paper"),
    Difference("distill", "branch_relu", True, "ReLU in every branch: no feature below 0"),
    Difference("distill", "detach_feature", True, "feature and text losses have no gradient"),
    Difference("distill", "logit_scale", 1.0, "cosines enter the mask loss unscaled"),
    Difference("evaluate", "prompt_denoising", True, "at test time; not in the paper"),
)
