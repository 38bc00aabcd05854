"""`params.yaml` as typed models: every setting, its default and where that default comes from.

Sources in the comments: *paper* (section), *official* (the authors' code, CVPR-era recipe), *ours*.
The paper comes first, the official code where the paper is silent. Where the two contradict each
other the default is the paper's, and `compat: official` takes the code's (`reclip.config.compat`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from reclip.config.base import Name, Seed, Seeds, Settings, without_password
from reclip.config.sources import Source


def _ascending(values: tuple[float, float]) -> tuple[float, float]:
    if not 0 < values[0] <= values[1]:
        raise ValueError("give the least and the greatest factor, both above 0")
    return values


class ComputeSettings(Settings):
    """Where a job computes. Fixed threads: their number changes the last bits of a sum."""

    device: str = "auto"
    threads: int = Field(1, gt=0)  # a job; the front ends run several jobs side by side
    # Further threads of a job that read photos ahead; on a GPU give 8 or more. No result depends on
    # them, so they are no part of what makes an output stale.
    loaders: int = Field(0, ge=0, exclude=True)


class ClipSettings(Settings):
    """The frozen CLIP and how its dense features are read (paper Sec. 3.1)."""

    model: str = "ViT-B-16"  # paper Sec. 4.1
    pretrained: str | None = None  # open_clip tag, e.g. "openai"
    # A weights file instead of a tag: OpenAI's .pt, open_clip's .pt or safetensors.
    checkpoint: str | None = None
    # "quick_gelu" is for both towers; "gelu" for the image tower alone, as in the official code.
    activation: Literal["default", "gelu", "quick_gelu"] = "default"
    block_ln_eps: float | None = None  # official: 1e-6 in the visual blocks; None: the model's own
    residual: bool = True  # official (after MaskCLIP): the last block keeps its residual
    mlp: bool = True  # official (after MaskCLIP): ... and its MLP
    norm: Literal["clip", "imagenet"] = "clip"  # official CVPR recipe: imagenet
    cache_dtype: Literal["float16", "float32"] = "float16"  # ours: half the disk; official: float32


class ImageSettings(Settings):
    """How a photo is read: resized so that the short side is `short_side` (None: own size).

    protocol: "whole" reads it in one piece; "slide" in windows of side `window` every `stride`
    pixels, their logits averaged where they overlap (as later open-vocabulary work evaluates).
    """

    short_side: int | None = Field(None, gt=0)
    long_side: int = Field(2048, gt=0)  # official: (2048, short side), aspect ratio kept
    protocol: Literal["whole", "slide"] = "whole"  # official
    window: int = Field(224, gt=0)  # SCLIP's
    stride: int = Field(112, gt=0)  # SCLIP's
    # Cells that reach over the edge: "cut" where the image ends; "squeezed": the whole grid is
    # resized to the image, which moves everything by up to a cell.
    overhang: Literal["cut", "squeezed"] = "cut"  # official: squeezed

    @model_validator(mode="after")
    def _windows_touch(self) -> ImageSettings:
        if self.stride > self.window:
            raise ValueError("`stride` must not exceed `window`, or pixels are left out")
        return self


class PromptSettings(Settings):
    templates: Literal["single", "imagenet", "reclip"] = "reclip"  # official: 85 templates


class ViewSettings(Settings):
    """Seeded augmented views of the training images, cached once and cycled through."""

    count: int = Field(4, gt=0)  # ours: a bounded set stands for endless redraws
    seed: Seed = 0
    crop: int = Field(512, gt=0)  # official, VOC
    scale: Annotated[tuple[float, float], AfterValidator(_ascending)] = (0.5, 2.0)  # official
    flip: float = Field(0.5, ge=0, le=1)  # official
    photometric: bool = True  # official: brightness, contrast, saturation, hue


class HypothesisSettings(Settings):
    """Which classes an image may hold (paper Sec. 3.4)."""

    threshold: float = 23.0  # official, VOC: 100 × cosine
    fallback_k: int = Field(2, gt=0)  # official, VOC: the top K where none passes
    image: Literal["whole", "centre_crop"] = "whole"  # official: centre crop; paper: the image


class OptimiserSettings(Settings):
    """SGD with the poly schedule (paper Sec. 4.1); momentum from the official code."""

    lr: float = Field(0.01, gt=0)
    min_lr: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0005, ge=0)
    power: float = Field(0.9, gt=0)


class RectifySettings(OptimiserSettings):
    """Learning the bias of CLIP (paper Sec. 3.2 to 3.4)."""

    reference: bool = True
    learn_query: bool = False  # Table 3's variant
    query_words: str = "a photo of a"  # where a learnable Query starts; ours, after CoOp
    positional: bool = True
    combine: Literal["subtract", "add"] = "subtract"  # Table 5
    prompt_length: int = Field(73, gt=0)  # paper Sec. 3.2
    class_slots: Literal["any", "official"] = "any"  # official: three token slots for a name
    normalise_reference: Literal["frobenius", "row", "none"] = "frobenius"  # official
    positional_channels: Literal["class", "one"] = "class"  # official; "one" (paper) cancels
    positional_hidden: tuple[int, int] = (512, 256)  # official
    positional_final_relu: bool = False  # paper Sec. 3.3: normalisation comes last; official: true
    positional_init: float = Field(1.0, gt=0)  # initial weight of the last normalisation; official
    gumbel_scale: float = Field(1000.0, gt=0)  # official
    gumbel_tau: float = Field(1.0, gt=0)  # official
    tau: float = Field(0.01, gt=0)  # Eq. 5; official: one over CLIP's logit scale of 100
    pool_over: Literal["all", "mask"] = "all"  # paper: global average pooling of Z_g
    padding: Literal["ignored", "counted"] = "ignored"  # official: padded cells enter mask and pool
    epochs: int = Field(200, gt=0)  # official, VOC
    batch: int = Field(16, gt=0)  # official's file says 16; its loader ran 1


class DistillSettings(OptimiserSettings):
    """The DeepLabV2 student (paper Sec. 3.5)."""

    min_lr: float = Field(1e-4, ge=0)  # official
    backbone: str = "resnet50c"  # official: ResNet-50 v1c, OS 8
    backbone_args: dict[str, Any] = {}
    pretrained: bool = True
    checkpoint: str | None = None
    head: Literal["classifier", "query", "query_reference", "query_reference_positional"] = (
        "query_reference"  # paper Table 6
    )
    branch_relu: bool = False  # ours: CLIP's features have both signs; official: true
    detach_feature: bool = False  # official: its feature and text losses reach no weight
    alpha: float = Field(0.5, ge=0)  # paper Sec. 3.5: weight of the feature loss
    beta: float = Field(0.5, ge=0)  # paper Sec. 3.5: weight of the text loss
    logit_scale: float = Field(1.0, gt=0)  # official: cosines enter the mask loss unscaled
    tau: float = Field(0.01, gt=0)  # of the text loss, as in rectification
    feature_resolution: Literal["image", "grid"] = "image"  # paper: resized to the image
    gumbel_scale: float = Field(1000.0, gt=0)
    gumbel_tau: float = Field(1.0, gt=0)
    epochs: int = Field(100, gt=0)  # official, VOC
    batch: int = Field(16, gt=0)  # official


class ProbeSettings(OptimiserSettings):
    """Linear classification on the frozen student feature (after MaskContrast; paper Sec. 4.2)."""

    lr: float = Field(0.1, gt=0)  # MaskContrast
    weight_decay: float = Field(1e-4, ge=0)  # MaskContrast
    epochs: int = Field(60, gt=0)  # MaskContrast
    batch: int = Field(16, gt=0)  # MaskContrast


class DenoisingSettings(Settings):
    """Prompt denoising: a class whose best softmax over the whole image is low is left out.

    After MaskCLIP; the paper never mentions it, the official code has it with thresholds that were
    tuned on labels. The softmax is over classes, of `denoising_scale` times the logits.
    """

    prompt_denoising: bool = False  # official: true
    denoising_threshold: float = Field(0.5, gt=0, le=1)  # official; 0.6 for Context at test time
    denoising_scale: float = Field(100.0, gt=0)  # official, at test time


class PseudoMaskSettings(DenoisingSettings):
    """The teacher's masks of the training images (paper Sec. 3.5)."""

    denoising_scale: float = Field(10.0, gt=0)  # official, for the masks that teach


class EvaluateSettings(DenoisingSettings):
    """Prediction on the val split; denoising is for the Query and rectified CLIP, not students."""

    distance_bins: int = Field(8, gt=1)  # ours: Fig. 1(a) does not say


class TrackingSettings(Settings):
    """Where MLflow mirrors the results; `MLFLOW_TRACKING_URI` overrides `uri`."""

    enabled: bool = True
    uri: Annotated[str, without_password("set MLFLOW_TRACKING_URI instead")] = "sqlite:///mlflow.db"
    # When Snakemake's jobs are logged: each as it ends, or all when the run ends or fails, which
    # saves two seconds (MLflow's import) a job. A stage by hand or under DVC is logged as it ends.
    when: Literal["stage", "end"] = "stage"


class SeedSettings(Settings):
    """Seeds of each kind of run; a table cell is the mean over them."""

    rectify: Seeds = (0, 1, 2)
    distill: Seeds = (0,)
    probe: Seeds = (0,)


# Sections that a dataset may override for all of its runs.
DATASET_SECTIONS: dict[str, type[Settings]] = {
    "image": ImageSettings,
    "prompts": PromptSettings,
    "views": ViewSettings,
    "hypotheses": HypothesisSettings,
    "rectify": RectifySettings,
    "pseudo_mask": PseudoMaskSettings,
    "distill": DistillSettings,
    "probe": ProbeSettings,
    "evaluate": EvaluateSettings,
}
# Those that a run may override again.
RUN_SECTIONS = ("rectify", "pseudo_mask", "distill", "probe", "evaluate")


class DatasetSettings(Settings):
    source: Source = Field(discriminator="kind")
    image: dict[str, Any] = {}
    prompts: dict[str, Any] = {}
    views: dict[str, Any] = {}
    hypotheses: dict[str, Any] = {}
    rectify: dict[str, Any] = {}
    pseudo_mask: dict[str, Any] = {}
    distill: dict[str, Any] = {}
    probe: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}


class RunSettings(Settings):
    """One row of one table: a dataset, a method, and what differs from the sections above."""

    dataset: str
    method: Literal["query", "rectify", "distill", "probe"]
    teacher: str | None = None  # distill: the run whose masks teach
    student: str | None = None  # probe: the run whose feature is probed
    seeds: Seeds | None = None
    rectify: dict[str, Any] = {}
    pseudo_mask: dict[str, Any] = {}
    distill: dict[str, Any] = {}
    probe: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}


class Cell(Settings):
    """A value of a table: the paper's, and the run that measures ours (none: cited only)."""

    paper: float | None = None
    run: str | None = None


class Row(Settings):
    """protocol: how a cited number was measured where that differs from ours."""

    row: str
    protocol: str | None = None
    marks: dict[str, str] = {}  # the paper's tick columns, e.g. {"LC": "✓"}
    cells: dict[str, Cell]


class Table(Settings):
    title: str
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _rows_differ(self) -> Table:
        names = [row.row for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("two rows of a table have the same name")
        return self


class Check(Settings):
    """What `snakemake mini_check` compares, seed by seed."""

    query: str
    rectified: str
    distilled: str


class Params(Settings):
    """The whole of `params.yaml`."""

    experiment: Name
    compat: Literal["paper", "official"] = "paper"  # which of the two where they contradict
    downloads: str = "downloads"  # official archives are looked for, and downloaded, here
    compute: ComputeSettings = ComputeSettings()
    clip: ClipSettings
    image: ImageSettings = ImageSettings()
    prompts: PromptSettings = PromptSettings()
    views: ViewSettings = ViewSettings()
    hypotheses: HypothesisSettings = HypothesisSettings()
    rectify: RectifySettings = RectifySettings()
    pseudo_mask: PseudoMaskSettings = PseudoMaskSettings()
    distill: DistillSettings = DistillSettings()
    probe: ProbeSettings = ProbeSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    tracking: TrackingSettings = TrackingSettings()
    seeds: SeedSettings = SeedSettings()
    datasets: dict[Name, DatasetSettings]
    runs: dict[Name, RunSettings]
    tables: dict[Name, Table] = {}
    check: Check | None = None
