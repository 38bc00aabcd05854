"""The settings file as typed models: every setting, its default and the source of the default.

Comments name the source: *paper* (section), *official* (the authors' code, CVPR-era recipe) or
*ours*. The defaults are for a person with photos of their own. For the paper's experiments,
`compat` gives the values of the paper or of the official code (`reclip.config.points`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from reclip.config.base import Seed, Seeds, Settings, without_password


def _ascending(values: tuple[float, float]) -> tuple[float, float]:
    if not 0 < values[0] <= values[1]:
        raise ValueError("give the smallest and the largest factor, both above 0")
    return values


def _listed(value: Any) -> Any:
    """Accept `a` for `[a]`."""
    return [value] if isinstance(value, str) else value


NamesOfProtocol = Literal["sclip", "clearclip"]
"""Published protocols with class names of their own."""

Attention = Literal["value", "sclip", "clearclip", "naclip", "kk", "vanilla"]

Norm = Literal["clip", "imagenet", "inception"]
"""Mean and deviation of photos (`reclip.data.reading.MEAN_STD`)."""

PrecisionSetting = Literal["float32", "bfloat16", "auto"]


class ComputeSettings(Settings):
    """Device and threads of a job. The number of threads changes the last bits of a sum."""

    device: str = "auto"
    threads: int = Field(1, gt=0)  # of one job; several jobs run at a time
    # Make one graph of a training step's loss and gradient, on a GPU a CUDA graph (torch.compile).
    # To build it takes a minute, and a C++ compiler on a CPU. The last bits of a sum change.
    compile: bool = False
    # Of CLIP's image tower and the student (`reclip.device.precision`); all else is float32.
    # "auto": bfloat16 where the hardware has it. Results then depend on the machine.
    precision: PrecisionSetting = "float32"  # official
    # Threads that prefetch photos; with a GPU use 8 or more. No result depends on them, so a change
    # makes nothing stale.
    loaders: int = Field(0, ge=0, exclude=True)
    # Jobs in which Snakemake makes a dataset's features, side by side where GPUs or machines are
    # free. No result depends on it.
    feature_jobs: int = Field(1, gt=0, exclude=True)
    # Jobs that may share a GPU, each on a part of it; with 1 a job has its GPU alone.
    jobs_per_gpu: Literal[1, 2, 3, 4] = Field(1, exclude=True)
    # GPUs of one training, one process each; with device cpu, the number of processes. A result
    # depends on it in its last bits only, so a change makes nothing stale.
    gpus: int = Field(1, gt=0, exclude=True)


class ClipSettings(Settings):
    """The frozen CLIP and its dense features (paper Sec. 3.1)."""

    model: str = "ViT-B-16"  # paper Sec. 4.1
    pretrained: str | None = None  # open_clip tag, e.g. "openai"
    # A weights file instead of a tag: OpenAI's .pt, open_clip's .pt or .safetensors.
    checkpoint: str | None = None
    # "quick_gelu" acts on both towers, "gelu" on the image tower alone (official).
    activation: Literal["default", "gelu", "quick_gelu"] = "default"
    block_ln_eps: float | None = None  # official: 1e-6, image tower; None: the model's
    # How the last block's patches look at one another (`reclip.clip.attention`). "value" is
    # MaskCLIP's and the paper's: they do not.
    attention: Attention = "value"
    residual: bool = True  # official (after MaskCLIP): the last block keeps its residual
    mlp: bool = True  # official (after MaskCLIP): ... and its MLP
    norm: Norm = "clip"  # official CVPR recipe: imagenet
    cache_dtype: Literal["float16", "float32"] = "float16"  # ours: half the disk; official: float32


class ImageSettings(Settings):
    """How a photo is read: resized to a short side of `short_side` pixels (None: not resized).

    protocol: "whole" reads it in one piece. "slide" reads windows of `window` pixels every `stride`
        pixels and averages logits where they overlap, as later open-vocabulary work does.
    """

    short_side: int | None = Field(None, gt=0)
    long_side: int = Field(2048, gt=0)  # official: (2048, short side), aspect ratio kept
    protocol: Literal["whole", "slide"] = "whole"  # official
    window: int = Field(224, gt=0)  # SCLIP's
    stride: int = Field(112, gt=0)  # SCLIP's
    # Patches that reach over the image's edge. "cut": their logits are cut at the edge. "squeezed":
    # the whole grid is resized to the image, which moves logits by up to a patch.
    overhang: Literal["cut", "squeezed"] = "cut"  # ours; official: squeezed

    @model_validator(mode="after")
    def _windows_touch(self) -> ImageSettings:
        if self.stride > self.window:
            raise ValueError("`stride` must not exceed `window`, or pixels have no prediction")
        return self


class PromptSettings(Settings):
    templates: Literal["single", "imagenet", "reclip"] = "reclip"  # official: 85 templates


class ViewSettings(Settings):
    """Seeded augmented views of the training images, cached once and used in turn."""

    count: int = Field(4, gt=0)  # ours: official draws new views in every epoch
    seed: Seed = 0
    crop: int = Field(512, gt=0)  # official, VOC
    scale: Annotated[tuple[float, float], AfterValidator(_ascending)] = (0.5, 2.0)  # official
    flip: float = Field(0.5, ge=0, le=1)  # official
    photometric: bool = True  # official: brightness, contrast, saturation, hue


class HypothesisSettings(Settings):
    """Image-level hypotheses: the classes that an image may hold (paper Sec. 3.4)."""

    threshold: float = 23.0  # official, VOC: 100 × cosine
    # Instead of the threshold, for any CLIP: a class' score must rise by this share of the way from
    # its usual one (the mean over the training photos) to the photo's best.
    relative: float | None = Field(None, gt=0, lt=1)  # ours
    fallback_k: int = Field(2, gt=0)  # official, VOC: the top K if none passes
    # "whole": the photo as it is read for masks. "centre_crop": CLIP's own crop, read by CLIP as it
    # was trained, whatever `clip.activation` and `clip.norm` say. "windows": each class that wins a
    # window of the photo (ReCLIP++); the thresholds above are then not used.
    image: Literal["whole", "centre_crop", "windows"] = "whole"  # ours; official: centre_crop
    window: int = Field(56, gt=0)  # ReCLIP++, VOC: a sixth of the crop, in pixels of the photo
    stride: int = Field(28, gt=0)  # ReCLIP++, VOC: a twelfth of the crop

    @model_validator(mode="after")
    def _windows_have_winners(self) -> HypothesisSettings:
        if self.image == "windows" and self.relative is not None:
            raise ValueError(
                "`relative` is not used on windows, where the best class wins: set it to null"
            )
        return self


class OptimiserSettings(Settings):
    """SGD (paper Sec. 4.1); momentum from the official code."""

    lr: float = Field(0.01, gt=0)
    min_lr: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0005, ge=0)
    power: float = Field(0.9, gt=0)
    # How the rate falls. "step": poly, at every step. "epoch": poly, once an epoch. "drop": to a
    # tenth, after 25 of 60 epochs (MaskContrast).
    schedule: Literal["step", "epoch", "drop"] = "step"  # ours; official: epoch
    # Epochs after which the rate would reach its minimum, if the training ends before; None: its
    # own epochs. ReCLIP++ stops its trainings early.
    horizon: int | None = Field(None, gt=0)
    # Of the photos: a new one for each epoch, or one for all.
    order: Literal["new", "same"] = "new"  # ours; official: same
    # Images computed at a time, on all GPUs together, if a batch does not fit. The batch norms of
    # the student and of ReCLIP++ then take their statistics over these images.
    micro_batch: int | None = Field(None, gt=0)
    # Training photos that do not train: the loss on them says when the training is done. The same
    # ones for every run. Ours; the paper and the official code train on all.
    held_out: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _reaches_its_end(self) -> OptimiserSettings:
        if self.horizon is not None and self.horizon < self.epochs:
            raise ValueError(
                f"`horizon` ({self.horizon}) ends before the training: raise it to `epochs` "
                f"({self.epochs}) or more"
            )
        return self


class RectifySettings(OptimiserSettings):
    """Learning the bias of CLIP (paper Sec. 3.2 to 3.4)."""

    # "reclip++": the position meets the Reference, and a decoder reads features and logits
    # (`reclip.rectify.plus`; the authors' later code).
    model: Literal["reclip", "reclip++"] = "reclip"
    reference: bool = True
    learn_query: bool = False  # Table 3's variant
    query_words: str = "a photo of a"  # initial words of a learnable Query; ours, after CoOp
    positional: bool = True
    combine: Literal["subtract", "add"] = "subtract"  # Table 5
    prompt_length: int = Field(73, gt=0)  # paper Sec. 3.2
    class_slots: Literal["any", "official"] = "any"  # official: three tokens for a class name
    normalise_reference: Literal["frobenius", "row", "none"] = "frobenius"  # official
    positional_channels: Literal["class", "one"] = "class"  # official; "one" (paper) cancels
    positional_hidden: tuple[int, int] = (512, 256)  # official
    positional_final_relu: bool = False  # ours: logits of both signs; official: true
    positional_init: float = Field(1.0, gt=0)  # initial weight of the last normalisation; official
    gumbel_scale: float = Field(1000.0, gt=0)  # official
    gumbel_tau: float = Field(1.0, gt=0)  # official
    tau: float = Field(0.01, gt=0)  # Eq. 5; official: one over CLIP's logit scale of 100
    pool_over: Literal["all", "mask"] = "all"  # paper: global average pooling of Z_g
    padding: Literal["ignored", "counted"] = "ignored"  # ours; official: counted
    epochs: int = Field(200, gt=0)  # official, VOC
    batch: int = Field(16, gt=0)  # official: its file says 16, its loader took 1; see `recipe`


class DistillSettings(OptimiserSettings):
    """The DeepLabV2 student (paper Sec. 3.5)."""

    min_lr: float = Field(1e-4, ge=0)  # official
    backbone: str = "resnet50c"  # official: ResNet-50 v1c, OS 8
    backbone_args: dict[str, Any] = {}
    pretrained: bool = True
    checkpoint: str | None = None  # a file, or the packaged `mini-backbone`
    head: Literal["classifier", "query", "query_reference", "query_reference_positional"] = (
        "query_reference"  # paper Table 6
    )
    branch_relu: bool = False  # ours: CLIP's features have both signs; official: true
    detach_feature: bool = False  # official: true, so feature and text losses train no weight
    alpha: float = Field(0.5, ge=0)  # paper Sec. 3.5: weight of the feature loss
    beta: float = Field(0.5, ge=0)  # paper Sec. 3.5: weight of the text loss
    logit_scale: float = Field(1.0, gt=0)  # official: the mask loss takes unscaled cosines
    tau: float = Field(0.01, gt=0)  # temperature of the text loss, as in rectification
    feature_resolution: Literal["image", "grid"] = "image"  # paper: resized to the image
    gumbel_scale: float = Field(1000.0, gt=0)
    gumbel_tau: float = Field(1.0, gt=0)
    epochs: int = Field(100, gt=0)  # official, VOC
    batch: int = Field(16, gt=0)  # official


class ProbeSettings(OptimiserSettings):
    """Linear classification on the frozen student's features (after MaskContrast; Sec. 4.2)."""

    lr: float = Field(0.1, gt=0)  # MaskContrast
    weight_decay: float = Field(1e-4, ge=0)  # MaskContrast
    epochs: int = Field(60, gt=0)  # MaskContrast
    batch: int = Field(16, gt=0)  # MaskContrast


class DenoisingSettings(Settings):
    """Prompt denoising: remove a class whose highest softmax over the whole image is low.

    From MaskCLIP. The paper never mentions it; the official code has it, with thresholds that were
    tuned on labels. The softmax is over classes, of `denoising_scale` times the logits. 1 means a
    softmax that leaves at most 2^-25 to the other classes.
    """

    prompt_denoising: bool = False  # official: true
    denoising_threshold: float = Field(0.5, gt=0, le=1)  # official; 0.6 for Context at test time
    denoising_scale: float = Field(100.0, gt=0)  # official, at test time


class RefinementSettings(DenoisingSettings):
    """Post-processing of logits: prompt denoising, then pixel-adaptive refinement (PAMR).

    PAMR moves logits between pixels of like colour, `pamr` times; 0: never. NACLIP uses 10. A
    pixel meets its 8 neighbours at each distance of `pamr_dilations`, in pixels of the photo. A
    packaged model does not refine.
    """

    pamr: int = Field(0, ge=0)  # ours; neither the paper nor the official code has it
    pamr_dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (8, 16)  # NACLIP's


class PseudoMaskSettings(RefinementSettings):
    """The teacher's masks of the training images (paper Sec. 3.5)."""

    denoising_scale: float = Field(10.0, gt=0)  # official, for masks that teach a student


class EvaluateSettings(RefinementSettings):
    """Prediction on the val split. Students' logits get no denoising and no PAMR."""

    distance_bins: int = Field(8, gt=1)  # ours: Fig. 1(a) gives no number


class TrackingSettings(Settings):
    """MLflow's store; the environment variable `MLFLOW_TRACKING_URI` overrides `uri`."""

    enabled: bool = True
    uri: Annotated[str, without_password("set MLFLOW_TRACKING_URI instead")] = "sqlite:///mlflow.db"
    # When Snakemake's jobs are logged: each as it ends, or all when Snakemake ends or fails, which
    # saves the import of MLflow (2 s) in each job. Stages run by hand or by DVC are logged at once.
    when: Literal["stage", "end"] = "stage"


class SeedSettings(Settings):
    """Seeds of each method; a table cell is the mean over them."""

    rectify: Seeds = (0, 1, 2)
    distill: Seeds = (0,)
    probe: Seeds = (0,)


class Cell(Settings):
    """A value of a table: the paper's, and the run that measures ours (None: cited only)."""

    paper: float | None = None
    run: str | None = None


class Row(Settings):
    """A row of a table.

    protocol: how a cited number was measured, if not as ours.
    source: where the number was published. A table with sources shows them and the protocols of
        published numbers in columns of their own.
    over: rows of the same table that this one is compared with. The verdicts of a table with such
        rows are about these pairs, and not about the order of published numbers.
    """

    row: str
    protocol: str | None = None
    source: str | None = None
    over: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
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
        for row in self.rows:
            for other in row.over:
                if other not in names:
                    raise ValueError(f"row '{row.row}' is over '{other}', which is no row")
        return self


class Check(Settings):
    """Seeds over which `snakemake <experiment>_check` compares the measured rows of the tables."""

    seeds: Seeds

    @field_validator("seeds")
    @classmethod
    def _several(cls, seeds: Seeds) -> Seeds:
        if len(seeds) < 2:
            raise ValueError("one seed has no interval: give at least two")
        return tuple(sorted(seeds))
