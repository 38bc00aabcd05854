"""Every point at which paper, official code and this package could differ, with its source.

The list has each setting that a number of the tables depends on, and what the official code does
that is no setting here. `reclip.config.compat` applies it; `reclip compat` and docs/paper.md show
it. *Official code* is the authors' code at the time of the paper (CVPR-era recipe).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Kind = Literal["text", "code", "fault", "ours"]

KINDS: dict[Kind, str] = {
    "text": "the paper's text says so",
    "code": "the text is silent, or cannot be carried out; the official code decides",
    "fault": "the official code contradicts the text or reads labels; this is not repeated",
    "ours": "neither has it, or neither fits; our choice",
}


class By(NamedTuple):
    """A value for each of the paper's datasets."""

    voc: Any
    context: Any
    ade: Any

    def __str__(self) -> str:
        return " / ".join(map(str, self))


class Same:
    """The official code's value is the paper's."""


class Point(NamedTuple):
    """One point.

    Attributes:
        key: the setting, such as `rectify.batch`. Without a dot: what is no setting.
        paper: the value under `compat: paper`, by the rule of the kind.
        source: of that value.
        effect: what is known of the difference, or that nothing is.
        official: the value under `compat: official`.
        rows: the rows of tables that have another value.
    """

    key: str
    kind: Kind
    paper: Any
    source: str
    effect: str = ""
    official: Any = Same
    rows: str = ""

    @property
    def section(self) -> str:
        """The section of the settings file; empty if the point is no setting."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]

    def under(self, side: Literal["paper", "official"]) -> Any:
        return self.paper if side == "paper" or self.official is Same else self.official


CODE, MASKCLIP, CONTRAST = "official code", "MaskCLIP", "MaskContrast (Sec. 4.2)"

# fmt: off

CLIP = (
    Point("clip.model", "text", "ViT-B-16-quickgelu", "Sec. 4.1: ViT-B/16",
          "the name says what OpenAI's weights were trained with; see clip.activation"),
    Point("clip.pretrained", "text", "openai", "Sec. 4.1"),
    Point("clip.checkpoint", "ours", None, "a file in place of a download"),
    Point("clip.activation", "code", "gelu", CODE,
          "the weights have QuickGELU; GELU with ImageNet's mean, whole: 49.5 on VOC; "
          "QuickGELU, CLIP's mean, windows, other names: 74.9"),
    Point("clip.block_ln_eps", "code", 1e-6, CODE, "rounding alone"),
    Point("clip.attention", "text", "value", "Sec. 3.1: the value path alone",
          "later extractors: see docs/strong.md"),
    Point("clip.residual", "code", True, f"{CODE}; Sec. 3.1 follows {MASKCLIP}, whose code has it",
          "without residual and MLP, 74.9 / 26.4 / 9.8 on VOC / Context / ADE become 61.4 / 28.3 / "
          "13.6 (ClearCLIP's protocol)"),
    Point("clip.mlp", "code", True, f"{CODE}; Sec. 3.1 follows {MASKCLIP}, whose code has it",
          "see clip.residual"),
    Point("clip.norm", "code", "imagenet", CODE, "see clip.activation"),
    Point("clip.cache_dtype", "ours", "float16", "half the disk",
          "moves a value of a feature by at most one in 2,000", official="float32"),
)

READING = (
    Point("image.short_side", "code", By(512, 520, 512), CODE),
    Point("image.long_side", "code", By(2048, 520, 2048), CODE),
    Point("image.protocol", "code", "whole", CODE, "windows of 224: see clip.activation"),
    Point("image.window", "ours", 224, "SCLIP's; not used"),
    Point("image.stride", "ours", 112, "SCLIP's; not used"),
    Point("image.overhang", "code", "squeezed", CODE,
          "moves logits by up to a patch where a side is no multiple of 16; not measured"),
    Point("prompts.templates", "code", "reclip", f"{CODE}: 85; Sec. 3.1: several"),
    Point("views.count", "ours", 4, "features are cached; new views need the image tower each step",
          "the code draws new views in every epoch; on mini 2, 4, 8 and ever new ones make no "
          "decided difference (docs/findings.md)"),
    Point("views.seed", "ours", 0, "any"),
    Point("views.crop", "code", By(512, 480, 512), CODE),
    Point("views.scale", "code", (0.5, 2.0), CODE),
    Point("views.flip", "text", 0.5, f"Sec. 4.1 names it; probability: {CODE}"),
    Point("views.photometric", "code", True, f"{CODE}; Sec. 4.1: 'including' crops and flips"),
)

HYPOTHESES = (
    Point("hypotheses.threshold", "code", By(23.0, 20.0, 21.0), f"{CODE}; Sec. 3.4: t",
          "set for the untouched CLIP on its centre crop; 2.15 classes a photo on VOC's train"),
    Point("hypotheses.relative", "ours", None, "not used; for own photos (docs/own-photos.md)"),
    Point("hypotheses.fallback_k", "code", By(2, 6, 5), CODE),
    Point("hypotheses.image", "code", "centre_crop",
          f"{CODE}: CLIP's own crop, activation and mean; Sec. 3.4: the image",
          "with the whole photo and GELU, the thresholds do not fit the scores"),
    Point("hypotheses.window", "ours", 56, "not used; of ReCLIP++"),
    Point("hypotheses.stride", "ours", 28, "not used; of ReCLIP++"),
)

RECTIFY = (
    Point("rectify.lr", "text", 0.01, "Sec. 4.1"),
    Point("rectify.min_lr", "code", 0.0, CODE),
    Point("rectify.momentum", "code", 0.9, CODE),
    Point("rectify.weight_decay", "text", 0.0005, "Sec. 4.1",
          "on the prompt and the batch norms, too, as in the official code"),
    Point("rectify.power", "text", 0.9, "Sec. 4.1"),
    Point("rectify.schedule", "code", "epoch", f"{CODE}: the rate falls once an epoch",
          "rates differ by less than 1%"),
    Point("rectify.horizon", "ours", None, "all epochs are trained"),
    Point("rectify.order", "code", "same", f"{CODE}: one order of the photos for all epochs",
          "not measured"),
    Point("rectify.micro_batch", "ours", None, "memory"),
    Point("rectify.held_out", "ours", 0, "all photos train"),
    Point("rectify.epochs", "code", By(200, 150, 150), f"{CODE}; paper: supplementary"),
    Point("rectify.batch", "code", 1, f"{CODE}: its file says 16, its loader takes 1",
          "16 times more updates than batch 16; recipe `batched` has 16 at 16 times the rate. On "
          "mini both diverge; where it is stable, a quarter or four times the updates make no "
          "decided difference (docs/findings.md)"),
    Point("rectify.model", "text", "reclip", "Eq. 3"),
    Point("rectify.reference", "text", True, "Sec. 3.2"),
    Point("rectify.learn_query", "text", False, "Sec. 3.2", rows="Table 3"),
    Point("rectify.query_words", "ours", "a photo of a", "after CoOp; Table 3 has no code"),
    Point("rectify.positional", "text", True, "Sec. 3.3", rows="Tables 3 and 4"),
    Point("rectify.combine", "text", "subtract", "Eq. 3", rows="Table 5"),
    Point("rectify.prompt_length", "text", 73, "Sec. 3.2"),
    Point("rectify.class_slots", "fault", "any", "Sec. 3.2: the prompt ends with the class name",
          "three slots cut the end token, and more, of names of three tokens: three of ADE's "
          "('skyscraper' reads 'scra')", official="official"),
    Point("rectify.normalise_reference", "code", "frobenius", CODE,
          "rows of W_r are about C^-1/2 long"),
    Point("rectify.positional_channels", "code", "class", f"{CODE}; Eq. 2: one for all classes",
          "one channel cancels in the softmax and has no effect at all"),
    Point("rectify.positional_hidden", "code", (512, 256), CODE),
    Point("rectify.positional_final_relu", "code", True,
          f"{CODE}; Sec. 3.3 names normalisations and no activation",
          "positional logits are never below 0: the bias can only lower a class"),
    Point("rectify.positional_init", "code", 1.0, CODE),
    Point("rectify.gumbel_scale", "code", 1000.0, f"{CODE}; Eq. 4 has only tau_1"),
    Point("rectify.gumbel_tau", "code", 1.0, CODE),
    Point("rectify.tau", "code", 0.01, f"{CODE}: CLIP's logit scale of 100; Eq. 5: a constant"),
    Point("rectify.pool_over", "text", "all", "Sec. 3.4: global average pooling of Z_g",
          "over the mask: on mini worse masks at a lower loss (docs/findings.md)"),
    Point("rectify.padding", "code", "counted", CODE,
          "padded cells enter masks and pools; views smaller than the crop have them"),
)


def _denoising(section: str, scale: float, threshold: Any) -> tuple[Point, ...]:
    tuned = "the paper never mentions it; its thresholds were tuned on labels of val"
    return (
        Point(f"{section}.prompt_denoising", "fault", False, tuned,
              "removes classes that are nowhere certain; 4 points of ReCLIP++ on VOC, says a study",
              official=True),
        Point(f"{section}.denoising_threshold", "code", threshold, CODE, "not used"),
        Point(f"{section}.denoising_scale", "code", scale, CODE, "not used"),
        Point(f"{section}.pamr", "ours", 0, "neither has it"),
        Point(f"{section}.pamr_dilations", "ours", (8, 16), "not used; NACLIP's"),
    )


DISTILL = (
    *_denoising("pseudo_mask", 10.0, 0.5),
    Point("distill.lr", "text", 0.01, "Sec. 4.1"),
    Point("distill.min_lr", "code", 1e-4, CODE),
    Point("distill.momentum", "code", 0.9, CODE),
    Point("distill.weight_decay", "text", 0.0005, "Sec. 4.1"),
    Point("distill.power", "text", 0.9, "Sec. 4.1"),
    Point("distill.schedule", "code", "epoch", f"{CODE}: the rate falls once an epoch",
          "rates differ by less than 1%"),
    Point("distill.horizon", "ours", None, "all epochs are trained"),
    Point("distill.order", "ours", "new", "the code's order in distillation was not looked at"),
    Point("distill.micro_batch", "ours", None, "memory"),
    Point("distill.held_out", "ours", 0, "all photos train"),
    Point("distill.epochs", "code", By(100, 150, 150), f"{CODE}; paper: supplementary",
          rows="MaskCLIP+: MaskCLIP's 2,000, 4,000 and 8,000 iterations"),
    Point("distill.batch", "code", 16, CODE),
    Point("distill.backbone", "code", "resnet50c", f"{CODE}: ResNet-50 v1c; Sec. 3.5: DeepLab V2",
          rows="MaskCLIP+: MaskCLIP's ResNet-101 v1c"),
    Point("distill.backbone_args", "ours", {}, "none"),
    Point("distill.pretrained", "code", True, f"{CODE}: ImageNet"),
    Point("distill.checkpoint", "ours", None, "a file in place of a download"),
    Point("distill.head", "text", "query_reference", "Sec. 3.5, Table 6",
          rows="Table 6; MaskCLIP+"),
    Point("distill.branch_relu", "code", True, CODE,
          "features are never below 0, so they cannot match CLIP's in the feature loss"),
    Point("distill.detach_feature", "fault", False, "Eqs. 7 and 8: the losses train the student",
          "without a gradient, only the mask loss trains (Table 7's first row)", official=True),
    Point("distill.alpha", "text", 0.5, "Sec. 3.5", rows="Table 7; MaskCLIP+"),
    Point("distill.beta", "text", 0.5, "Sec. 3.5", rows="Table 7; MaskCLIP+"),
    Point("distill.logit_scale", "code", 1.0, f"{CODE}: unscaled cosines",
          "the mask loss is then small beside the text loss"),
    Point("distill.tau", "text", 0.01, "Sec. 3.5: the strategy of Sec. 3.4",
          "the code multiplies by 4.605 instead of 100, without a gradient"),
    Point("distill.feature_resolution", "text", "image", "Sec. 3.5"),
    Point("distill.gumbel_scale", "text", 1000.0, "Sec. 3.5: the strategy of Sec. 3.4"),
    Point("distill.gumbel_tau", "text", 1.0, "Sec. 3.5: the strategy of Sec. 3.4"),
)

PROBE = (
    Point("probe.lr", "text", 0.1, CONTRAST),
    Point("probe.min_lr", "text", 0.0, CONTRAST),
    Point("probe.momentum", "text", 0.9, CONTRAST),
    Point("probe.weight_decay", "text", 1e-4, CONTRAST),
    Point("probe.power", "ours", 0.9, "not used"),
    Point("probe.schedule", "text", "drop", f"{CONTRAST}: a tenth of the rate from epoch 25 of 60"),
    Point("probe.horizon", "ours", None, "all epochs are trained"),
    Point("probe.order", "text", "new", CONTRAST),
    Point("probe.micro_batch", "ours", None, "memory"),
    Point("probe.held_out", "ours", 0, "all photos train"),
    Point("probe.epochs", "text", 60, CONTRAST),
    Point("probe.batch", "text", 16, CONTRAST),
)

EVALUATE = (
    *_denoising("evaluate", 100.0, By(0.5, 0.6, 0.5)),
    Point("evaluate.distance_bins", "ours", 8, "Fig. 1(a) gives no number"),
)

SEEDS = (
    Point("seeds.rectify", "ours", (0, 1, 2), "the paper does not say"),
    Point("seeds.distill", "ours", (0,), "the paper does not say"),
    Point("seeds.probe", "ours", (0,), "the paper does not say"),
)

SETTINGS = (*CLIP, *READING, *HYPOTHESES, *RECTIFY, *DISTILL, *PROBE, *EVALUATE, *SEEDS)
"""A point for each setting that a number of the tables depends on."""

NO_SETTING = (
    Point("crops", "fault", "anywhere", "no labels (Sec. 3)",
          "for rectification the code draws again where one label fills too much of a crop"),
    Point("foreground", "fault", "all pixels teach the student", "no labels (Sec. 3), Eq. 6",
          "in the code only pixels with a label other than background do"),
    Point("checkpoint", "fault", "the last", "no labels (Sec. 3)",
          "the code keeps the one with the best mIoU on val"),
    Point("hypotheses and photos", "fault", "matched by the photo's id", "Sec. 3.4",
          "the code matches by line with a list in the file system's order; for ADE the released "
          "lists of ReCLIP++ are then as good as chance (a later study)"),
    Point("masks of the text loss", "text", "the student's", "Sec. 3.5",
          "the code takes the teacher's, without a gradient"),
    Point("masks that teach", "text", "those of the rectification stage, of whole photos",
          "Sec. 3.5",
          "the code makes them for every crop anew, with batch statistics in the positional net"),
    Point("mean of the mask loss", "text", "over the pixels of the image", "Eq. 6",
          "the code also counts padding, as 0"),
    Point("texts and hypotheses", "ours", "float32", "the code rounds texts to float16",
          "scores of one photo move by at most 0.002 of the threshold's unit (golden numbers)"),
    Point("photos of the linear classifier", "ours", "VOC's 1,464, in the student's views",
          "MaskContrast: 10,582 (trainaug), with flips, rotations and scales",
          "not measured; MaskContrast also keeps the best epoch on val, and this package the last"),
    Point("running statistics of the backbone", "ours", "loaded with the weights",
          "the code starts at 0 and 1", "training replaces them"),
)
"""What the official code does that is no setting here, and what this package does."""
